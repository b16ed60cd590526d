"""Who may do what: the table has a row for each operation, and the document says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from theater.core.commands import summary
from theater.core.roles import RULES, Role, Trace, judge, role_of
from theater.errors import InvalidInput, RoleRequired
from theater.server.operations import Operations

CONTROL = (Path(__file__).parents[2] / "docs" / "control.md").read_text()
OPERATIONS = set(Operations.table(Operations.__new__(Operations)))
CHANGES_NOTHING = {"hello", "have", "list", "inspect", "why", "state", "events", "logs", "tree", "channels"}


def test_every_operation_has_a_role_and_nothing_else_has() -> None:
    assert set(RULES) == OPERATIONS


def test_the_document_names_the_same_roles() -> None:
    section = CONTROL.split("## Who may")[1].split("\n## ")[0]
    documented = {
        role: set(re.findall(r"`([a-z_]+)`(?: \(`([a-z]+)`\))?", cell))
        for role, cell in re.findall(r"^\| ([a-z]+) \| (`.*) \|$", section, re.MULTILINE)
    }
    meant: dict[str, set[tuple[str, str]]] = {role.label: set() for role in Role}
    for op, rule in RULES.items():
        meant[rule.role.label].add((op, ""))
        for (name, value), (role, _) in rule.more.items():
            meant[role.label].add((op, name if value is True else value))
    assert documented == meant


@pytest.mark.parametrize("op", sorted(RULES))
def test_a_role_may_what_it_is_enough_for_and_no_more(op: str) -> None:
    for role in Role:
        if role >= RULES[op].role:
            assert judge(role, op, {}) is RULES[op].trace
        else:
            with pytest.raises(RoleRequired):
                judge(role, op, {})


@pytest.mark.parametrize("op", sorted(RULES))
def test_what_a_reader_may_changes_nothing_and_what_changes_something_is_recorded(op: str) -> None:
    assert (RULES[op].role is Role.READ) <= (RULES[op].trace is Trace.COUNTED)
    if op not in CHANGES_NOTHING | {"channel_receive", "put_part"}:
        assert RULES[op].trace is not Trace.COUNTED


def test_arguments_can_take_a_higher_role_and_a_lower_one() -> None:
    assert judge(Role.OPERATE, "stop", {"actor": "a", "remove": False}) is Trace.BOTH
    with pytest.raises(RoleRequired):
        judge(Role.OPERATE, "stop", {"actor": "a", "remove": True})
    assert judge(Role.READ, "dead_letters", {"action": "list"}) is Trace.COUNTED
    for action in ("drop", "resend", None, 1, ["list"]):
        with pytest.raises(RoleRequired):
            judge(Role.READ, "dead_letters", {"action": action})


def test_an_operation_that_is_none_is_nobodys() -> None:
    with pytest.raises(InvalidInput):
        judge(Role.ADMIN, "nothing", {})


def test_roles_have_names() -> None:
    assert [role_of(role.label) for role in Role] == list(Role)
    with pytest.raises(InvalidInput, match="read, operate, admin"):
        role_of("root")


# ---- what is recorded of arguments


def test_bodies_and_long_texts_are_not_copied() -> None:
    found = summary(
        {"actor": "a", "body": b"secret", "manifest": "x\ny", "wait": 3, "name": None, "many": [b"a", b"b"]}
    )
    assert found["actor"] == "a"
    assert found["wait"] == 3
    assert found["body"]["size"] == 6
    assert found["manifest"]["size"] == 3
    assert (found["many"]["count"], found["many"]["size"]) == (2, 2)
    assert "name" not in found
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    "args",
    [
        {str(number): "x" * 200 for number in range(1000)},
        {"deep": {"a": {"b": {"c": {"d": "x" * 200}}}}},
        {"wide": [["x" * 199] * 20] * 20},
        {"name" * 1000: 1},
        {"huge": 1 << 63, "real": 1.5},
    ],
)
def test_a_record_of_arguments_is_small_whatever_they_are(args: dict[str, object]) -> None:
    assert len(str(summary(args))) < 10_000
