"""`theater replay`: does the record say what the guests did?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from theater.errors import IntegrityError, NotFound

from ..bundles import meant
from ..lines import short
from ..options import App, actors_argument, json_option, named, theater_command
from ..output import line, print_json, progress, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from theater.config import Home
    from theater.core.verification import Verdict
    from theater.replay.tree import TreeProof

    _Proof = TreeProof | None
    _Secrets = list[tuple[str, Path]]
    Say = Callable[[str], None]

_HEADINGS = ("ID", "NAME", "ENTRIES", "HEAD", "VERDICT")


@theater_command("replay")
@actors_argument(required=False)
@click.option("--all", "everyone", is_flag=True, help="Replays every chain of the home, as with --tree.")
@click.option(
    "--tree", is_flag=True, help="Also those that the ACTORs have spawned, and holds them against each other."
)
@click.option(
    "--from",
    "begin",
    metavar="N|newest",
    help="Begins at a snapshot: the entry of this number, or the newest that holds the memory.",
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME=FILE",
    help="A secret that a chain was recorded with: a copy of secrets/ID/NAME.N of its home; repeatable.",
)
@json_option
def command(
    app: App, actors: tuple[str, ...], everyone: bool, tree: bool, begin: str | None, secrets: tuple[str, ...]
) -> int:
    """Executes chains again and compares.

    Each chain is verified, then executed from its first entry with no network, no files, no clock and no other actor,
    with the server up or down. It ends with 0 if every digest was reproduced, else with 9, and shows the first entry
    that differs.
    """
    if everyone == bool(actors):
        raise click.UsageError("name ACTORs, or give --all")
    given, at = _secrets(secrets), _snapshot(begin)
    bundle = meant(actors)
    with progress("verifying") as say:
        if bundle is None:
            found, proof = _replay(app, named(actors), everyone, tree, given, at, say)
        else:
            found, proof = _replay_bundle(bundle, tree, given, at, say)
    ok = all(verdict.ok for verdict in found)
    if app.json:
        told = {} if proof is None else {"tree": _plain_proof(proof)}
        print_json({"ok": ok, "actors": [_plain(each) for each in found], **told})
    else:
        _show(found)
        if proof is not None:
            _show_proof(proof)
    return 0 if ok else IntegrityError.exit_code


def _secrets(given: Iterable[str]) -> _Secrets:
    """The names and files of --secret."""
    pairs = [one.partition("=") for one in given]
    if not all(name and file for name, _, file in pairs):
        raise click.UsageError("--secret wants NAME=FILE")
    return [(name, Path(file).absolute()) for name, _, file in pairs]


def _snapshot(begin: str | None) -> int | str | None:
    """What --from says."""
    if begin is None or begin == "newest":
        return begin
    if not begin.isdecimal():
        raise click.UsageError("--from wants the number of a snapshot, or newest")
    return int(begin)


def _replay(
    app: App, actors: list[str], everyone: bool, tree: bool, secrets: _Secrets, begin: int | str | None, say: Say
) -> tuple[list[Verdict], _Proof]:
    from theater import config
    from theater.chainlog.kin import with_descendants
    from theater.replay.home import replay_home

    from ..home_files import find_chains

    home = app.files()
    if not home.root.is_dir():
        raise NotFound(f"there is no home {home.root}; name one with --home")
    wanted = None if everyone else find_chains(home, actors)
    if wanted is not None and tree:
        wanted = with_descendants(home, wanted)
    found = replay_home(home, config.cache() / "artefacts", wanted, say=say, secrets=secrets, begin=begin)
    return _judge(home, found, say) if tree or everyone else (found, None)


def _replay_bundle(
    path: str, tree: bool, secrets: _Secrets, begin: int | str | None, say: Say
) -> tuple[list[Verdict], _Proof]:
    """Replays the chains of a bundle that are as they were signed; the others have their verdict already."""
    from theater import config
    from theater.bundle.opened import open_bundle
    from theater.replay.home import replay_home

    with open_bundle(path, say=say) as bundle:
        good = [verdict.id for verdict in bundle.verdicts if verdict.ok]
        cache = config.cache() / "artefacts"
        replayed = replay_home(bundle.home, cache, good, say=say, secrets=secrets, begin=begin) if good else []
        found = sorted([*replayed, *(each for each in bundle.verdicts if not each.ok)], key=lambda each: each.id)
        return _judge(bundle.home, found, say) if tree else (found, None)


def _judge(home: Home, found: list[Verdict], say: Say) -> tuple[list[Verdict], TreeProof]:
    """Holds the chains against each other, too."""
    from theater.replay.tree import judge, prove_tree
    from theater.store.content import ContentStore

    chains = {verdict.id: home.chain(verdict.id) for verdict in found if verdict.entries}
    proof = prove_tree(chains, ContentStore(home.content).get, say)
    return judge(found, proof), proof


def _plain_proof(proof: TreeProof) -> dict[str, Any]:
    missing = [{"id": each.child, "parent": each.parent, "entry": each.entry} for each in proof.missing]
    return {
        "ok": proof.ok,
        "children": proof.children,
        "messages": proof.messages,
        "untold": proof.untold,
        "missing": missing,
        "errors": [{"id": flaw.actor, "error": flaw.sentence} for flaw in proof.flaws],
    }


def _show_proof(proof: TreeProof) -> None:
    if proof.children or proof.messages:
        line(f"tree: {proof.children} children and {proof.messages} messages fit to the entries that they came from")
    if proof.untold:
        line(f"tree: of {proof.untold} nobody can say, since the entries that they came from are not at hand")
    for spawn in proof.missing:
        line(f"{spawn.child}: missing; entry {spawn.entry} of {spawn.parent} spawned it")


def _plain(verdict: Verdict) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in ("id", "name", "entries", "head", "ok", "error")}


def _show(verdicts: Iterable[Verdict]) -> None:
    known = list(verdicts)
    rows = ((short(each.id), each.name, each.entries, each.head[:16], _words(each)) for each in known)
    table(_HEADINGS, rows, right=("ENTRIES",), wide=("NAME",))
    for each in known:
        if each.error is not None:
            first, *diff = each.error.split("\n")
            line(f"{each.id}: {first}")
            for row in diff:
                line(f"    {row}")


def _words(verdict: Verdict) -> str:
    if not verdict.ok:
        return "DIVERGED"
    if verdict.begun:
        return f"reproduced from the snapshot {verdict.begun}"
    return "reproduced" if verdict.entries else "nothing recorded"
