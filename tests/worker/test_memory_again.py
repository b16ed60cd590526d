"""A life that makes its memory again: what is said when that comes out otherwise, and what a full store costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from exchange import Exchange
from one_life import Life

from theater import config
from theater.chainlog.reader import ChainReader
from theater.chainlog.writer import ChainWriter
from theater.core.chain import HostCall, Lifecycle, Outcome, Payload
from theater.core.codec import pack
from theater.store.content import ContentStore

ACTOR = Path(__file__).parents[1] / "actors" / "memory.wat"
REPLAY = {"supervision": {"state": "replay"}}
LIMITS = pack({"limits": {"memory": 64 << 20, "fuel": None, "state": 1 << 20, "message": 1 << 20}, **REPLAY})
"""What `Life` assigns, as a manifest says it."""

Begin = Callable[..., Life]


@pytest.fixture
def begin(exchange: Exchange, tmp_path: Path) -> Iterator[Begin]:
    """Begins lives of one actor, with the policy "replay"."""
    component = tmp_path / "memory.wasm"
    component.write_bytes(bytes(wasmtime.wat2wasm(ACTOR.read_text())))
    manifest = bytes.fromhex(ContentStore(exchange.folder / "content").put(LIMITS))
    lives: list[Life] = []

    def one(incarnation: int, **facts: Any) -> Life:
        cache = config.cache() / "artefacts"
        given = {"state_policy": "replay", "manifest_digest": manifest, **facts}
        lives.append(Life(exchange, cache, component, incarnation=incarnation, **given))
        return lives[-1]

    yield one
    for life in lives:
        life.close()


def write_anew(chain: Path, change: Callable[[Payload], Payload]) -> None:
    with ChainReader(chain) as reader:
        entries = reader.read(1000)
    chain.unlink()
    with ChainWriter.open(chain) as writer:
        for entry in entries:
            writer.append(entry.kind, change(entry.read()))


def ask(life: Life, message: bytes = b"c") -> int:
    answer = life.request(message)
    assert isinstance(answer, bytes), answer
    return int.from_bytes(answer, "little")


def test_a_life_whose_memory_comes_out_otherwise_does_not_begin_and_says_at_which_entry(begin: Begin) -> None:
    first = begin(1).await_ready()
    assert [ask(first, b"l") for _ in range(2)] == [1, 2]
    first.kill()

    def change(payload: Payload) -> Payload:
        return payload._replace(args=["false"]) if isinstance(payload, HostCall) else payload

    write_anew(first.folder / "chain", change)
    second = begin(2)
    words = second.last_words()
    assert words is not None
    detail = str(words["detail"])
    assert detail.startswith("its memory could not be made again: entry 4: recorded was the host call")
    assert '-    [0]: "false"' in detail
    assert '+    [0]: "l"' in detail
    ended = second.recorded(Lifecycle)[-1]
    assert ended.event == "ended"
    assert "entry 4" in ended.details["detail"]


def test_a_life_that_traps_where_it_did_not_says_where_in_the_guest(begin: Begin) -> None:
    first = begin(1).await_ready()
    assert ask(first) == 1
    first.kill()

    def change(payload: Payload) -> Payload:
        return (
            payload._replace(args=[*payload.args[:-1], b"u"]) if getattr(payload, "function", "") == HANDLE else payload
        )

    write_anew(first.folder / "chain", change)
    detail = str((begin(2).last_words() or {})["detail"])
    assert "entry 4: recorded was an outcome ok" in detail
    assert "trap: unreachable" in detail
    assert "wasm function" in detail


HANDLE = "handle-request"


def test_a_manifest_that_changed_what_the_guest_feels_goes_on_without_the_memory(
    begin: Begin, exchange: Exchange
) -> None:
    first = begin(1).await_ready()
    assert ask(first) == 1
    first.kill()
    other = pack({"limits": {"memory": 1 << 20, "fuel": None, "state": 1 << 20, "message": 1 << 20}, **REPLAY})
    content = ContentStore(exchange.folder / "content")

    def change(payload: Payload) -> Payload:
        return payload._replace(manifest=bytes.fromhex(content.put(other))) if hasattr(payload, "manifest") else payload

    write_anew(first.folder / "chain", change)
    second = begin(2).await_ready()
    assert ask(second) == 1
    life = next(each.details for each in second.recorded(Lifecycle) if each.event == "incarnation")
    assert (life["state"], life["why"], life.get("from")) == ("last", "[limits] memory has changed", None)
    assert "[limits] memory has changed" in second.log()


def test_a_store_that_fails_costs_the_snapshot_and_not_the_actor(begin: Begin, exchange: Exchange) -> None:
    life = begin(1, snapshot=(10, 1 << 30)).await_ready()
    content = exchange.folder / "content"
    content.rename(exchange.folder / "away")
    content.write_bytes(b"in the way")
    assert [ask(life) for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    content.unlink()
    (exchange.folder / "away").rename(content)
    assert [ask(life) for _ in range(4)] == [7, 8, 9, 10]
    assert "no snapshot could be made" in life.log()
    assert any(each.event == "snapshot" for each in life.recorded(Lifecycle))
    assert all(each.ending == "ok" for each in life.recorded(Outcome))
