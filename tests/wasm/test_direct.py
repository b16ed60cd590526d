"""Direct calls: exceptions come out as themselves, refused values do no harm, and it all works after a fork.

That values of any type cross is held by `test_adapter`, for both modes at once.
"""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from wasm_guests import CLIENT, ENGINE, HOST, Guest, binary, echo_host, echo_text, forwarder, guest_text
from wasmtime import component as wc

from theater.core.values import Case, Err, Ok, Some
from theater.errors import ComponentError, WasmtimeNotUnderstood
from theater.wasm import native
from theater.wasm.binary import stub
from theater.wasm.direct import CallFailed, Mode, UnsupportedType, bind_import, self_test
from theater.wasm.signals import cover_entry
from theater.wasm.types import MAX_NODES, Signature, Type, describe, describe_binary

FORWARD = "test:forward/functions"


@pytest.fixture(scope="module", params=Mode)
def echo(request: pytest.FixtureRequest) -> Guest:
    return Guest(binary(echo_text()), request.param)


def forward(host: Callable[..., Any], f: Signature) -> Callable[..., Any]:
    """A guest's function of type `f` that does what `host` does."""
    return Guest(binary(forwarder({"f": f})), Mode.PLAIN).instance({(FORWARD, "f"): host}).function(FORWARD, "f")


# ---- values


@pytest.mark.parametrize(
    ("t", "values"),
    [
        ("bool", [True, False]),
        ("u8", [0, 255]),
        ("s8", [-128, -1, 127]),
        ("u16", [0, 65535]),
        ("s16", [-32768, -1, 32767]),
        ("u32", [0, 2**32 - 1]),
        ("s32", [-(2**31), -1, 2**31 - 1]),
        ("u64", [0, 2**64 - 1]),
        ("s64", [-(2**63), -1, 2**63 - 1]),
        ("f32", [0.0, -1.5, math.inf, -math.inf, 2.0**-149]),
        ("f64", [0.1, -1e308, math.inf, 5e-324]),
        ("char", ["\0", "a", "ÿ", "☃", "\ud7ff", "\ue000", "\U0010ffff"]),
        ("string", ["", "a\0b", "☃" * 1000, "\U0010ffff"]),
        (("option", ("option", "u8")), [None, Some(None), Some(7)]),
        (("option", ("option", ("option", "u8"))), [None, Some(None), Some(Some(None)), Some(Some(7))]),
        (("list", "string"), [[], [""], ["a", "☃"] * 500]),
        (("list", ("list", ("list", "s16"))), [[[[-1, 2], []], []], []]),
        (("flags", tuple(f"f{i}" for i in range(32))), [frozenset(), frozenset(("f0", "f31"))]),
        (("variant", (("a", None), ("b", ("option", "string")))), [Case("a"), Case("b"), Case("b", "x")]),
        (("result", ("option", "u8"), None), [Ok(None), Ok(5), Err()]),
    ],
)
def test_the_ends_of_each_type_come_back_as_they_went(t: Type, values: list[Any]) -> None:
    call = forward(lambda value: value, Signature((("value", t),), t))
    for value in values:
        returned = call(value)
        assert returned == value
        assert type(returned) is type(value)


@pytest.mark.parametrize("t", ["f32", "f64"])
def test_a_nan_is_a_nan(t: Type) -> None:
    assert math.isnan(forward(lambda value: value, Signature((("value", t),), t))(math.nan))


def test_signs_of_zeros_survive() -> None:
    call = forward(lambda value: value, Signature((("value", "f64"),), "f64"))
    assert math.copysign(1, call(-0.0)) == -1


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((5, ("", b"")), TypeError, "state: list<u8> is bytes in Python, found int 5"),
        ((None, ("", "text")), TypeError, r"params\[1\]: list<u8> is bytes"),
        ((None, ("\ud800", b"")), ValueError, r"params\[0\]: lone surrogate"),
        ((None, ("",)), ValueError, "params: expected 2 items, found 1"),
        ((None, None), TypeError, "params: tuple<string, list<u8>> is a tuple in Python, found None"),
        ((None,), TypeError, "missing 1 required positional argument: 'arg1_params'"),
        ((None, ("", b""), 1), TypeError, "takes 2 positional arguments but 3 were given"),
    ],
)
def test_wrong_arguments_are_refused_and_the_guest_can_still_be_called(
    echo: Guest, arguments: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    handle = echo.instance(echo_host()).function(CLIENT, "handle-request")
    with pytest.raises(error, match=words):
        handle(*arguments)
    assert handle(b"\xff", ("", b"ok")) == Ok((b"\xff", (b"ok",)))


def test_arguments_that_came_out_of_a_file_are_taken(echo: Guest) -> None:
    handle = echo.instance(echo_host()).function(CLIENT, "handle-request")
    assert handle(bytearray(b"s"), ["", memoryview(b"b")]) == Ok((b"s", (b"b",)))


def test_a_function_says_its_name(echo: Guest) -> None:
    assert echo.instance(echo_host()).function(CLIENT, "handle-send").__name__ == "handle-send"


# ---- traps and exceptions


def test_a_trap_is_told_in_wasmtimes_words_and_ends_one_instance_only(echo: Guest) -> None:
    doomed, other = (echo.instance(echo_host()).function(CLIENT, "handle-request") for _ in range(2))
    with pytest.raises(CallFailed) as trapped:
        doomed(None, ("t", b"x" * 1000))
    assert trapped.value.message.splitlines()[-1].strip() == "wasm trap: wasm `unreachable` instruction executed"
    with pytest.raises(CallFailed, match="cannot enter component instance"):
        doomed(None, ("", b""))
    assert other(None, ("", b"x")) == Ok((None, (b"x",)))


class Boom(Exception):
    pass


@pytest.mark.parametrize("exception", [Boom("ü"), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), MemoryError()])
def test_whatever_a_host_function_raises_comes_out_as_itself(echo: Guest, exception: BaseException) -> None:
    def request(actor: str, msg: bytes) -> Ok:
        raise exception

    handle = echo.instance(echo_host(request)).function(CLIENT, "handle-request")
    with pytest.raises(type(exception)) as raised:
        handle(None, ("a", b"\xff"))
    assert raised.value is exception
    with pytest.raises(CallFailed, match="cannot enter component instance"):
        handle(None, ("", b""))


def test_a_host_function_that_returns_a_wrong_value_is_named(echo: Guest) -> None:
    handle = echo.instance(echo_host(lambda actor, msg: Ok("text"))).function(CLIENT, "handle-request")
    with pytest.raises(TypeError, match=r"result\.ok: list<u8> is bytes in Python, found str 'text'"):
        handle(None, ("a", b""))


def test_a_host_function_without_a_result_must_return_none() -> None:
    with pytest.raises(TypeError, match="has no result, but returned int"):
        forward(lambda: 5, Signature((), None))()
    assert forward(lambda: None, Signature((), None))() is None


def test_a_host_function_may_call_another_guest(echo: Guest) -> None:
    inner = echo.instance(echo_host()).function(CLIENT, "handle-request")
    outer = echo.instance(echo_host(lambda actor, msg: Ok(inner(b"s", ("", msg[::-1])).value[1][0])))
    handle = outer.function(CLIENT, "handle-request")
    assert handle(b"", ("ab", b"\x00\xff\x01")) == Ok((b"", (b"\x01\xff\x00",)))


def test_an_exception_crosses_two_guests_and_one_that_was_caught_does_not_come_back(echo: Guest) -> None:
    def fail(actor: str, msg: bytes) -> Ok:
        raise Boom(actor)

    def ask_the_inner_one(actor: str, msg: bytes) -> Any:
        inner = echo.instance(echo_host(fail)).function(CLIENT, "handle-request")
        if actor == "a-catch":
            with pytest.raises(Boom):
                inner(None, ("a-inner", b""))
            return Err("caught")
        return inner(None, ("a-inner", b""))

    handle = echo.instance(echo_host(ask_the_inner_one)).function(CLIENT, "handle-request")
    assert handle(None, ("a-catch", b"")) == Err("caught")
    with pytest.raises(CallFailed, match="unreachable"):
        echo.instance(echo_host()).function(CLIENT, "handle-request")(None, ("t", b""))
    with pytest.raises(Boom, match="a-inner"):
        handle(None, ("a-through", b""))


def test_each_thread_gets_its_own_exception(echo: Guest) -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        def request(actor: str, msg: bytes) -> Ok:
            if len(msg) % 5 == 0:
                raise Boom(number, len(msg))
            return Ok(msg)

        for size in range(60):
            handle = echo.instance(echo_host(request)).function(CLIENT, "handle-request")
            try:
                if handle(None, ("aa", b"\xff" * size)) != Ok((None, (b"\xff" * size,))):
                    wrong.append((number, size))
            except Boom as error:
                if error.args != (number, size):
                    wrong.append((number, size, error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_exception_while_an_instance_is_made_comes_out_as_itself() -> None:
    guest = Guest(binary(guest_text("asks_at_start.wat")), Mode.PLAIN)
    exception = SystemExit(4)

    def host() -> int:
        raise exception

    with pytest.raises(SystemExit) as raised:
        guest.instance({("", "ask"): host})
    assert raised.value is exception
    with pytest.raises(CallFailed, match="unreachable"):
        guest.instance({("", "ask"): lambda: 0})
    guest.instance({("", "ask"): lambda: 1})


# ---- signals and processes


def run_python(script: str) -> str:
    """What a fresh Python prints that runs `script`; the tests' helpers can be imported there."""
    here = Path(__file__).parent
    path = os.pathsep.join((str(here), str(here.parent.parent)))
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_interrupt_at_any_instant_of_a_call_is_a_keyboard_interrupt_and_no_crash() -> None:
    """Most signals arrive while wasm runs and are raised at the very entry of the next host function."""
    assert run_python(INTERRUPTED) == "100 interrupts"


INTERRUPTED = """
import signal
from wasm_guests import CLIENT, Guest, Mode, binary, echo_host, echo_text

def interrupt(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
guest = Guest(binary(echo_text()), Mode.BYTES)
interrupts = 0
for turn in range(100):
    handle = guest.instance(echo_host()).function(CLIENT, "handle-request")
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.00002 * turn)
        handle(None, ("s" * 100_000, b""))
    except KeyboardInterrupt:
        interrupts += 1
print(interrupts, "interrupts")
"""


def test_what_was_bound_before_a_fork_works_in_every_child() -> None:
    assert run_python(FORKED) == "Boom 0 CallFailed 0 fine 0 parent"


FORKED = """
import os
from theater.wasm.direct import CallFailed
from wasm_guests import CLIENT, Guest, Mode, Ok, binary, echo_host, echo_text

class Boom(Exception):
    pass

def request(actor, msg):
    if msg == b"boom":
        raise Boom
    return Ok(msg)

handle = Guest(binary(echo_text()), Mode.BYTES).instance(echo_host(request)).function(CLIENT, "handle-request")

def child(command, body):
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for size in range(300):
                data = bytes((size & 255,)) * size
                assert handle(data, ("aa", data)) == Ok((data, (data,)))
            handle(None, (command, body))
            answer = "fine"
        except (Boom, CallFailed) as error:
            answer = type(error).__name__
        os.write(done, answer.encode())
        os._exit(0)
    os.close(done)
    answer = os.read(ready, 100).decode()
    return f"{answer} {os.waitpid(pid, 0)[1]}"

answers = [child("a", b"boom"), child("t", b""), child("a", b"x")]
assert handle(b"p", ("a", b"\\xff")) == Ok((b"p", (b"\\xff",)))
print(*answers, "parent")
"""


def test_the_entry_of_a_function_with_a_closure_cannot_be_covered() -> None:
    outside = 1

    def closed() -> int:
        try:
            return outside
        except BaseException:
            return 0

    def late() -> int:
        value = outside_of_all
        try:
            return value
        except BaseException:
            return 0

    assert not cover_entry(closed)
    assert cover_entry(_covered)
    assert _covered() == 5


outside_of_all = 0


def _covered() -> int:
    try:
        raise ValueError
    except BaseException:
        return 5


# ---- memory


def resident() -> int:
    """Bytes of memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_calls_and_refusals_leave_no_memory_behind(echo: Guest) -> None:
    handle = echo.instance(echo_host()).function(CLIENT, "handle-request")
    mixed, text = os.urandom(4000), b"a" * 4000

    def work(times: int) -> None:
        for _ in range(times):
            handle(mixed, ("aaa", mixed))
            handle(text, ("a", text))
            handle(None, ("e☃", mixed))
            with pytest.raises(TypeError):
                handle(mixed, ("", 5))

    assert grown(work, 100, 600) < 3 << 20


def test_traps_and_exceptions_leave_no_memory_behind(echo: Guest) -> None:
    def request(actor: str, msg: bytes) -> Ok:
        raise Boom

    def work(times: int) -> None:
        for _ in range(times):
            for command, error in (("t", CallFailed), ("a", Boom)):
                with pytest.raises(error):
                    echo.instance(echo_host(request)).function(CLIENT, "handle-request")(None, (command, b"x" * 5000))

    assert grown(work, 30, 150) < 4 << 20


def test_resources_leave_no_memory_behind() -> None:
    instance = Guest(binary(guest_text("resources.wat")), Mode.PLAIN).instance(
        {
            ("test:res/things", "make"): lambda data: len(data),
            ("test:res/things", "data"): lambda number: b"x" * number,
            ("test:res/again", "size"): lambda number: number,
            ("test:plain/echo", "reverse"): lambda data: data,
            ("", "twice"): lambda data: data,
        }
    )
    through = instance.function("test:res/user", "through-thing")

    def work(times: int) -> None:
        for _ in range(times):
            assert through(b"abc") == (b"xxx", 3)

    assert grown(work, 500, 5000) < 2 << 20


def grown(work: Callable[[int], None], before: int, times: int) -> int:
    """By how many bytes this process grows when `work` is done so many times, after it was done `before`."""
    work(before)
    gc.collect()
    start = resident()
    work(times)
    gc.collect()
    return resident() - start


# ---- types


def test_a_description_has_the_words_of_the_wit() -> None:
    interfaces = describe_binary(binary(echo_text()), ENGINE)
    assert {name: str(f) for name, f in interfaces.imports[HOST].functions.items()} == {
        "send": "func(actor-id: string, msg: list<u8>) -> result<_, string>",
        "request": "func(actor-id: string, msg: list<u8>) -> result<list<u8>, string>",
    }


@pytest.mark.parametrize("name", ["resources.wat", "shared_types.wat"])
def test_a_stub_has_the_type_of_the_whole_component(name: str) -> None:
    component = binary(guest_text(name))
    whole = wc.Component(ENGINE, component)
    assert describe_binary(component, ENGINE) == describe(whole.type, ENGINE)
    assert len(stub(component)) < len(component)


def test_the_same_resource_has_the_same_number_everywhere() -> None:
    imports = describe_binary(binary(guest_text("resources.wat")), ENGINE).imports
    number = imports["test:res/things"].resources["thing"]
    assert imports["test:res/again"].resources == {"thing": number}
    assert imports["test:res/again"].functions["size"].params == (("it", ("borrow", number)),)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not WebAssembly"),
        (b"#!/bin/sh", "not WebAssembly"),
        (bytes(wasmtime.wat2wasm("(module)")), "core WebAssembly module, not a component"),
        (b"\0asm\x0d\0\x01\0\x01", "not a valid WebAssembly component"),
        (binary(echo_text())[:-20], "not a valid WebAssembly component"),
    ],
)
def test_what_is_no_component_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(ComponentError, match=words):
        describe_binary(data, ENGINE)


def test_types_that_unfold_without_end_are_refused() -> None:
    doubling = "".join(f"(type $t{i + 1} (tuple $t{i} $t{i}))" for i in range(16))
    text = f'(component (type $t0 (tuple u8 u8)) {doubling} (import "f" (func (param "x" $t16))))'
    with pytest.raises(ComponentError, match=f"more than {MAX_NODES} nodes"):
        describe_binary(binary(text), ENGINE)


def test_types_that_nest_too_deeply_are_refused_when_they_are_bound() -> None:
    t: Type = "u8"
    for _ in range(120):
        t = ("option", t)
    with wc.Linker(ENGINE).root() as root, pytest.raises(UnsupportedType, match="nests too deeply"):
        bind_import(root, "f", lambda x: None, Signature((("x", t),), None), "plain")


def test_a_type_with_a_future_cannot_be_bound() -> None:
    f = Signature((("x", ("list", ("unsupported", "FutureType"))),), None)
    with wc.Linker(ENGINE).root() as root, pytest.raises(UnsupportedType, match="FutureType"):
        bind_import(root, "f", lambda x: None, f, "plain")


def test_a_name_that_is_taken_is_refused_by_the_linker() -> None:
    with wc.Linker(ENGINE).root() as root:
        kept = bind_import(root, "f", lambda: None, Signature((), None), "plain")
        with pytest.raises(CallFailed, match="defined twice"):
            bind_import(root, "f", lambda: None, Signature((), None), "plain")
        assert kept.name == "f"


# ---- the installed wasmtime


def test_the_installed_wasmtime_is_understood() -> None:
    self_test()


@pytest.mark.parametrize("version", ["49.0.0", "51.0.0", "5.0.0"])
def test_another_wasmtime_is_refused_by_its_version(version: str) -> None:
    with pytest.raises(WasmtimeNotUnderstood, match=rf"wasmtime {version} is installed.*pip install"):
        native.check_version(version)


def test_a_message_of_a_guest_cannot_pass_for_a_host_functions_exception() -> None:
    number = native.take_error(native.park(Boom()))
    assert native.parked(f"{number}\n\nCaused by:\n    wasm trap: unreachable") is None
    assert isinstance(native.parked(number), Boom)
    assert native.parked(number) is None


def test_exceptions_that_nobody_asked_for_are_forgotten_in_time() -> None:
    texts = [native.take_error(native.park(Boom(i))) for i in range(200)]
    assert native.parked(texts[0]) is None
    assert isinstance(native.parked(texts[-1]), Boom)
