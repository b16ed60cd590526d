"""Every clause of the semantics of OTP that Theater promises is named by a test that holds it.

The numbers are those that the tests give in their names and docstrings; what each is about stands here, in our words.
Where Theater differs is in the table of theater/README.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLAUSES = {
    "1.1": "the flags of a supervisor, their defaults and their errors",
    "1.2": "the spec of a child, the order in which it is checked, and what a start may come to",
    "1.3.1": "how the beginning of a supervisor may go wrong",
    "1.3.2": "children start in order, each when the one before is up",
    "1.3.3": "a start that fails undoes those before it, in reverse order, and is not tried again",
    "1.3.4": "a child that dies while later ones start is restarted afterwards",
    "1.3.5": "a dynamic supervisor starts nobody",
    "1.3.6": "a failed start leaves nothing behind, and its name is free",
    "1.3.7": "a name that is taken says by whom",
    "1.4": "which ends are normal, for which type of restart",
    "1.5.1": "whole seconds, both ends of the window included",
    "1.5.2": "one attempt more than the intensity is fatal",
    "1.5.3": "failed starts count",
    "1.5.4": "a restart of several counts once, and all children share the count",
    "1.5.5": "what is no restart costs nothing",
    "1.5.6": "a supervisor that gives up ends with shutdown",
    "1.5.7": "nested supervisors multiply",
    "1.5.8": "what an attempt costs",
    "1.6": "the strategies",
    "1.6.1": "only a child that is to be restarted concerns others",
    "1.6.2": "temporary siblings are not started again",
    "1.6.3": "a restart of several starts also those that were not running",
    "1.6.4": "a child that came later takes its place, and is forgotten when the supervisor is restarted",
    "1.6.5": "deaths during a restart are used up by it",
    "1.6.6": "no pause, unless one is asked for",
    "1.7.1": "a failed restart is tried again behind everything that waits",
    "1.7.2": "an attempt that was cancelled is not made",
    "1.7.3": "nothing but the intensity stops the attempts",
    "1.7.4": "one_for_all starts over",
    "1.7.5": "rest_for_one goes on at the child that failed",
    "1.7.6": "what calls are answered between attempts",
    "1.8": "how one child is stopped",
    "1.9.1": "who may stop a supervisor",
    "1.9.2": "a supervisor ends with its parent, for whatever reason",
    "1.9.3": "children are stopped one by one, newest first",
    "1.9.4": "a dynamic supervisor stops its children all at once",
    "1.9.5": "the reason of its end",
    "1.9.6": "a supervisor that is killed takes everybody with it",
    "1.9.7": "a stop that waits for itself does not hang",
    "1.10": "auto_shutdown",
    "1.11": "the answers to all calls for every state of the child",
    "1.12": "messages that mean nothing",
    "1.13.1": "a link goes both ways, and there is one at most",
    "1.13.2": "a monitor gives exactly one down, at once for the dead",
    "1.13.3": "what an exit signal does to whoever does not trap it",
    "1.13.4": "trapped exits are messages",
    "1.13.5": "a kill cannot be trapped",
    "1.13.6": "the reasons of ends",
    "1.13.7": "names are free before a death is news",
    "1.13.8": "the last message comes before the news of its sender's death",
    "1.14": "order between two actors, bounded mailboxes, at most once",
    "1.15": "requests end in a reply, an error, a timeout or a down; late replies are dropped",
    "1.16": "names",
    "1.17": "what is reported, and how loudly",
    "1.22": "what Elixir adds: dynamic children of any spec, with a limit",
    "1.23": "what Pekko adds: pauses, mail that waits, dead letters",
    "1.24": "what systemd adds: limits of starts and stops, watchdog, the whole group",
    "1.25": "what becomes of all this between processes of an operating system",
}


def _tests() -> str:
    mine = Path(__file__).name
    return "\n".join(path.read_text() for path in sorted(TESTS.rglob("test_*.py")) if path.name != mine)


TEXT = _tests()


@pytest.mark.parametrize("clause", CLAUSES)
def test_the_clause_is_named_by_a_test(clause: str) -> None:
    assert re.search(rf"(?<![\d.]){re.escape(clause)}(?![\d]|\.\d)", TEXT), f"no test names {clause}, {CLAUSES[clause]}"


def test_no_test_names_a_clause_that_is_not_known() -> None:
    named = set(re.findall(r"(?<![\d.])1\.(?:1[0-7]|2[2-5]|[1-9])\.\d+(?![\d.])", TEXT))
    sections = {clause for clause in CLAUSES if clause.count(".") == 1}
    unknown = {clause for clause in named - set(CLAUSES) if clause.rpartition(".")[0] not in sections}
    assert not unknown
