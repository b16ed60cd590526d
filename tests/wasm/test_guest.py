"""One instance: called, limited, trapped, and used in processes forked from the one that made it."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compiled import API, HOST, ROOT, Host, World, compiled, faults

from theater.errors import ComponentError, ContentDamaged, WrongState
from theater.wasm.artefacts import Artefact
from theater.wasm.guest import Guest, Trap, TrapKind

PAGE = 65536


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return compiled(tmp_path_factory.mktemp("faults"), faults())


@pytest.fixture(scope="module")
def fuelled(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return compiled(tmp_path_factory.mktemp("fuelled"), faults(), fuel=True)


@pytest.fixture
def guest(artefact: Artefact) -> Iterator[Guest]:
    made = Guest(artefact, Host())
    yield made
    made.close()


def trap_of(guest: Guest, function: str, *args: Any, timeout: float | None = None) -> Trap:
    with pytest.raises(Trap) as caught:
        guest.call(API, function, args, timeout)
    return caught.value


# ---- calls


def test_an_export_can_be_called(guest: Guest) -> None:
    assert guest.call(API, "answer", ()) == 7


def test_a_guest_knows_its_exports(guest: Guest) -> None:
    assert (API, "answer") in guest.exports
    assert (API, "nothing") not in guest.exports


def test_a_guest_keeps_its_state_between_calls(guest: Guest) -> None:
    assert [guest.call(API, "count", ()) for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000])
def test_bytes_come_back_as_they_went(guest: Guest, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    assert guest.call(API, "echo", (data[:size],)) == data[:size]
    assert guest.call(API, "give", (data[:size],)) == data[:size][::-1]


def test_a_host_function_gets_what_the_guest_gives(artefact: Artefact) -> None:
    asked: list[int] = []

    def ask(number: int) -> int:
        asked.append(number)
        return 40

    guest = Guest(artefact, Host(ask=ask))
    assert guest.call(API, "ask", (2**32 - 1,)) == 40
    assert asked == [2**32 - 1]


def test_each_import_is_asked_for_once_with_its_type(artefact: Artefact) -> None:
    class Asked(Host):
        def bind(self, interface: str, function: str, signature: Any) -> Any:
            asked.append((interface, function, str(signature)))
            return super().bind(interface, function, signature)

    asked: list[tuple[str, str, str]] = []
    Guest(artefact, Asked())
    assert asked == [
        (HOST, "ask", "func(number: u32) -> u32"),
        (HOST, "give", "func(data: list<u8>) -> list<u8>"),
    ]


def test_an_import_that_no_host_gives_is_named(artefact: Artefact) -> None:
    host = Host()
    del host.functions["give"]
    with pytest.raises(ComponentError, match="imports give of test:faults/host"):
        Guest(artefact, host)


def test_an_export_that_does_not_exist_is_named(guest: Guest) -> None:
    with pytest.raises(ComponentError, match="does not export nothing"):
        guest.call(API, "nothing", ())
    assert guest.is_alive


@pytest.mark.parametrize(
    ("function", "args", "error"),
    [("ask", ("one",), TypeError), ("ask", (-1,), ValueError), ("ask", (), Exception), ("echo", ("text",), TypeError)],
)
def test_arguments_that_are_no_values_of_their_type_do_not_reach_the_guest(
    guest: Guest, function: str, args: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        guest.call(API, function, args)
    assert guest.call(API, "count", ()) == 1


def test_an_artefact_that_does_not_load_is_damaged(artefact: Artefact, tmp_path: Path) -> None:
    broken = tmp_path / "broken.cwasm"
    broken.write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(ContentDamaged, match="does not load"):
        Guest(Artefact(broken, artefact.meta), Host())


def test_an_artefact_of_another_engine_is_refused(artefact: Artefact, fuelled: Artefact) -> None:
    with pytest.raises(ContentDamaged, match="fuel"):
        Guest(Artefact(fuelled.path, artefact.meta), Host())


# ---- traps


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("unreachable", TrapKind.UNREACHABLE),
        ("recurse", TrapKind.STACK_OVERFLOW),
        ("out-of-bounds", TrapKind.OUT_OF_BOUNDS),
        ("divide", TrapKind.DIVIDE_BY_ZERO),
        ("overflow", TrapKind.INTEGER_OVERFLOW),
        ("convert", TrapKind.BAD_CONVERSION),
        ("call-null", TrapKind.INDIRECT_CALL),
        ("call-nothing", TrapKind.INDIRECT_CALL),
        ("call-other", TrapKind.INDIRECT_CALL),
    ],
)
def test_a_trap_says_what_happened_and_where(guest: Guest, function: str, kind: TrapKind) -> None:
    trap = trap_of(guest, function)
    assert trap.kind is kind
    assert trap.message
    assert "\n" not in trap.message
    assert trap.backtrace
    assert "main!" in trap.backtrace[0]
    assert trap.exit_code is None


def test_a_backtrace_of_deep_recursion_is_short(guest: Guest) -> None:
    assert len(trap_of(guest, "recurse").backtrace) <= 32


def test_after_a_trap_every_call_is_refused_with_the_reason(guest: Guest) -> None:
    trap_of(guest, "divide")
    assert not guest.is_alive
    for _ in range(2):
        with pytest.raises(WrongState, match="integer divide by zero"):
            guest.call(API, "answer", ())


def test_a_trap_does_not_disturb_other_guests_of_the_process(artefact: Artefact, guest: Guest) -> None:
    trap_of(Guest(artefact, Host()), "unreachable")
    assert guest.call(API, "count", ()) == 1


def test_a_closed_guest_refuses_calls(artefact: Artefact) -> None:
    guest = Guest(artefact, Host())
    guest.close()
    with pytest.raises(WrongState, match="closed"):
        guest.call(API, "answer", ())


# ---- host functions that fail, and re-entrance


@pytest.mark.parametrize("error", [RuntimeError("no"), ValueError("no"), KeyboardInterrupt("no"), SystemExit(3)])
def test_what_a_host_function_raises_comes_out_as_itself_and_ends_the_guest(
    artefact: Artefact, error: BaseException
) -> None:
    def fail(number: int) -> int:
        raise error

    guest = Guest(artefact, Host(ask=fail))
    with pytest.raises(type(error)) as caught:
        guest.call(API, "ask", (1,))
    assert caught.value is error
    assert not guest.is_alive
    with pytest.raises(WrongState, match=f"host function raised {type(error).__name__}"):
        guest.call(API, "answer", ())


def test_a_host_function_that_returns_nonsense_ends_the_guest(artefact: Artefact) -> None:
    guest = Guest(artefact, Host(ask=lambda number: "text"))
    with pytest.raises(TypeError):
        guest.call(API, "ask", (1,))
    assert not guest.is_alive


def test_a_host_function_cannot_call_back_into_the_guest(artefact: Artefact) -> None:
    def call_back(number: int) -> int:
        with pytest.raises(WrongState, match="in a call"):
            guest.call(API, "answer", ())
        return 5

    guest = Guest(artefact, Host(ask=call_back))
    assert guest.call(API, "ask", (1,)) == 5
    assert guest.call(API, "answer", ()) == 7


def test_a_host_function_can_call_another_guest(artefact: Artefact, guest: Guest) -> None:
    asking = Guest(artefact, Host(ask=lambda number: guest.call(API, "ask", (number + 1,))))
    assert asking.call(API, "ask", (1,)) == 3


# ---- time


def test_a_loop_is_ended_by_the_timeout(guest: Guest) -> None:
    began = time.monotonic()
    trap = trap_of(guest, "loop", timeout=0.05)
    assert trap.kind is TrapKind.TIMEOUT
    assert 0.05 <= time.monotonic() - began < 5
    assert not guest.is_alive


def test_a_call_within_its_time_is_not_disturbed(guest: Guest) -> None:
    for _ in range(100):
        assert guest.call(API, "answer", (), 60.0) == 7
    assert guest.remaining() is None


def test_a_guest_that_only_asks_its_host_is_ended_too(artefact: Artefact) -> None:
    guest = Guest(artefact, Host())
    assert trap_of(guest, "ask-for-ever", timeout=0.05).kind is TrapKind.TIMEOUT


def test_a_call_that_returns_after_its_deadline_has_timed_out(artefact: Artefact) -> None:
    def wait_too_long(number: int) -> int:
        while guest.remaining() is not None:
            time.sleep(0.001)
        return number

    guest = Guest(artefact, Host(ask=wait_too_long))
    assert trap_of(guest, "ask", 1, timeout=0.02).kind is TrapKind.TIMEOUT
    assert not guest.is_alive


def test_a_host_function_knows_how_much_time_is_left(artefact: Artefact) -> None:
    left: list[float | None] = []

    def ask(number: int) -> int:
        left.append(guest.remaining())
        return number

    guest = Guest(artefact, Host(ask=ask))
    guest.call(API, "ask", (1,), 3600.0)
    guest.call(API, "ask", (1,))
    assert left[0] is not None
    assert 3000 < left[0] <= 3600
    assert left[1] is None


# ---- memory and fuel


def test_memory_is_told_as_it_grows(guest: Guest) -> None:
    assert guest.memory_bytes() == 2 * PAGE
    for pages in (1, 0, 30, 1000):
        before = guest.memory_bytes()
        guest.call(API, "grow", (pages,))
        assert guest.memory_bytes() == before + pages * PAGE


def test_each_guest_tells_its_own_memory(artefact: Artefact, guest: Guest) -> None:
    other = Guest(artefact, Host())
    guest.call(API, "grow", (10,))
    assert (guest.memory_bytes(), other.memory_bytes()) == (12 * PAGE, 2 * PAGE)


def test_memory_does_not_grow_over_its_limit(artefact: Artefact) -> None:
    guest = Guest(artefact, Host(), memory=4 * PAGE)
    assert guest.call(API, "grow", (2,)) == 2
    assert guest.call(API, "grow", (1,)) == 2**32 - 1
    assert guest.memory_bytes() == 4 * PAGE


def test_the_limit_can_be_changed(guest: Guest) -> None:
    guest.limit_memory(3 * PAGE)
    assert guest.call(API, "grow", (2,)) == 2**32 - 1
    guest.limit_memory(None)
    assert guest.call(API, "grow", (2,)) == 2


def test_an_allocator_that_gives_up_at_the_limit_is_out_of_memory(artefact: Artefact) -> None:
    guest = Guest(artefact, Host(), memory=4 * PAGE)
    trap = trap_of(guest, "allocate", 10 * PAGE)
    assert trap.kind is TrapKind.OUT_OF_MEMORY
    assert "limit" in trap.message


def test_a_guest_that_begins_over_the_limit_is_out_of_memory(artefact: Artefact) -> None:
    with pytest.raises(Trap) as caught:
        Guest(artefact, Host(), memory=PAGE)
    assert caught.value.kind is TrapKind.OUT_OF_MEMORY


def test_fuel_is_counted_exactly_and_the_same_in_every_instance(fuelled: Artefact) -> None:
    consumed = []
    for _ in range(2):
        guest = Guest(fuelled, Host())
        guest.set_fuel(100_000)
        guest.call(API, "echo", (b"abc",))
        consumed.append(guest.fuel_consumed())
    assert consumed[0] == consumed[1] > 0


def test_a_guest_without_fuel_ends(fuelled: Artefact) -> None:
    guest = Guest(fuelled, Host())
    guest.set_fuel(10_000)
    assert trap_of(guest, "loop").kind is TrapKind.FUEL
    assert guest.fuel_consumed() >= 10_000


def test_fuel_needs_an_artefact_that_counts_it(guest: Guest) -> None:
    with pytest.raises(WrongState, match="without fuel"):
        guest.set_fuel(1)
    with pytest.raises(WrongState, match="without fuel"):
        guest.fuel_consumed()


# ---- instantiation


def start_component(body: str) -> str:
    return f"""(component
      (import "{HOST}" (instance $host (export "ask" (func (param "number" u32) (result u32)))))
      (core func $ask (canon lower (func $host "ask")))
      (core module $m
        (import "host" "ask" (func $ask (param i32) (result i32)))
        (func $start {body}) (start $start) (func (export "f")))
      (core instance $i (instantiate $m (with "host" (instance (export "ask" (func $ask))))))
      (func (export "f") (canon lift (core func $i "f"))))"""


def test_a_guest_that_traps_while_it_starts_is_never_made(tmp_path: Path) -> None:
    artefact = compiled(tmp_path, start_component("unreachable"))
    with pytest.raises(Trap) as caught:
        Guest(artefact, Host())
    assert caught.value.kind is TrapKind.UNREACHABLE


def test_what_a_host_function_raises_meanwhile_comes_out_at_once(tmp_path: Path) -> None:
    artefact = compiled(tmp_path, start_component("(drop (call $ask (i32.const 1)))"))

    def fail(number: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Guest(artefact, Host(ask=fail))
    assert Guest(artefact, Host()).call("", "f", ()) is None


def test_an_import_that_is_a_resource_of_an_unknown_host_is_refused(tmp_path: Path) -> None:
    text = '(component (import "test:things/all" (instance (export "thing" (type (sub resource))))))'
    artefact = compiled(tmp_path, text)
    with pytest.raises(ComponentError, match="thing of test:things/all"):
        Guest(artefact, Host())


def test_a_component_with_a_hundred_memories_is_refused(tmp_path: Path) -> None:
    modules = "".join(f"(core module $m{n} (memory 1)) (core instance (instantiate $m{n}))" for n in range(100))
    artefact = compiled(tmp_path, f"(component {modules})")
    with pytest.raises(Trap) as caught:
        Guest(artefact, Host())
    assert caught.value.kind is TrapKind.OUT_OF_MEMORY


# ---- forks


FORKING = """
import ctypes, json, os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from compiled import API, Host
from theater.wasm.artefacts import ArtefactCache
from theater.wasm.guest import Guest, Trap

artefact = ArtefactCache(Path({cache!r})).find({component!r}, False)
guest = Guest(artefact, Host())

def clone():
    \"\"\"A fork that the C library does not see.\"\"\"
    python = ctypes.PyDLL(None)
    python.PyOS_BeforeFork()
    number = {{"x86_64": 56, "aarch64": 220}}[os.uname().machine]
    pid = python.syscall(ctypes.c_long(number), ctypes.c_long(signal.SIGCHLD), *[ctypes.c_long(0)] * 4)
    python.PyOS_AfterFork_Child() if pid == 0 else python.PyOS_AfterFork_Parent()
    return pid

class Child:
    \"\"\"A forked process that does `work` when `result` is asked for.\"\"\"
    def __init__(self, fork, work):
        self.go, go = os.pipe()[::-1]
        result, said = os.pipe()
        self.pid = fork()
        if self.pid == 0:
            try:
                os.read(go, 1)
                os.write(said, json.dumps(work()).encode())
            except BaseException as error:
                os.write(said, json.dumps("failed: " + repr(error)).encode())
            os._exit(0)
        os.close(go); os.close(said)
        self.said = result
    def result(self):
        os.write(self.go, b"g")
        with open(self.said, "rb") as file:
            answer = json.loads(file.read())
        assert os.waitpid(self.pid, 0)[1] == 0
        return answer

def trap(function, *args, timeout=None):
    try:
        return guest.call(API, function, args, timeout)
    except Trap as trap:
        return trap.kind
"""


def forking(artefact: Artefact, program: str) -> Any:
    """What a process prints that has made the guest `guest` and forks."""
    head = FORKING.format(
        tests=str(Path(__file__).parent), cache=str(artefact.path.parent), component=artefact.meta.component
    )
    command = [sys.executable, "-c", head + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


KINDS_OF_FORK = pytest.mark.parametrize("fork", ["os.fork", "clone"])


@KINDS_OF_FORK
def test_a_guest_made_before_a_fork_works_in_every_child(artefact: Artefact, fork: str) -> None:
    program = f"""
        guest.call(API, "count", ())
        work = lambda: [guest.call(API, "count", ()) for _ in range(3)] + [guest.call(API, "echo", (b"ab",)).decode()]
        children = [Child({fork}, work) for _ in range(3)]
        print(json.dumps([child.result() for child in children] + [guest.call(API, "count", ())]))
    """
    assert forking(artefact, program) == [[2, 3, 4, "ab"]] * 3 + [2]


@KINDS_OF_FORK
def test_a_trap_in_one_child_disturbs_neither_siblings_nor_the_template(artefact: Artefact, fork: str) -> None:
    program = f"""
        traps = [Child({fork}, lambda name=name: trap(name)) for name in ("divide", "recurse", "out-of-bounds")]
        sound = Child({fork}, lambda: trap("count"))
        results = [child.result() for child in traps] + [sound.result()]
        print(json.dumps(results + [Child({fork}, lambda: trap("count")).result(), trap("count")]))
    """
    expected = [TrapKind.DIVIDE_BY_ZERO, TrapKind.STACK_OVERFLOW, TrapKind.OUT_OF_BOUNDS, 1, 1, 1]
    assert forking(artefact, program) == expected


@KINDS_OF_FORK
def test_a_deadline_works_in_every_child(artefact: Artefact, fork: str) -> None:
    program = f"""
        work = lambda: [trap("answer", timeout=30.0), trap("loop", timeout=0.05)]
        children = [Child({fork}, work) for _ in range(3)]
        print(json.dumps([child.result() for child in children]))
    """
    assert forking(artefact, program) == [[7, TrapKind.TIMEOUT]] * 3


@KINDS_OF_FORK
def test_deadlines_can_be_prepared_before_the_first_call(artefact: Artefact, fork: str) -> None:
    program = f"""
        threads = lambda: len(os.listdir("/proc/self/task"))
        def work():
            guest.prepare_deadlines()
            before = threads()
            return [before, trap("answer", timeout=30.0), threads(), trap("loop", timeout=0.05)]
        print(json.dumps([Child({fork}, work).result(), threads()]))
    """
    assert forking(artefact, program) == [[2, 7, 2, TrapKind.TIMEOUT], 1]


def test_a_process_that_had_a_deadline_can_still_be_forked(artefact: Artefact) -> None:
    program = """
        trap("answer", timeout=30.0)
        print(json.dumps([Child(os.fork, lambda: trap("loop", timeout=0.05)).result(), trap("answer", timeout=30.0)]))
    """
    assert forking(artefact, program) == [TrapKind.TIMEOUT, 7]


@KINDS_OF_FORK
def test_memory_is_limited_and_told_in_a_child(artefact: Artefact, fork: str) -> None:
    program = f"""
        def work():
            guest.limit_memory(10 << 16)
            return [trap("grow", 8), trap("grow", 1), guest.memory_bytes()]
        print(json.dumps([Child({fork}, work).result(), guest.memory_bytes(), trap("grow", 100)]))
    """
    assert forking(artefact, program) == [[2, 2**32 - 1, 10 * PAGE], 2 * PAGE, 2]


def test_a_template_has_one_thread(artefact: Artefact) -> None:
    program = """
        trap("answer")
        print(json.dumps(len(os.listdir("/proc/self/task"))))
    """
    assert forking(artefact, program) == 1


def test_an_interrupt_in_the_middle_of_a_call_does_not_crash(artefact: Artefact) -> None:
    program = """
        def interrupt(number, frame):
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, interrupt)
        results = []
        for _ in range(20):
            guest = Guest(artefact, Host())
            signal.setitimer(signal.ITIMER_REAL, 0.005)
            try:
                guest.call(API, "ask-for-ever", ())
            except KeyboardInterrupt:
                results.append(guest.is_alive)
        print(json.dumps(results))
    """
    assert forking(artefact, program) == [False] * 20


def test_the_worlds_answers_are_not_needed_by_a_guest_without_wasi(artefact: Artefact) -> None:
    world = World()
    Guest(artefact, Host(world)).call(API, "answer", ())
    assert world.asked == []


def test_a_guest_finds_its_memories_also_while_another_is_collected(artefact: Artefact) -> None:
    """One that nobody closed, and whose addresses are free from then on."""

    class Collecting(Host):
        def bind(self, interface: str, function: str, signature: Any) -> Any:
            gc.set_threshold(1, 1, 1)
            return super().bind(interface, function, signature)

    limits = gc.get_threshold()
    forgotten: list[Any] = [Guest(artefact, Host())]
    forgotten.append(forgotten)
    del forgotten
    try:
        guest = Guest(artefact, Collecting())
    finally:
        gc.set_threshold(*limits)
    assert guest.memory_bytes() == 2 * PAGE
    guest.keep_image()
    assert guest.unportable is None
