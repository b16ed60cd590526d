"""`theater verify`: is the record what it was?"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from theater.errors import IntegrityError, InvalidInput, NotFound, TheaterError

from ..bundles import meant, trust
from ..lines import short
from ..options import App, actors_argument, json_option, named, read_input, theater_command
from ..output import line, print_json, progress, table, when

if TYPE_CHECKING:
    from theater.bundle.opened import Bundle, Trust
    from theater.chainlog import HomeVerdict
    from theater.config import Home
    from theater.core.dropped import Dropped
    from theater.core.outage import Loss
    from theater.core.signed_checkpoint import SignedCheckpoint
    from theater.core.verification import Verdict

_HEADINGS = ("ID", "NAME", "ENTRIES", "HEAD", "VERDICT")


@theater_command("verify")
@actors_argument(required=False)
@click.option("--checkpoint", "kept", metavar="FILE", help="Holds chains against a checkpoint that was kept elsewhere.")
@click.option("--key", "words", metavar="KEY", help="The public key to trust, or a file with it; else the home's own.")
@json_option
def command(app: App, actors: tuple[str, ...], kept: str | None, words: str | None) -> int:
    """Verifies chains on disk, or a bundle.

    Without ACTORs all of the home, with the server up or down; in place of ACTORs the file of one bundle, for which no
    home and no server is needed. Every digest is computed again, every content that
    entries refer to looked at, and every chain held against the checkpoints in the server's own, and against one that
    `theater checkpoint` gave and that was kept elsewhere. It ends with 0 if all is as it was, else with 9.
    """
    bundle = meant(actors)
    if bundle is not None:
        return _verify_bundle(app, bundle, words, kept)
    from theater.chainlog.keys import given_key, public_key
    from theater.chainlog.verify import verify_home
    from theater.store.content import ContentStore

    from ..home_files import find_chains

    home = app.files()
    if not home.root.is_dir():
        raise NotFound(f"there is no home {home.root}; name one with --home")
    wanted = find_chains(home, named(actors)) if actors else None
    own = public_key(home)
    key = given_key(words) if words is not None else None
    checkpoint = _read_checkpoint(kept, key, own, home) if kept is not None else None
    with progress("verifying") as say:
        found = verify_home(
            home,
            ContentStore(home.content),
            wanted,
            lambda verdict: say(f"verified {verdict.id}"),
            checkpoint=checkpoint,
            key=key or own,
            reopen=partial(ContentStore, home.content),
        )
    if app.json:
        print_json(_plain_home(found, checkpoint))
    else:
        _show((found.supervisor, *found.actors))
        if key or own:
            _show_signature(found)
        if checkpoint is not None:
            _show_checkpoint(found, checkpoint)
    return 0 if found.ok else IntegrityError.exit_code


def _verify_bundle(app: App, path: str, words: str | None, kept: str | None) -> int:
    from theater.bundle.opened import open_bundle

    known = trust(words, kept)
    with progress("verifying") as say, open_bundle(path, known, say=say) as found:
        if app.json:
            print_json(_plain_bundle(found, known))
        else:
            _show(found.verdicts)
            _show_bundle(found, known)
        return 0 if found.ok else IntegrityError.exit_code


def _plain_bundle(found: Bundle, known: Trust) -> dict[str, Any]:
    signed, kept = found.checkpoint, known.kept
    unnamed = [] if kept is None else [each.id for each in found.verdicts if each.id not in kept.positions]
    return {
        "ok": found.ok,
        "actors": [_plain(each) for each in found.verdicts],
        "supervisor": None,
        "signed": {"key": signed.key.hex(), "entries": _signed(signed), "time_ns": signed.time_ns},
        "checkpoint": kept
        and {
            "key": kept.key.hex(),
            "time_ns": kept.time_ns,
            "unnamed": unnamed,
            "dropped": _dropped(found.verdicts, kept),
        },
    }


def _show_bundle(found: Bundle, known: Trust) -> None:
    signed = found.checkpoint
    line(f"bundle: {len(found.verdicts)} chains, signed by key {signed.key.hex()} at {when(signed.time_ns)}")
    if known.key is None:
        line("bundle: nobody here knows that key; give the one that you know with --key")
    if known.kept is not None:
        line(f"checkpoint: {len(known.kept.positions)} chains at {when(known.kept.time_ns)}")
        for each in found.verdicts:
            if each.id not in known.kept.positions:
                line(f"{each.id}: not in the checkpoint, so only the bundle speaks for it")
        _show_dropped(found.verdicts, known.kept)


def _read_checkpoint(file: str, key: bytes | None, own: bytes | None, home: Home) -> SignedCheckpoint:
    """The checkpoint in a file, signed by the key that is trusted: the one that is given, or else the home's own."""
    from theater.core.signed_checkpoint import SignedCheckpoint

    try:
        found = SignedCheckpoint.read(read_input(file))
        if key is not None:
            found.require_key(key, "the key that you trust")
        elif own is None:
            raise InvalidInput(f"{home.root} has no key to check it with; give the one that you know with --key")
        else:
            found.require_key(own, "that of this home", "it is of another home, or this one has got a new key")
    except TheaterError as error:
        raise type(error)(f"{file}: {error.message}", **error.details) from error
    return found


def _plain_home(found: HomeVerdict, kept: SignedCheckpoint | None) -> dict[str, Any]:
    signed = found.signed
    return {
        "ok": found.ok,
        "actors": [_plain(each) for each in found.actors],
        "supervisor": _plain(found.supervisor),
        "signed": signed and {"key": signed.key.hex(), "entries": _signed(signed), "time_ns": signed.time_ns},
        "checkpoint": kept
        and {
            "key": kept.key.hex(),
            "time_ns": kept.time_ns,
            "unnamed": _unnamed(found, kept),
            "dropped": _dropped((found.supervisor, *found.actors), kept),
        },
    }


def _unnamed(found: HomeVerdict, kept: SignedCheckpoint) -> list[str]:
    """The actors of which a checkpoint says nothing: they began later, or it was not asked for them."""
    return [each.id for each in found.actors if each.id not in kept.positions]


def _dropped(verdicts: Iterable[Verdict], kept: SignedCheckpoint) -> list[str]:
    """Of whose chains a checkpoint names an entry that was dropped since, so that it cannot be compared."""
    known = ((each, kept.positions[each.id][0]) for each in verdicts if each.id in kept.positions)
    return [
        each.id
        for each, entries in known
        if each.dropped is not None and each.dropped.start.entries < entries < each.dropped.until.entries
    ]


def _signed(signed: SignedCheckpoint) -> int:
    """How many entries of the supervisor's chain are signed."""
    from theater.core.verification import SUPERVISOR

    return signed.positions[SUPERVISOR][0]


def _show_signature(found: HomeVerdict) -> None:
    signed = found.signed
    if signed is not None:
        entries = _signed(signed)
        line(f"supervisor: {entries} entries signed by key {signed.key.hex()} at {when(signed.time_ns)}")
    elif found.supervisor.entries:
        line("supervisor: not yet signed by a key that is trusted here; a server signs every 10 s, and at its end")


def _plain(verdict: Verdict) -> dict[str, Any]:
    plain = {name: getattr(verdict, name) for name in ("id", "name", "entries", "head", "ok", "error")}
    dropped = verdict.dropped and _plain_dropped(verdict.dropped)
    return {**plain, "dropped": dropped, "lost": [_plain_loss(loss) for loss in verdict.lost]}


def _plain_loss(loss: Loss) -> dict[str, Any]:
    last = loss.known.entries - 1 if loss.known is not None else None
    return {"first": loss.found.entries, "last": last, "seen_ns": loss.seen_ns}


def _plain_dropped(dropped: Dropped) -> dict[str, Any]:
    return {
        "first": dropped.start.entries,
        "last": dropped.until.entries - 1,
        "size": dropped.size,
        "time_ns": dropped.time_ns,
        "key": dropped.key.hex(),
    }


def _show_checkpoint(found: HomeVerdict, kept: SignedCheckpoint) -> None:
    line(f"checkpoint: {len(kept.positions)} chains at {when(kept.time_ns)}, signed by key {kept.key.hex()}")
    for actor in _unnamed(found, kept):
        line(f"{actor}: not in the checkpoint, so nothing outside of this home speaks for it")
    _show_dropped((found.supervisor, *found.actors), kept)


def _show_dropped(verdicts: Iterable[Verdict], kept: SignedCheckpoint) -> None:
    for actor in _dropped(verdicts, kept):
        line(f"{actor}: the entry that the checkpoint names was dropped, so that the two cannot be compared")


def _show(verdicts: Iterable[Verdict]) -> None:
    known = list(verdicts)
    rows = ((short(each.id), each.name, each.entries, each.head[:16], _words(each)) for each in known)
    table(_HEADINGS, rows, right=("ENTRIES",), wide=("NAME",))
    for each in known:
        if each.error is not None:
            line(f"{each.id}: {each.error}")
        elif each.dropped is not None:
            named = f"{each.dropped} on {when(each.dropped.time_ns)}"
            line(f"{each.id}: {named}, signed by key {each.dropped.key.hex()}")
        for loss in each.lost:
            line(f"{each.id}: {loss.sentence(when(loss.seen_ns) if loss.seen_ns is not None else None)}")


def _words(verdict: Verdict) -> str:
    if not verdict.ok:
        return "BROKEN"
    return f"ok, {verdict.torn_bytes} bytes unfinished" if verdict.torn_bytes else "ok"
