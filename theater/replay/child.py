"""The process in which one chain is performed again: `python -m theater.replay.child`.

It is told by one line of JSON on standard input: {"chain", "content", "cache": paths, "page": a descriptor, "from":
number of the snapshot to begin at, or null}, and, if it may need them, "secrets", the folder of the actor's kept
secrets, and "given", an array of [name, path] of others. It reads the chain, content, secrets and compiled components,
opens nothing else, and says by one line of JSON on standard output how it ended: {"ok": true, "passed_over": number of
entries}, or {"error", "message", "details"}. The page (theater/replay/page.py) tells how far it is.

Whoever started it is its guard (theater/replay/guard.py): kills it when it does not get on, or dies with it.
"""

from __future__ import annotations

import gc
import json
import mmap
import sys
from functools import partial
from pathlib import Path
from typing import Any

from theater.chainlog.rereading import records_from
from theater.core.replay import Script
from theater.core.secrets import nothing_to_open
from theater.errors import TheaterError
from theater.replay import page
from theater.replay.performance import Performance
from theater.replay.sources import records_of
from theater.store.content import ContentStore
from theater.store.secrets import opener, read_kept
from theater.tether import die_with
from theater.walls import places, rooms_children
from theater.walls.landlock import READ
from theater.walls.rooms import enter
from theater.wasm.artefacts import ArtefactCache

_COLLECT_EVERY = 20_000
"""Allocations between two collections, as in a worker: entries leave no circles, and looking for them is dear."""


def main() -> int:
    """Performs what standard input says."""
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, 10, 100)
    order = json.loads(sys.stdin.readline())
    die_with(order["parent"])
    shared = mmap.mmap(order["page"], page.SIZE)
    _seal(order)
    try:
        get = ContentStore(order["content"]).get
        given = [(name, read_kept(Path(path))) for name, path in order.get("given", ())]
        secrets = opener(Path(order["secrets"]), given) if "secrets" in order else nothing_to_open
        chain, watch = Path(order["chain"]), page.writer(shared)
        script = Script(records_of(chain, order.get("from")), get, watch, secrets)
        cache = ArtefactCache(Path(order["cache"]))
        Performance(script, get, cache, partial(records_from, chain), watch, secrets).run()
    except TheaterError as error:
        _say(error.to_wire())
        return error.exit_code
    _say({"ok": True, "passed_over": script.passed_over})
    return 0


def _seal(order: dict[str, Any]) -> None:
    """Leaves this process what it replays from, to read; before the guest runs, and before anything is believed."""
    folders = (str(Path(order["chain"]).parent), order["content"], order["cache"], order.get("secrets"))
    own = [*filter(None, folders), *(path for _, path in order.get("given", ()))]
    enter(rooms_children.replay(), {**places.code(), **dict.fromkeys(own, READ)})


def _say(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    sys.exit(main())
