"""Homes and bundles for tests, made without a server; and archives that no export would write."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from theater.bundle.container import Container
from theater.bundle.export import export
from theater.chainlog.chain_file import CHAIN
from theater.chainlog.keys import open_signer, public_key
from theater.chainlog.reader import ChainReader
from theater.chainlog.shrinking import Order, shrink
from theater.chainlog.writer import ChainWriter
from theater.config import Home
from theater.core.chain import Call, Genesis, Kind, Lifecycle, Mark, outcome_ok
from theater.core.codec import Form, Ref, content_digest, pack
from theater.core.manifest import Retention, canonical, parse
from theater.core.signed_checkpoint import Position, SignedCheckpoint
from theater.core.verification import SUPERVISOR, Checkpoints
from theater.store.content import ContentStore

ONE = "10000000-0000-4000-8000-000000000001"
TWO = "20000000-0000-4000-8000-000000000002"
MANIFEST = 'name = "a"\ncomponent = "a.wasm"\n'
STATE = b"s" * 5000
"""Longer than what stands in a chain itself."""


def make_home(root: Path, *actors: str) -> Home:
    """A home with a server's chain and key, and these actors: each has committed STATE and an own one."""
    home = Home(root).create()
    with ChainWriter.open(home.supervisor_chain) as chain:
        chain.append(Kind.GENESIS, Genesis(SUPERVISOR, SUPERVISOR, None, None, None, {}))
        chain.append(Kind.LIFECYCLE, Lifecycle("server-started", {}))
    open_signer(home)
    for actor in actors:
        live(home, actor)
    return home


def live(home: Home, actor: str, name: str = "a", calls: int = 1, **facts: Any) -> Mark:
    """Writes the chain of an actor that was called so often; returns how far it is."""
    store = ContentStore(home.content)
    made_of = {
        "manifest": bytes.fromhex(store.put(pack(canonical(parse(MANIFEST, "m"))))),
        "component": bytes.fromhex(store.put(b"\0asm component of nobody")),
        "wrapper": None,
        "engine": {"program": None},
    }
    path = home.actor(actor) / CHAIN
    path.parent.mkdir(parents=True, exist_ok=True)
    with ChainWriter.open(path, put=store.put, get=store.get) as chain:
        if chain.head.entries == 0:
            chain.append(Kind.GENESIS, Genesis(actor, name, **{**made_of, **facts}))
        before = None
        for number in range(calls):
            state = STATE + actor.encode() * (number + 1)
            chain.append(Kind.CALL, Call("theater:simple/actor", "init", [actor]))
            chain.append(Kind.OUTCOME, outcome_ok([], state, before))
            before = content_digest(state)
        chain.flush()
        return chain.mark


def checkpoint(home: Home, *actors: str, entries: Mapping[str, Position] = {}) -> SignedCheckpoint:
    """What the server of a home would sign; `entries` says something else of some."""
    from theater.bundle.export import sign_here

    found = sign_here(home, actors, 1_000)
    if not entries:
        return found
    return open_signer(home).sign(found.home, {**found.positions, **entries}, 1_000)


def bundle(home: Home, *actors: str) -> bytes:
    """The bytes of a bundle."""
    out = io.BytesIO()
    export(home, checkpoint(home, *actors), out.write)
    return out.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def members(content: bytes, folder: Path) -> dict[str, bytes]:
    """The files of a bundle."""
    with Container.open(write(folder / "members.theater", content)) as container:
        return {name: b"".join(container.blocks(name)) for name in container.sizes}


def archive(files: Mapping[str, bytes] | list[tuple[str, bytes]], **facts: Any) -> bytes:
    """A zip archive of these files, as any tool would write it; `facts` are set in each file's entry."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items() if isinstance(files, Mapping) else files:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            for key, value in facts.items():
                setattr(entry, key, value)
            made.writestr(entry, data)
    return out.getvalue()


def tree(folder: Path) -> set[str]:
    """Every file and folder below one."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def shrink_home(home: Home, actor: str, *, drop: bool) -> None:
    """Compresses what there is of a chain, and drops what a snapshot stands for."""
    order = Order(
        actor, Retention(entries=1) if drop else None, Checkpoints(), public_key(home), open_signer(home), 2_000, hot=0,
        least=1,
    )  # fmt: skip
    shrunk = shrink(home.chain(actor), order, ContentStore(home.content))
    assert shrunk.dropped_entries if drop else shrunk.compressed, shrunk.note


def live_long(home: Home, actor: str, calls: int = 200) -> None:
    """Goes on with calls, with a snapshot in the middle."""
    store = ContentStore(home.content)
    with ChainWriter.open(home.chain(actor), put=store.put, get=store.get) as chain:
        genesis = next(iter(ChainReader(home.chain(actor)).records(1))).entry().read()
        assert isinstance(genesis, Genesis)
        assert genesis.manifest is not None
        assert genesis.component is not None
        page = Ref(bytes.fromhex(store.put(b"page" * 9000)), 36_000)
        value = pack({"pages": [page]})
        memory = Ref(bytes.fromhex(store.put(value)), len(value), Form.VALUE)
        state = b""
        for number in range(calls):
            if number == calls // 2:
                life = {
                    "incarnation": 1, "state": "last", "component": genesis.component.hex(), "program": None,
                    "manifest": genesis.manifest, "initial": None, "resumed": False, "engine": {}, "wrapper": None,
                }  # fmt: skip
                details = {"state": [state], "committed": True, "life": life, "root": bytes(32), "memory": memory}
                chain.append(Kind.LIFECYCLE, Lifecycle("snapshot", details))
            before, state = content_digest(state), b"state %d" % number + bytes(5000)
            chain.append(Kind.CALL, Call("i", "f", [b"%d" % number * 500]))
            chain.append(Kind.OUTCOME, outcome_ok([], state, before))
        chain.flush()
