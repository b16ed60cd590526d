"""WASI for actors: what the world tells them is recorded, and nothing leads outside."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compiled import ROOT, Host, World, compiled
from wasi_probe import probe

from theater.core.values import Err, Ok
from theater.errors import ComponentError
from theater.wasm.artefacts import Artefact
from theater.wasm.guest import Guest, Trap, TrapKind
from theater.wasm.wasi import MAX_HANDLES, MAX_RANDOM, MAX_WRITE

CLOCK = "wasi:clocks/monotonic-clock@0.2.9"


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return compiled(tmp_path_factory.mktemp("probe"), probe())


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def call(artefact: Artefact, world: World) -> Callable[..., Any]:
    guest = Guest(artefact, Host(world))
    return lambda function, *args: guest.call("", function, args)


def trap_of(call: Callable[..., Any], function: str, *args: Any) -> Trap:
    with pytest.raises(Trap) as caught:
        call(function, *args)
    return caught.value


# ---- answers about the world


def test_the_clocks_are_those_of_this_machine(call: Callable[..., Any]) -> None:
    before = time.time_ns(), time.monotonic_ns()
    wall, monotonic = call("wall"), call("monotonic")
    after = time.time_ns(), time.monotonic_ns()
    assert before[0] <= wall["seconds"] * 10**9 + wall["nanoseconds"] <= after[0]
    assert before[1] <= monotonic <= after[1]
    assert call("wall-resolution") == {"seconds": 0, "nanoseconds": 1}


def test_randomness_has_the_length_that_was_asked_for_and_does_not_repeat(call: Callable[..., Any]) -> None:
    for function in ("random", "insecure"):
        assert [len(call(function, size)) for size in (0, 1, 1000)] == [0, 1, 1000]
        assert call(function, 32) != call(function, 32)
    assert call("random-u64") != call("random-u64")
    assert call("insecure-u64") != call("insecure-u64")
    assert call("seed") != call("seed")


def test_environment_and_arguments_are_empty(call: Callable[..., Any]) -> None:
    assert (call("environment"), call("arguments"), call("cwd")) == ([], [], None)


def test_everything_from_outside_is_asked_of_the_host_in_order(call: Callable[..., Any], world: World) -> None:
    for function, args in OUTSIDE:
        call(function, *args)
    assert world.asked == [
        ("wasi:clocks/wall-clock@0.2.9", "now", ()),
        (CLOCK, "now", ()),
        ("wasi:random/random@0.2.9", "get-random-bytes", (20,)),
        ("wasi:random/random@0.2.9", "get-random-u64", ()),
        ("wasi:random/insecure@0.2.9", "get-insecure-random-bytes", (20,)),
        ("wasi:random/insecure@0.2.9", "get-insecure-random-u64", ()),
        ("wasi:random/insecure-seed@0.2.9", "insecure-seed", ()),
        ("wasi:cli/environment@0.2.9", "get-environment", ()),
        ("wasi:cli/environment@0.2.9", "get-arguments", ()),
        ("wasi:cli/environment@0.2.9", "initial-cwd", ()),
    ]


OUTSIDE = [
    *(
        ("wall", ()),
        ("monotonic", ()),
        ("random", (20,)),
        ("random-u64", ()),
        ("insecure", (20,)),
        ("insecure-u64", ()),
    ),
    *(("seed", ()), ("environment", ()), ("arguments", ()), ("cwd", ())),
]


def test_recorded_answers_make_another_guest_see_the_same_world(artefact: Artefact, world: World) -> None:
    first, second = Guest(artefact, Host(world)), Guest(artefact, Host(World(world.answers)))
    seen = [first.call("", function, args) for function, args in OUTSIDE]
    assert [second.call("", function, args) for function, args in OUTSIDE] == seen


def test_a_host_can_give_an_environment(artefact: Artefact) -> None:
    given = World([[["NAME", "käse"]], ["prog", "--flag"], "/home"])
    guest = Guest(artefact, Host(given))
    assert guest.call("", "environment", ()) == [("NAME", "käse")]
    assert guest.call("", "arguments", ()) == ["prog", "--flag"]
    assert guest.call("", "cwd", ()) == "/home"


def test_too_much_randomness_ends_the_call_and_is_not_recorded(call: Callable[..., Any], world: World) -> None:
    trap = trap_of(call, "random", MAX_RANDOM + 1)
    assert trap.kind is TrapKind.HOST
    assert "random bytes" in trap.message
    assert world.asked == []


# ---- waiting


def test_sleeping_is_the_hosts_business(call: Callable[..., Any], world: World) -> None:
    call("sleep", 10**15)
    assert world.slept == [10**15] or 0 < 10**15 - world.slept[0] < 10**9
    assert [function for _, function, _ in world.asked] == ["now", "now"]


def test_a_time_that_has_come_needs_no_waiting(artefact: Artefact) -> None:
    world = World([100, 200, 150, 300])
    guest = Guest(artefact, Host(world))
    guest.call("", "sleep", (50,))
    assert world.slept == []
    assert guest.call("", "ready", (150,)) is True
    assert guest.call("", "ready", (301,)) is False


def test_the_longest_duration_does_not_overflow(artefact: Artefact) -> None:
    world = World([1000, 1000])
    Guest(artefact, Host(world)).call("", "sleep", (2**64 - 1,))
    assert world.slept == [2**64 - 1 - 1000]


def test_poll_waits_for_the_first_and_names_all_that_are_ready(artefact: Artefact) -> None:
    for durations, ready in (((50, 70), [0]), ((70, 50), [1]), ((60, 60), [0, 1])):
        world = World([1000, 1000, 1001])
        assert Guest(artefact, Host(world)).call("", "poll", durations) == ready
        assert world.slept == [min(durations) - 1]


def test_poll_asks_the_clock_once_and_does_not_wait_for_what_is_over(artefact: Artefact) -> None:
    world = World([1000, 1000, 1055])
    assert Guest(artefact, Host(world)).call("", "poll", (50, 90)) == [0]
    assert world.slept == []
    assert len(world.asked) == 3


def test_poll_of_nothing_ends_the_call(call: Callable[..., Any]) -> None:
    assert trap_of(call, "poll-nothing").kind is TrapKind.HOST


# ---- streams


def test_what_a_guest_writes_reaches_the_host_at_once(call: Callable[..., Any], world: World) -> None:
    assert call("write", False, b"to out") == 0
    assert call("write", True, b"\xff\0to err") == 0
    assert world.written == [("stdout", b"to out"), ("stderr", b"\xff\0to err")]
    assert world.asked == []


def test_one_write_has_a_limit(call: Callable[..., Any], world: World) -> None:
    assert call("write", False, bytes(MAX_WRITE)) == 0
    assert trap_of(call, "write", False, bytes(MAX_WRITE + 1)).kind is TrapKind.HOST
    assert len(world.written) == 1


def test_standard_input_is_at_its_end(call: Callable[..., Any]) -> None:
    assert call("read") == 11  # err, closed


def test_there_is_no_terminal_and_no_directory(call: Callable[..., Any]) -> None:
    assert call("terminal") == 0
    assert call("directories") == 0


# ---- refusals


def test_a_socket_is_denied_in_its_own_words(call: Callable[..., Any]) -> None:
    assert call("connect") == 11  # err, access-denied
    assert call("monotonic") > 0


@pytest.mark.parametrize(
    ("function", "named"),
    [
        ("http", "wasi:http/outgoing-handler@0.2.9 handle"),
        ("timezone", "wasi:clocks/timezone@0.2.9 utc-offset"),
    ],
)
def test_what_no_actor_has_ends_the_call_and_is_named(call: Callable[..., Any], function: str, named: str) -> None:
    trap = trap_of(call, function)
    assert trap.kind is TrapKind.HOST
    assert trap.message == f"{named} is not available to actors"


def test_handles_cannot_be_hoarded(call: Callable[..., Any]) -> None:
    trap = trap_of(call, "hoard")
    assert trap.kind is TrapKind.HOST
    assert str(MAX_HANDLES) in trap.message


def test_dropped_handles_are_forgotten(call: Callable[..., Any]) -> None:
    call("churn", MAX_HANDLES + 100)
    assert call("monotonic") > 0


def test_a_function_of_another_type_than_wasis_is_not_called(tmp_path: Path) -> None:
    text = """(component
      (import "wasi:random/random@0.2.0" (instance $r (export "get-random-u64" (func (param "a" u8) (result u32)))))
      (core func $f (canon lower (func $r "get-random-u64")))
      (func (export "f") (param "a" u8) (result u32) (canon lift (core func $f))))"""
    guest = Guest(compiled(tmp_path, text), Host())
    with pytest.raises(Trap, match="not available to actors"):
        guest.call("", "f", (1,))


def test_another_generation_of_wasi_is_refused_when_the_guest_is_made(tmp_path: Path) -> None:
    text = '(component (import "wasi:clocks/monotonic-clock@0.3.0" (instance (export "now" (func (result u64))))))'
    with pytest.raises(ComponentError, match=r"only WASI 0\.2"):
        Guest(compiled(tmp_path, text), Host())


@pytest.mark.parametrize("version", ["0.2.0", "0.2.3"])
def test_every_version_of_0_2_is_served(version: str, tmp_path: Path) -> None:
    world = World()
    guest = Guest(compiled(tmp_path, probe(version)), Host(world))
    guest.call("", "monotonic", ())
    guest.call("", "sleep", (1,))
    assert guest.call("", "write", (False, b"x")) == 0
    assert {interface for interface, _, _ in world.asked} == {f"wasi:clocks/monotonic-clock@{version}"}


# ---- ending


@pytest.mark.parametrize(
    ("function", "argument", "code"),
    [("exit", Ok(), 0), ("exit", Err(), 1), ("exit-with", 0, 0), ("exit-with", 77, 77)],
)
def test_exit_ends_the_guest_with_its_code(call: Callable[..., Any], function: str, argument: Any, code: int) -> None:
    trap = trap_of(call, function, argument)
    assert (trap.kind, trap.exit_code) == (TrapKind.EXIT, code)


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_what_the_host_raises_comes_out_as_itself(artefact: Artefact, error: BaseException) -> None:
    class Failing(World):
        def answer(self, *args: Any) -> Any:
            raise error

        def output(self, *args: Any) -> None:
            raise error

    for function, args in (("wall", ()), ("random", (5,)), ("sleep", (5,)), ("write", (False, b"x"))):
        guest = Guest(artefact, Host(Failing()))
        with pytest.raises(type(error)) as caught:
            guest.call("", function, args)
        assert caught.value is error
        assert not guest.is_alive


def test_an_answer_of_the_wrong_type_ends_the_guest(artefact: Artefact) -> None:
    guest = Guest(artefact, Host(World(["not a time"])))
    with pytest.raises(TypeError):
        guest.call("", "monotonic", ())
    assert not guest.is_alive


def test_an_interrupt_while_a_guest_uses_wasi_does_not_crash(artefact: Artefact) -> None:
    program = f"""
        import json, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from compiled import Host
        from theater.wasm.artefacts import ArtefactCache
        from theater.wasm.guest import Guest
        artefact = ArtefactCache(Path({str(artefact.path.parent)!r})).find({artefact.meta.component!r}, False)

        def interrupt(number, frame):
            if guest.is_alive:  # more than once, since an exception that meets a finalizer is lost
                raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, interrupt)
        results = []
        for _ in range(30):
            guest = Guest(artefact, Host())
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
                guest.call("", "churn", (2**32 - 1,))
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
                results.append(guest.is_alive)
        print(json.dumps(results))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [False] * 30


def test_what_is_asked_while_a_guest_is_made_is_asked_of_the_host(tmp_path: Path) -> None:
    text = """(component
      (import "wasi:clocks/monotonic-clock@0.2.9" (instance $mono (export "now" (func (result u64)))))
      (core func $now (canon lower (func $mono "now")))
      (core module $m (import "c" "now" (func $now (result i64))) (func $start (drop (call $now))) (start $start))
      (core instance (instantiate $m (with "c" (instance (export "now" (func $now)))))))"""
    world = World()
    Guest(compiled(tmp_path, text), Host(world))
    assert world.asked == [(CLOCK, "now", ())]
