"""A guest's memory as a value: its root, and what is kept of one guest and given to another."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from compiled import LIBC, Host, compiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theater.core.codec import pack
from theater.core.memory_image import MemoryImage, load, store
from theater.errors import IntegrityError, WrongState
from theater.store.content import ContentStore
from theater.wasm import state_root
from theater.wasm.artefacts import Artefact
from theater.wasm.guest import Guest
from theater.wasm.state_root import Leaves, root_of

PAGE = 65536
API = "test:hoarder/api"
TEXT = (Path(__file__).parent / "hoarder.wat").read_text().replace("LIBC", LIBC)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return compiled(tmp_path_factory.mktemp("kept"), TEXT, fuel=True)


@pytest.fixture
def make(artefact: Artefact) -> Iterator[Callable[[], Guest]]:
    guests = []

    def made() -> Guest:
        guests.append(Guest(artefact, Host()))
        guests[-1].keep_image()
        return guests[-1]

    yield made
    for guest in guests:
        guest.close()


def ask(guest: Guest, function: str, *args: Any) -> Any:
    return guest.call(API, function, args)


def passed_on(image: MemoryImage, folder: Path) -> MemoryImage:
    """The image after it was stored, and read by somebody else."""
    content = ContentStore(folder / "content")
    return load(store(image, content.put), content.get)


def from_scratch(guest: Guest) -> bytes:
    """The state root with every byte hashed."""
    memories = guest._keeping._memories
    return root_of(
        zip((m.size() for m in memories), Leaves(memories).remember(), strict=True), guest._keeping._globals()
    )


# ---- what is carried

calls = st.one_of(
    st.tuples(st.just("exchange"), st.integers(0, 5), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("store"), st.integers(0, 2), st.integers(0, PAGE - 1), st.integers(0, 255)),
    st.tuples(st.just("load"), st.integers(0, 2), st.integers(0, PAGE - 1)),
    st.tuples(st.just("grow"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("echo"), st.binary(max_size=100)),
    st.tuples(st.just("echo"), st.integers(0, 200_000).map(bytes)),
    st.tuples(st.just("echo"), st.integers(0, 200_000).map(lambda size: b"\xff" * size)),
    st.tuples(st.just("open")),
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(calls, max_size=12), after=st.lists(calls, max_size=12), looks=st.sets(st.integers(0, 12)))
def test_a_restored_guest_answers_as_the_one_it_was_taken_from(
    make: Callable[[], Guest], tmp_path: Path, before: list[Any], after: list[Any], looks: set[int]
) -> None:
    one = make()
    for number, call in enumerate(before):
        ask(one, *call)
        if number in looks:
            assert one.state_root() == from_scratch(one)
    other = make()
    other.restore(passed_on(one.keep(), tmp_path))
    assert other.state_root() == one.state_root() == from_scratch(other)
    for number, call in enumerate(after):
        one.set_fuel(10**9)
        other.set_fuel(10**9)
        assert ask(one, *call) == ask(other, *call)
        assert one.fuel_consumed() == other.fuel_consumed()
        if number in looks:
            assert one.state_root() == other.state_root() == from_scratch(one) == from_scratch(other)
    one.close()
    other.close()


@pytest.mark.parametrize("which", range(6))
def test_every_global_is_part_of_the_root(make: Callable[[], Guest], which: int) -> None:
    guest = make()
    before = guest.state_root()
    old = ask(guest, "exchange", which, 0xDEADBEEFCAFE)
    assert guest.state_root() != before
    ask(guest, "exchange", which, old)
    assert guest.state_root() == before


@pytest.mark.parametrize("memory", range(3))
def test_every_memory_and_its_size_are_part_of_the_root(make: Callable[[], Guest], memory: int) -> None:
    guest = make()
    roots = [guest.state_root()]
    ask(guest, "store", memory, PAGE - 1, 1)
    roots.append(guest.state_root())
    ask(guest, "grow", memory, 1)
    roots.append(guest.state_root())
    ask(guest, "store", memory, PAGE - 1, 0)
    roots.append(guest.state_root())
    assert len(set(roots)) == 4


def test_looking_costs_no_fuel(make: Callable[[], Guest]) -> None:
    guest = make()
    guest.set_fuel(1000)
    guest.state_root()
    guest.keep()
    assert guest.fuel_consumed() == 0


def test_a_root_is_what_its_definition_says() -> None:
    leaves = b"".join(blake3(bytes(16384)).digest() for _ in range(4))
    value = pack([[[PAGE, blake3(leaves).digest()]], [bytes.fromhex("00000100")]])
    tag = b"theater state root 1"
    vector = blake3(bytes([len(tag)]) + tag + value).digest()
    assert vector == root_of([(PAGE, leaves)], [bytes.fromhex("00000100")])
    assert f"    {vector.hex()}\n" in (state_root.__doc__ or "")


def test_roots_are_those_of_the_vectors() -> None:
    """Computed here without the code that computes them."""
    vectors = Path(__file__).parents[1] / "core" / "vectors" / "memory.json"
    for vector in json.loads(vectors.read_text())["roots"]:
        values = [bytes.fromhex(value) for value in vector["globals"]]
        memories, folded = [], []
        for memory in vector["memories"]:
            content = bytearray(memory["size"])
            for at, hexed in memory["bytes"]:
                content[at : at + len(hexed) // 2] = bytes.fromhex(hexed)
            leaves = b"".join(blake3(content[at : at + 16384]).digest() for at in range(0, len(content), 16384))
            memories.append((memory["size"], leaves))
            folded.append([memory["size"], blake3(leaves).digest()])
        tag = b"theater state root 1"
        assert blake3(bytes([len(tag)]) + tag + pack([folded, values])).hexdigest() == vector["root"]
        assert root_of(memories, values).hex() == vector["root"]


# ---- processes


def in_a_fork(work: Callable[[], bytes]) -> bytes:
    """What `work` gives in a process of its own."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, work())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said


def some_calls(guest: Guest) -> None:
    ask(guest, "echo", b"\xff" * 70_000)
    ask(guest, "grow", 1, 2)
    ask(guest, "store", 1, 2 * PAGE, 9)


@pytest.fixture(params=["watched", "copied pages", "everything"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where it is known from what was written: each source alone gives the same root."""

    def refuse(*args: Any) -> Any:
        raise OSError(1, "not here")

    if request.param != "watched":
        monkeypatch.setattr(state_root, "WriteProtection", refuse)
    if request.param == "everything":
        monkeypatch.setattr(state_root, "copied_pages", lambda memories: None)
    return str(request.param)


def test_a_fork_has_the_root_that_its_template_would_have(make: Callable[[], Guest], source: str) -> None:
    template, alone = make(), make()
    some_calls(alone)

    def live() -> bytes:
        some_calls(template)
        first = template.state_root()
        ask(template, "store", 2, 40_000, 1)
        assert template.state_root() == from_scratch(template) != first
        ask(template, "store", 2, 40_000, 0)
        return template.state_root()

    assert in_a_fork(lambda: template.state_root()) == template.state_root()
    assert in_a_fork(live) == in_a_fork(live) == alone.state_root() == from_scratch(alone)


def test_a_fork_of_a_guest_that_was_used_is_hashed_anew(make: Callable[[], Guest], source: str) -> None:
    guest = make()
    some_calls(guest)

    def live() -> bytes:
        ask(guest, "store", 2, 5, 5)
        assert guest.state_root() == from_scratch(guest)
        return guest.state_root()

    said = in_a_fork(live)
    guest.state_root()
    ask(guest, "store", 2, 5, 5)
    assert said == guest.state_root() == from_scratch(guest)
    ask(guest, "store", 2, 6, 5)
    assert in_a_fork(guest.state_root) == guest.state_root() == from_scratch(guest)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(calls, max_size=15), looks=st.sets(st.integers(0, 15)))
def test_what_a_fork_writes_is_seen_whenever_it_looks(
    make: Callable[[], Guest], source: str, steps: list[Any], looks: set[int]
) -> None:
    template = make()

    def live() -> bytes:
        for number, call in enumerate(steps):
            ask(template, *call)
            if number in looks and template.state_root() != from_scratch(template):
                return f"wrong after {steps[: number + 1]}".encode()
        return b"right" if template.state_root() == from_scratch(template) else b"wrong at the end"

    assert in_a_fork(live) == b"right"
    template.close()


def test_writes_that_are_scattered_over_a_large_memory_are_all_seen(make: Callable[[], Guest], source: str) -> None:
    template = make()
    ask(template, "grow", 1, 400)
    template.keep_image()
    page = 4096

    def live() -> bytes:
        for _ in range(2):
            for number in range(0, 400 * PAGE // page, 2):
                ask(template, "store", 1, number * page + number % page, 1 + number % 255)
            if template.state_root() != from_scratch(template):
                return b"wrong"
        return b"right"

    assert in_a_fork(live) == b"right"


def test_what_one_process_has_kept_another_restores(make: Callable[[], Guest], tmp_path: Path) -> None:
    guest = make()
    content = ContentStore(tmp_path / "content")

    def live() -> bytes:
        some_calls(guest)
        ask(guest, "exchange", 3, 77)
        ref = store(guest.keep(), content.put)
        return ref.digest + ref.size.to_bytes(8, "big") + guest.state_root()

    said = in_a_fork(live)
    ref = store(MemoryImage(b"", b"", (), {}), content.put)
    ref = type(ref)(said[:32], int.from_bytes(said[32:40], "big"), ref.form)
    guest.restore(load(ref, content.get))
    assert guest.state_root() == said[40:]
    assert ask(guest, "exchange", 3, 0) == 77


# ---- what is refused


def test_an_image_of_another_guest_is_refused(make: Callable[[], Guest], artefact: Artefact) -> None:
    other = Guest(artefact, Host())
    ask(other, "store", 0, 60_000, 1)
    other.keep_image()
    with pytest.raises(IntegrityError, match="another when it was loaded"):
        make().restore(other.keep())


def test_a_guest_that_was_used_cannot_be_restored(make: Callable[[], Guest]) -> None:
    guest = make()
    image = guest.keep()
    ask(guest, "store", 0, 60_000, 1)
    with pytest.raises(IntegrityError, match="another when it was loaded"):
        guest.restore(image)


def test_an_image_with_one_other_bit_is_refused(make: Callable[[], Guest]) -> None:
    guest = make()
    some_calls(guest)
    image = guest.keep()
    key = next(iter(image.blocks))
    block = image.blocks[key]
    blocks = {**image.blocks, key: bytes([block[0] ^ 1]) + block[1:]}
    wrong: dict[str, Any] = {"blocks": blocks, "globals": (*image.globals[:-1], bytes(len(image.globals[-1])))}
    wrong["globals"] = (*image.globals[:-1], bytes([image.globals[-1][0] ^ 1]) + image.globals[-1][1:])
    wrong["streams"] = ("stdin",)
    wrong["memories"] = (*image.memories[:-1], image.memories[-1] + PAGE)
    for name, value in wrong.items():
        fields = {field: getattr(image, field) for field in MemoryImage.__slots__} | {name: value}
        with pytest.raises(IntegrityError):
            make().restore(MemoryImage(**fields))
    make().restore(image)


def test_a_memory_that_would_be_larger_than_it_may_be_is_refused(make: Callable[[], Guest]) -> None:
    guest = make()
    ask(guest, "grow", 0, 4)
    image = guest.keep()
    other = make()
    other.limit_memory(4 * PAGE)
    with pytest.raises(IntegrityError, match="could not be made"):
        other.restore(image)


def test_a_guest_that_nobody_looked_at_when_it_was_loaded_cannot_be_kept(artefact: Artefact) -> None:
    guest = Guest(artefact, Host())
    assert len(guest.state_root()) == 32
    with pytest.raises(WrongState, match="when it was loaded"):
        guest.keep()


# ---- handles


def test_a_guest_is_not_portable_while_it_holds_what_no_other_could_get(make: Callable[[], Guest]) -> None:
    guest = make()
    handle = ask(guest, "subscribe")
    with pytest.raises(WrongState, match="resources of the host"):
        guest.keep()
    ask(guest, "drop", handle)
    assert guest.unportable is None


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(["open", "subscribe", "drop", "close"]), max_size=12), st.randoms())
def test_a_restored_guest_gets_the_same_handles(make: Callable[[], Guest], steps: list[str], random: Any) -> None:
    """Whenever a guest is portable, which depends on how the engine numbers handles."""
    guest = make()
    held: dict[str, list[int]] = {"subscribe": [], "open": []}
    for step in steps:
        kind = {"drop": "subscribe", "close": "open"}.get(step)
        if kind is None:
            held[step].append(ask(guest, step))
        elif held[kind]:
            ask(guest, step, held[kind].pop(random.randrange(len(held[kind]))))
    if held["subscribe"]:
        assert guest.unportable
    if guest.unportable is None:
        other = make()
        other.restore(guest.keep())
        for handle in held["open"]:
            ask(guest, "close", handle)
            ask(other, "close", handle)
        assert [ask(guest, "open") for _ in range(5)] == [ask(other, "open") for _ in range(5)]
        other.close()
    guest.close()
