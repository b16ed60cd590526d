"""`theater verify`: is the record what it was?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from theater.errors import IntegrityError, NotFound

from ..lines import short
from ..options import App, actors_argument, json_option, named, theater_command
from ..output import line, print_json, progress, table

if TYPE_CHECKING:
    from theater.core.verification import Verdict

_HEADINGS = ("ID", "NAME", "ENTRIES", "HEAD", "VERDICT")


@theater_command("verify")
@actors_argument(required=False)
@json_option
def command(app: App, actors: tuple[str, ...]) -> int:
    """Verifies chains on disk.

    Without ACTORs all of the home, with the server up or down. Every digest is computed again, every content that
    entries refer to looked at, and every chain held against the checkpoints in the server's own. It ends with 0 if
    all is as it was, else with 9.
    """
    from theater.chainlog.verify import verify_home
    from theater.store.content import ContentStore

    from ..home_files import find_chains

    home = app.files()
    if not home.root.is_dir():
        raise NotFound(f"there is no home {home.root}; name one with --home")
    wanted = find_chains(home, named(actors)) if actors else None
    with progress("verifying") as say:
        found = verify_home(home, ContentStore(home.content), wanted, lambda verdict: say(f"verified {verdict.id}"))
    if app.json:
        print_json(
            {"ok": found.ok, "actors": [_plain(each) for each in found.actors], "supervisor": _plain(found.supervisor)}
        )
    else:
        _show((found.supervisor, *found.actors))
    return 0 if found.ok else IntegrityError.exit_code


def _plain(verdict: Verdict) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in ("id", "name", "entries", "head", "ok", "error")}


def _show(verdicts: Iterable[Verdict]) -> None:
    known = list(verdicts)
    rows = ((short(each.id), each.name, each.entries, each.head[:16], _words(each)) for each in known)
    table(_HEADINGS, rows, right=("ENTRIES",), wide=("NAME",))
    for each in known:
        if each.error is not None:
            line(f"{each.id}: {each.error}")


def _words(verdict: Verdict) -> str:
    if not verdict.ok:
        return "BROKEN"
    return f"ok, {verdict.torn_bytes} bytes unfinished" if verdict.torn_bytes else "ok"
