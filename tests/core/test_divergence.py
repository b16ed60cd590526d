"""A divergence can be read: the sentence, and the difference line by line."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from theater.core.chain import Call, HostCall, HostResult, Lifecycle, Outcome, Payload, outcome_ok, outcome_trap
from theater.core.codec import pack
from theater.core.divergence import Nothing, difference, diverged, lines
from theater.core.values import Case, Err, Ok, Some

SAY = HostCall("runtime", "log", ["hello"])


def changed(recorded: object, happened: object) -> list[str]:
    """The lines that differ when a host function was given the one or the other."""
    diff = difference(SAY._replace(args=[recorded]), SAY._replace(args=[happened]))
    return [line for line in diff[2:] if line[0] in "+-"]


def test_the_sentence_says_entry_recorded_and_happened() -> None:
    error = diverged(7, SAY, outcome_ok([b'{"a": 1}'], b"\xff", None))
    assert error.message == (
        'entry 7: recorded was the host call runtime log("hello"); in the replay it was an outcome ok [{"a": 1}] with '
        'the new state "0xff"'
    )
    assert error.details["entry"] == 7


def test_what_is_long_is_cut_in_the_sentence() -> None:
    assert len(diverged(1, SAY._replace(args=["x" * 10**6]), SAY).message) < 300


def test_text_is_compared_by_lines() -> None:
    found = changed(b"one\ntwo\nthree", b"one\nTWO\nthree")
    assert found == ["-      two", "+      TWO"]
    assert changed("one\ntwo", "one\nTWO") == ["-      two", "+      TWO"]


def test_json_is_compared_by_its_structure() -> None:
    assert changed(b'{"a":1,"b":[1,2]}', b'{"a":1,"b":[1,3]}') == ["-          2", "+          3"]


def test_msgpack_is_compared_by_its_structure() -> None:
    found = changed(pack({"a": [1, 2], "b": b"\xff"}), pack({"a": [1, 3], "b": b"\xff"}))
    assert found == ["-          [1]: 2", "+          [1]: 3"]


def test_other_bytes_are_compared_in_hexadecimal() -> None:
    assert changed(b"\0" * 40, b"\0" * 39 + b"\1") == [
        "-      000020  00 00 00 00 00 00 00 00",
        "+      000020  00 00 00 00 00 00 00 01",
    ]


def test_a_trap_is_shown_with_its_backtrace() -> None:
    diff = difference(outcome_ok([], None, None), outcome_trap("unreachable", "a panic", ["a!b at 0x1", "c"], None))
    assert {"+  trap: unreachable", "+  message: a panic", "+    a!b at 0x1", "+    c"} <= set(diff)


def test_where_nothing_happened_the_record_is_shown_and_the_reverse() -> None:
    assert difference(SAY, Nothing("it stopped")) == [f"-{line}" for line in lines(SAY)]
    assert difference(Nothing("the record ends here"), SAY) == [f"+{line}" for line in lines(SAY)]
    assert "recorded was the record ends here" not in diverged(1, Nothing("nothing"), SAY).message


def test_long_payloads_are_compared_around_the_first_difference() -> None:
    long = "\n".join(map(str, range(100_000)))
    found = changed(long, long.replace("50000\n", "x\n"))
    assert found == ["-      50000", "+      x"]
    assert len(difference(SAY._replace(args=[b"\0" * 10**6]), SAY._replace(args=[b"\1" * 10**6]))) < 100


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.builds(Ok, inner)
        | st.builds(Err, inner)
        | st.builds(Some, inner)
        | st.builds(Case, st.text(), inner)
        | st.frozensets(st.text(), max_size=3)
    ),
    max_leaves=10,
)


@given(VALUES, VALUES)
@example(["\n", None], None)
def test_everything_that_a_chain_can_hold_can_be_shown(one: object, other: object) -> None:
    shown: list[Payload] = [
        SAY._replace(args=[one]),
        HostResult(one),
        Call("a", "b", [one], None, None, other),
        Lifecycle("event", {"it": one}),
        Outcome("ok", one, None, [b"s"]),
        Outcome("trap", one, None),
    ]
    for payload in shown:
        error = diverged(0, payload, HostResult(other))
        assert "\n" not in error.message
        assert all(isinstance(line, str) for line in difference(payload, HostResult(other)))


def test_a_state_that_is_msgpack_is_shown_by_its_structure_in_the_sentence_too() -> None:
    one, other = (outcome_ok([], pack({"n": number, "who": ["me"]}), None) for number in (1, 2))
    error = diverged(3, one, other)
    assert 'with the new state {"n": 1, "who": ["me"]}; in the replay' in error.message
    assert {"-        n: 1", "+        n: 2"} <= set(error.details["diff"])


def test_a_memory_that_is_another_is_named_by_its_root() -> None:
    one, other = (outcome_ok([], None, None)._replace(root=bytes([number]) * 32) for number in (1, 2))
    error = diverged(3, one, other)
    assert "and the memory 0101010101010101…; in the replay" in error.message
    assert {f"-  root: {'01' * 32}", f"+  root: {'02' * 32}"} <= set(error.details["diff"])
