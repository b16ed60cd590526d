"""The wrapper: bytes come through it as they are, nothing else is changed by it, and it says when it cannot be made."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wasm_guests import CLIENT, ENGINE, Guest, Host, binary, echo_host, echo_text, forwarder, guest_text
from wit_strategies import signatures, values

from theater.core.values import Case, Err, Ok, Some
from theater.errors import ComponentError
from theater.wasm.adapter import CannotWrap, wrap
from theater.wasm.direct import CallFailed, Mode
from theater.wasm.types import BYTES, Signature, any_type, describe, describe_binary, is_bytes

ALL_BYTES = bytes(range(256))


@pytest.fixture(scope="module")
def echo() -> Guest:
    return Guest(binary(echo_text()), Mode.BYTES)


def test_every_byte_value_crosses_in_both_directions(echo: Guest) -> None:
    request = echo.instance(echo_host()).function(CLIENT, "handle-request")
    for value in range(256):
        one = bytes([value])
        assert request(one, ("", one * 3)) == Ok((one, (one * 3,)))
        assert request(None, ("a", one + b"z")) == Ok((None, (one + b"z",)))


def test_every_length_crosses_with_a_high_byte_anywhere_or_nowhere(echo: Guest) -> None:
    request = echo.instance(echo_host()).function(CLIENT, "handle-request")
    source = random.Random(5)
    for size in [*range(70), 255, 256, 257, 4095, 65535, 65536, 65537, 200_001]:
        text = bytes(source.randrange(128) for _ in range(size))
        for data in (
            source.randbytes(size),
            text,
            bytes(size),
            b"\xff" * size,
            b"\xff" + text,
            text + b"\x80",
            text[: size // 2] + b"\x80" + text[size // 2 :],
        ):
            assert request(data[::-1], ("a", data)) == Ok((data[::-1], (data,)))


def test_bytes_that_look_like_the_form_they_travel_in_are_not_confused(echo: Guest) -> None:
    request = echo.instance(echo_host()).function(CLIENT, "handle-request")
    for data in (b"\xc3\xbf", b"\xc3\xbf61", b"\xff61", b"61", "ÿ61".encode("latin-1"), b"\xc3\xbf" * 40, b""):
        assert request(data, ("a", data)) == Ok((data, (data,)))


def test_strings_beside_bytes_stay_strings(echo: Guest) -> None:
    asked: list[str] = []

    def request(actor: str, msg: bytes) -> Err:
        asked.append(actor)
        return Err(f"nö ☃ 𝄞 \0 {actor}")

    handle = echo.instance(echo_host(request)).function(CLIENT, "handle-request")
    assert handle(None, ("aÿ☃", b"\xff")) == Err("nö ☃ 𝄞 \0 aÿ☃")
    assert handle(b"\xff", ("e\0ünï☃", b"")) == Err("e\0ünï☃")
    assert asked == ["aÿ☃"]


def test_a_guest_that_keeps_its_strings_in_utf16_is_wrapped_too() -> None:
    guest = Guest(binary(echo_text("utf16")), Mode.BYTES)
    asked: list[str] = []

    def request(actor: str, msg: bytes) -> Ok:
        asked.append(actor)
        return Ok(msg)

    handle = guest.instance(echo_host(request)).function(CLIENT, "handle-request")
    # its code compares bytes of the id and counts code units: "e" and "a" still come first
    assert handle(None, ("e☃ünï𝄞", b"")) == Err("e☃ünï𝄞")
    assert handle(None, ("a☃𝄞", ALL_BYTES)) == Ok((None, (ALL_BYTES,)))
    assert asked == ["a☃𝄞"] * 4


def test_messages_over_the_limit_of_the_plain_way_cross(echo: Guest) -> None:
    five = os.urandom(5 << 20)
    assert echo.instance(echo_host()).function(CLIENT, "handle-send")(None, (five,)) == Ok((five,))
    plain = Guest(binary(echo_text()), Mode.PLAIN)
    with pytest.raises(CallFailed, match="fuel"):
        plain.instance(echo_host()).function(CLIENT, "handle-send")(None, (b"x" * (3 << 20),))


def test_a_large_message_may_ask_for_a_larger_one(echo: Guest) -> None:
    seen: list[int] = []

    def twice(actor: str, msg: bytes) -> Ok:
        seen.append(len(msg))
        return Ok(msg + msg)

    handle = echo.instance(echo_host(twice)).function(CLIENT, "handle-request")
    data = os.urandom(3 << 20)
    for _ in range(2):
        assert handle(b"s" * 100_000, ("aaa", data)) == Ok((b"s" * 100_000, (data + data,)))
    assert seen == [len(data)] * 6


def test_what_does_not_fit_into_the_memory_limit_traps(echo: Guest) -> None:
    instance = echo.instance(echo_host(), memory=4 << 20)
    handle = instance.function(CLIENT, "handle-send")
    assert handle(None, (b"\xff" * (256 << 10),)) == Ok((b"\xff" * (256 << 10),))
    with pytest.raises(CallFailed, match="unreachable"):
        handle(None, (b"\xff" * (4 << 20),))


def test_memory_is_used_again_from_call_to_call(echo: Guest) -> None:
    instance = echo.instance(echo_host(), memory=8 << 20)
    handle = instance.function(CLIENT, "handle-request")
    data = b"\xff" * (1 << 20)
    for _ in range(20):
        assert handle(None, ("", data)) == Ok((None, (data,)))


def test_forty_instances_do_not_see_each_other(echo: Guest) -> None:
    handles = [echo.instance(echo_host()).function(CLIENT, "handle-request") for _ in range(40)]
    for turn in range(10):
        for number, handle in enumerate(handles):
            data = bytes((turn, number, 255)) * (1 + (turn * 37 + number) % 300)
            assert handle(data, ("aa", data)) == Ok((data, (data,)))


def test_wrapping_is_deterministic() -> None:
    component = binary(echo_text())
    assert wrap(component) == wrap(component)


def test_the_plan_has_the_guests_own_types_and_names_what_was_rewritten() -> None:
    component = binary(echo_text())
    plan = wrap(component).plan
    assert plan.interfaces == describe_binary(component, ENGINE)
    assert plan.wrapped() == {"imports": ["theater:simple/message-server-host"], "exports": [CLIENT]}
    assert (plan.export_mode(CLIENT), plan.import_mode("wasi:cli/stdout@0.2.0")) == (Mode.BYTES, Mode.PLAIN)


def test_the_wrapped_component_shows_strings_where_the_guest_has_bytes(echo: Guest) -> None:
    shown = describe(echo.component.type, ENGINE)
    sides = (shown.imports, shown.exports)
    functions = [f for side in sides for name, i in side.items() if "hatch" not in name for f in i.functions.values()]
    assert len(functions) == 4
    assert not any(any_type(f, is_bytes) for f in functions)


# ---- any types


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")  # these examples are long
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(signatures(), min_size=1, max_size=4), st.data())
def test_values_of_any_types_cross_with_and_without_the_wrapper(
    functions: list[Signature], data: st.DataObject
) -> None:
    named = {f"f-{i}": f for i, f in enumerate(functions)} | {"bytes": Signature((("b", BYTES),), BYTES)}
    component = binary(forwarder(named))
    interface = "test:forward/functions"
    seen: list[Any] = []
    answers: list[Any] = []

    def host(*arguments: Any) -> Any:
        seen.append(arguments)
        return answers[-1]

    instances = [Guest(component, mode).instance({(interface, n): host for n in named}) for mode in Mode]
    for name, f in named.items():
        bound = [instance.function(interface, name) for instance in instances]
        for _ in range(3):
            arguments = data.draw(st.tuples(*(values(t) for _, t in f.params)))
            answers.append(data.draw(values(f.result)))
            for call in bound:
                assert call(*arguments) == answers[-1]
                assert seen.pop() == arguments


def test_a_record_of_bytes_in_lists_of_options_of_results_crosses() -> None:
    inner = ("record", (("name", "string"), ("data", BYTES), ("more", ("option", ("option", BYTES)))))
    t = ("list", ("result", ("variant", (("none", None), ("one", inner), ("raw", BYTES), ("u64", "u64"))), BYTES))
    f = Signature((("first", t), ("second", t)), t)
    value = [
        Ok(Case("one", {"name": "ÿ", "data": b"\xff", "more": Some(b"\x80")})),
        Ok(Case("one", {"name": "", "data": b"", "more": Some(None)})),
        Ok(Case("none")),
        Ok(Case("u64", 2**64 - 1)),
        Ok(Case("raw", ALL_BYTES)),
        Err(b"\xc3\xbf"),
    ]
    for mode in Mode:
        guest = Guest(binary(forwarder({"f": f})), mode)
        call = guest.instance({("test:forward/functions", "f"): lambda a, b: a + b}).function(
            "test:forward/functions", "f"
        )
        assert call(value, value[::-1]) == value + value[::-1]


# ---- what is left alone


def _resources_host(made: list[bytes]) -> Host:
    def make(data: bytes) -> int:
        made.append(data)
        return len(made)

    return {
        ("test:res/things", "make"): make,
        ("test:res/things", "data"): lambda number: made[number - 1],
        ("test:res/again", "size"): lambda number: len(made[number - 1]),
        ("test:plain/echo", "reverse"): lambda data: data[::-1],
        ("", "twice"): lambda data: data * 2,
    }


@pytest.mark.parametrize("mode", Mode)
def test_resources_keep_their_identity_and_root_functions_their_place(mode: Mode) -> None:
    made: list[bytes] = []
    instance = Guest(binary(guest_text("resources.wat")), mode).instance(_resources_host(made))
    assert instance.function("test:res/user", "through-thing")(ALL_BYTES) == (ALL_BYTES, 256)
    assert made == [ALL_BYTES]
    assert instance.function("", "twice")(ALL_BYTES) == ALL_BYTES * 2
    assert instance.function("test:plain/echo", "reverse")(ALL_BYTES) == ALL_BYTES[::-1]


def test_only_interfaces_without_resources_are_rewritten() -> None:
    plan = wrap(binary(guest_text("resources.wat"))).plan
    assert plan.imports == {"", "test:plain/echo"}
    assert plan.exports == {"", "test:plain/echo", "test:res/user"}


@pytest.mark.parametrize("mode", Mode)
def test_types_that_an_interface_shares_with_another_stay_the_same_type(mode: Mode) -> None:
    text = guest_text("shared_types.wat")
    host: Host = {
        ("test:shared/client", "send"): lambda it: it,
        ("test:shared/client", "count"): len,
        ("test:shared/client", "idle"): lambda: 0,
    }
    request = {"kind": "put", "body": ALL_BYTES}
    assert Guest(binary(text), mode).instance(host).function("test:shared/server", "serve")(request) == request


# ---- authors that mean harm


@pytest.mark.parametrize(
    "name", ['a"b', 'a") (import "evil" (func)) (import "c', "back\\slash", "nül\u2603 ", "\n;; (;"]
)
def test_a_name_never_becomes_text_of_the_wrapper(name: str) -> None:
    """`url=<...>` may hold anything but angle brackets, quotation marks and parentheses among it."""
    escaped = "".join(f"\\{byte:02x}" for byte in name.encode())
    component = binary(f'(component (import "url=<{escaped}>" (func (param "x" (list u8)) (result (list u8)))))')
    guest = Guest(component, Mode.BYTES)
    assert list(describe(guest.component.type, ENGINE).imports[""].functions) == [f"url=<{name}>"]


def test_a_wrapper_of_another_type_than_planned_is_not_accepted() -> None:
    component = binary(echo_text())
    plan = wrap(component).plan
    with pytest.raises(CannotWrap, match="other types"):
        plan.verify(describe_binary(component, ENGINE))
    plan.verify(describe_binary(wrap(component).binary, ENGINE))


# ---- what cannot be wrapped


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(component)", "no interface"),
        ('(component (import "a:b/c" (instance (export "f" (func (param "x" string))))))', "no interface"),
    ],
)
def test_a_component_that_cannot_be_wrapped_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(CannotWrap, match=reason):
        wrap(binary(text))


@pytest.mark.parametrize("rubbish", [b"", b"hello", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0\xff\xff\xff\xff"])
def test_what_is_no_component_is_refused_as_such(rubbish: bytes) -> None:
    with pytest.raises(ComponentError):
        wrap(rubbish)
