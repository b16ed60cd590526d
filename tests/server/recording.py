"""Records the whole life of a small actor anew, with a real server, into tests/core/vectors/recorded.json.

    python tests/server/recording.py

That is to be done when the form of a chain changes on purpose, or another wasmtime is depended on; test_recording.py
says that the chain that is there still replays to its head.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import wasmtime

TESTS = Path(__file__).parents[1]
VECTORS = TESTS / "core" / "vectors"
SOURCE = VECTORS / "counter.wat"
RECORDED = VECTORS / "recorded.json"
SETTINGS = '[chain]\nstate_root = "call"\nsnapshot = { entries = 12 }\n'


def record() -> dict[str, Any]:
    """Lets the actor live: calls, a trap, a second life, an end; returns what is to be written down."""
    from house import RESTLESS, make_house, outcome

    from theater.chainlog import ChainReader
    from theater.chainlog.references import collect_references
    from theater.config import Home
    from theater.store.content import ContentStore

    house = make_house(wasmtime.wat2wasm(SOURCE.read_text()))
    try:
        house.open()
        actor = house.start("counter", supervision=RESTLESS, more=SETTINGS, limits={"fuel": 1_000_000}).id
        for message in (b"one", b"two", b"x" + bytes(4200), b"three", b"four", b"five"):
            outcome(lambda message=message: house.client.request(actor, message))
            house.await_row(actor, lambda row: row.state == "running")
        house.client.stop(actor)
        house.client.stop_server()
        house.await_end()
        home = Home(house.home)
        content = ContentStore(home.content)
        with ChainReader(home.chain(actor)) as reader:
            entries = reader.read(1000)
        needed = sorted(digest for digest in collect_references(home, content.get) if content.exists(digest))
        return {
            "about": "The chain of counter.wat as a server wrote it, with the content that it refers to by blake3.",
            "wasmtime": importlib.metadata.version("wasmtime"),
            "actor": actor,
            "entries": len(entries),
            "head": entries[-1].digest.hex(),
            "chain": home.chain(actor).read_bytes().hex(),
            "content": {digest: content.get(digest).hex() for digest in needed},
        }
    finally:
        house.close()


def main() -> int:
    sys.path[:0] = [str(TESTS / "server"), str(TESTS), str(TESTS.parent)]
    RECORDED.write_text(json.dumps(record(), indent=1) + "\n")
    print(f"wrote {RECORDED}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
