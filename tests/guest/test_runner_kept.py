"""A Python actor's memory is kept and restored, with all that it has in Python."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loaded import Loaded

from theater.core.memory_image import load as load_image
from theater.core.memory_image import store
from theater.store.content import ContentStore

HOARDER = """
    import random
    import sys
    import time

    import theater

    SEEN = {}

    def numbers():
        total = 0
        while True:
            total += (yield total) or 1

    class Hoarder(theater.Actor):
        def __init__(self):
            super().__init__()
            SEEN["numbers"] = numbers()
            SEEN["total"] = next(SEEN["numbers"])

        def handle_request(self, message):
            verb, argument = message
            if verb == "count":
                SEEN["total"] = SEEN["numbers"].send(argument)
            elif verb == "note":
                SEEN.setdefault(argument, []).append(object())
            elif verb == "hoard":
                SEEN["bytes"] = bytearray(argument)
            elif verb == "forget":
                SEEN.pop(argument, None)
            elif verb == "print":
                print(argument)
            elif verb == "complain":
                print(argument, file=sys.stderr)
            elif verb == "sleep":
                time.sleep(0.001)
            elif verb == "import":
                __import__(argument)
            elif verb == "fail":
                raise theater.Error(argument)
            identities = sorted(len(things) for things in SEEN.values() if isinstance(things, list))
            return [SEEN["total"], len(SEEN.get("bytes", b"")), identities, len(sys.modules), id(SEEN)]
"""

words = st.sampled_from(["a", "b", "ü", "c" * 500])
messages = st.one_of(
    st.tuples(st.just("count"), st.integers(0, 2**80)),
    st.tuples(st.just("note"), words),
    st.tuples(st.just("hoard"), st.sampled_from([0, 10, 100_000, 3_000_000])),
    st.tuples(st.just("forget"), words),
    st.tuples(st.sampled_from(["print", "complain", "fail"]), words),
    st.tuples(st.just("sleep"), st.none()),
    st.tuples(st.just("import"), st.sampled_from(["fractions", "calendar"])),
)


def the_same_for_everybody(interface: str, function: str, args: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
    """What a recording gives to the next who hears it: clocks stand still, and nothing is random."""
    value = compute()
    if isinstance(value, bytes):
        return bytes(len(value))
    return dict.fromkeys(value, 0) if isinstance(value, dict) else 0


@pytest.fixture
def hoarder(load: Callable[..., Loaded]) -> Callable[[], Loaded]:
    def made() -> Loaded:
        actor = load(HOARDER)
        actor.host.wasi.answer = the_same_for_everybody  # type: ignore[method-assign]
        actor.guest.keep_image()
        return actor

    return made


def test_loading_a_program_leaves_the_same_memory_every_time(hoarder: Callable[[], Loaded]) -> None:
    assert hoarder().guest.state_root() == hoarder().guest.state_root()


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(messages, max_size=8), after=st.lists(messages, max_size=8))
def test_an_actor_that_was_restored_goes_on_as_the_other(
    hoarder: Callable[[], Loaded], tmp_path: Path, before: list[Any], after: list[Any]
) -> None:
    content = ContentStore(tmp_path / "content")
    one, other = hoarder(), hoarder()
    one.init()
    for message in before:
        one.request(message)
    assert one.guest.unportable is None
    other.guest.restore(load_image(store(one.guest.keep(), content.put), content.get))
    other.state = one.state
    for message in after:
        assert one.request(message) == other.request(message)
        assert one.guest.state_root() == other.guest.state_root()
    one.guest.close()
    other.guest.close()


def test_a_fork_has_the_root_of_an_actor_that_was_never_forked(hoarder: Callable[[], Loaded]) -> None:
    template, alone = hoarder(), hoarder()
    calls = [("count", 5), ("hoard", 2_000_000), ("print", "x"), ("note", "a")]
    roots = [alone.guest.state_root()]
    alone.init()
    for call in calls:
        alone.request(call)
        roots.append(alone.guest.state_root())
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            os.write(writing, template.guest.state_root())
            template.init()
            for call in calls:
                template.request(call)
                os.write(writing, template.guest.state_root())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        assert file.read() == b"".join(roots)
    os.wait()
