"""Limits are inherited downwards and never raised."""

from __future__ import annotations

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from theater.core import tree_file
from theater.core.held_limits import INHERITED, OWN, Ceiling, held, lowered
from theater.core.manifest import Limits, Manifest, canonical, from_canonical, parse


def actor(limits: str = "") -> Manifest:
    return parse(f'name = "a"\ncomponent = "a.wasm"\n[limits]\n{limits}', "m")


def test_every_limit_but_the_own_ones_is_inherited() -> None:
    assert {item.name for item in fields(Limits)} == set(INHERITED) | OWN


def test_what_is_lower_than_above_stays() -> None:
    child = actor('memory = "1MiB"\nmessage = "64KiB"\nstate = "64KiB"\ncpu = "10%"')
    assert held(child, actor().limits) is child


def test_what_is_higher_becomes_that_of_above() -> None:
    parent = actor('memory = "16MiB"\ncpu = "50%"\nmailbox = 10\ncall_timeout = "1s"\nfuel = 1000')
    child = actor('memory = "32MiB"\ncpu = "80%"\nmailbox = 5\ncall_timeout = "infinity"')
    limits = held(child, parent.limits).limits
    assert (limits.memory, limits.cpu, limits.mailbox, limits.call_timeout, limits.fuel) == (
        16 << 20,
        50,
        5,
        1000,
        1000,
    )
    assert lowered(child, held(child, parent.limits)) == ("memory", "cpu", "call_timeout", "fuel")


def test_a_request_timeout_is_everybodys_own() -> None:
    assert (
        held(actor('request_timeout = "1h"'), actor('request_timeout = "1s"').limits).limits.request_timeout == 3600_000
    )


def test_a_ceiling_on_the_memory_alone_lowers_what_may_not_be_over_it() -> None:
    limits = held(actor(), Ceiling(memory=1 << 18)).limits
    assert (limits.memory, limits.state, limits.message) == (1 << 18, 1 << 18, 1 << 18)


_sizes = st.integers(1 << 16, 1 << 26)
_limits = st.builds(
    lambda memory, state, message, cpu, chain, rate: actor(
        f"memory = {memory}\nstate = {min(state, memory)}\nmessage = {min(message, memory)}\n"
        + (f"cpu = {cpu}\n" if cpu else "")
        + (f"chain = {chain}\n" if chain else "")
        + (f"messages_per_second = {rate}\n" if rate else "")
    ),
    _sizes,
    _sizes,
    _sizes,
    st.none() | st.integers(1, 400),
    st.none() | st.integers(1 << 20, 1 << 30),
    st.none() | st.integers(1, 1000),
)


@given(st.lists(_limits, min_size=1, max_size=5))
def test_down_a_line_of_descent_no_limit_ever_rises(line: list[Manifest]) -> None:
    above = line[0]
    for each in line[1:]:
        child = held(each, above.limits)
        for name in INHERITED:
            bound, limit = getattr(above.limits, name), getattr(child.limits, name)
            assert bound is None or (limit is not None and limit <= bound), name
        assert from_canonical(canonical(child)) == child, "a manifest that can be kept and read again"
        above = child


def test_the_actors_of_a_tree_are_under_the_limits_of_all_supervisors_above_them() -> None:
    tree = tree_file.parse(
        """
        [[supervisor]]
        name = "root"
        limits = { cpu = "100%" }
        [[supervisor]]
        name = "pool"
        limits = { memory = "8MiB" }
        [[supervisor]]
        name = "inner"
        under = "pool"
        limits = { memory = "4MiB", cpu = "50%" }
        [[child]]
        name = "a"
        under = "inner"
        manifest = "a.toml"
        [[child]]
        name = "b"
        manifest = "a.toml"
        """,
        "tree",
    )
    a, b = tree.children
    limits = held(actor(), *tree.ceilings(a)).limits
    assert (limits.memory, limits.cpu) == (4 << 20, 50)
    limits = held(actor(), *tree.ceilings(b)).limits
    assert (limits.memory, limits.cpu) == (64 << 20, 100)
    assert tree_file.from_plain(tree_file.to_plain(tree)) == tree
