"""A program and its keeper: what a program is given, what it hears, and that nothing of it outlives it."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from theater.errors import InvalidInput, StartFailed, WrongState
from theater.launcher.program import STDERR, STDOUT, Keeping, Order, Program, start

PATIENCE = 30.0
ESCAPES = {
    "a grandchild": "sleep 1000 TOKEN & echo ready; wait",
    "one that ignores SIGTERM": "trap '' TERM HUP INT; (trap '' TERM; sleep 1000 TOKEN) & echo ready; wait",
}
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        for descriptor in range(3):
            os.close(descriptor)
        time.sleep(1000)
    os._exit(0)
os.wait()
print("ready", flush=True)
{after}
"""


@pytest.fixture(params=[True, False], ids=["namespace", "subreaper"])
def keeping(request: pytest.FixtureRequest) -> Keeping:
    return Keeping(namespace=request.param)


@pytest.fixture
def token() -> Iterator[str]:
    """A word in the command lines of a test, none of which is left afterwards."""
    token = uuid.uuid4().hex
    yield token
    assert not having(token)


def having(token: str) -> list[int]:
    """The processes that have a word in their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if token.encode() in line:
                found.append(int(name))
    return found


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await story()

    asyncio.run(bounded())


def shell(script: str, **facts: object) -> Order:
    return Order("/bin/sh", ["sh", "-c", script], {"PATH": "/usr/bin:/bin"}, **facts)  # type: ignore[arg-type]


async def launch(order: Order, keeping: Keeping, folder: str = "/") -> Program:
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        return await start(order, descriptor, keeping)
    finally:
        os.close(descriptor)


async def everything(program: Program, stream: int = STDOUT) -> bytes:
    found = b""
    while part := await program.read(stream, 65536):
        found += part
    return found


async def finish(program: Program) -> int:
    code = await program.ended
    await program.gone(PATIENCE)
    program.close()
    return code


def test_a_program_gets_its_arguments_as_they_are_and_says_its_output_and_code(keeping: Keeping) -> None:
    async def story() -> None:
        order = Order("/usr/bin/printf", ["printf", "%s|", "a b", "$HOME", "*", "'"], {})
        program = await launch(order, keeping)
        assert await everything(program) == b"a b|$HOME|*|'|"
        assert await finish(program) == 0
        program = await launch(shell("echo trouble >&2; exit 7"), keeping)
        assert (await everything(program, STDERR), await everything(program)) == (b"trouble\n", b"")
        assert await finish(program) == 7

    run(story)


def test_a_program_has_the_environment_and_the_folder_that_it_is_given_and_no_other(
    keeping: Keeping, tmp_path: Path
) -> None:
    async def story() -> None:
        program = await launch(Order("/usr/bin/env", ["env"], {"A": "1", "B": "ü"}), keeping)
        assert (await everything(program)).decode().split() == ["A=1", "B=ü"]
        await finish(program)
        program = await launch(Order("/bin/pwd", ["pwd"], {}), keeping, str(tmp_path))
        assert (await everything(program)).decode().strip() == str(tmp_path)
        await finish(program)

    run(story)


def test_a_program_inherits_three_descriptors_default_signals_and_no_way_to_new_privileges(keeping: Keeping) -> None:
    async def story() -> None:
        script = "ls /proc/self/fd | wc -l; grep -E 'SigIgn|SigBlk|NoNewPrivs' /proc/self/status; umask"
        program = await launch(shell(script), keeping)
        words = (await everything(program)).decode().split()
        facts = dict(zip(words[1:-1:2], words[2:-1:2], strict=True))
        # `ls` has opened the folder that it lists. glibc's posix_spawn leaves 32 and 33, which are its own, ignored.
        assert (words[0], words[-1], facts["NoNewPrivs:"], int(facts["SigBlk:"], 16)) == ("4", "0077", "1", 0)
        assert int(facts["SigIgn:"], 16) & ~(3 << 31) == 0
        await finish(program)

    run(story)


def test_a_program_leads_a_session_of_its_own(keeping: Keeping) -> None:
    async def story() -> None:
        check = "import os; print(os.getsid(0) == os.getpid() == os.getpgrp())"
        program = await launch(Order(sys.executable, ["python", "-c", check], {}), keeping)
        assert await everything(program) == b"True\n"
        await finish(program)

    run(story)


def test_a_program_is_held_to_its_limits(keeping: Keeping) -> None:
    async def story() -> None:
        limits = [(resource.RLIMIT_NOFILE, 20), (resource.RLIMIT_DATA, 64 << 20)]
        program = await launch(shell("ulimit -n", limits=limits), keeping)
        assert await everything(program) == b"20\n"
        await finish(program)
        hog = Order(sys.executable, ["python", "-S", "-c", "b'x' * (256 << 20)"], {}, limits)
        program = await launch(hog, keeping)
        assert b"MemoryError" in await everything(program, STDERR)
        assert await finish(program) == 1

    run(story)


def test_standard_input_is_taken_until_the_pipe_is_full_and_ends_when_nothing_is_written(keeping: Keeping) -> None:
    async def story() -> None:
        program = await launch(Order("/bin/cat", ["cat"], {}), keeping)
        assert program.write(b"hello") == 5
        assert await program.read(STDOUT, 100) == b"hello"
        assert program.write(b"") == 0
        assert await finish(program) == 0
        with pytest.raises(WrongState, match="closed"):
            program.write(b"more")
        deaf = await launch(Order("/bin/sleep", ["sleep", "1000"], {}), keeping)
        assert 0 < deaf.write(bytes(1 << 20)) < 1 << 20
        with pytest.raises(WrongState, match="does not read"):
            deaf.write(b"more")
        deaf.destroy()
        assert await finish(deaf) == -signal.SIGKILL

    run(story)


def test_a_signal_reaches_the_program_and_its_number_is_the_code(keeping: Keeping) -> None:
    async def story() -> None:
        program = await launch(
            shell("trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.01; done"), keeping
        )
        assert await program.read(STDOUT, 100) == b"ready\n"
        program.signal(signal.SIGUSR1)
        assert await everything(program) == b"caught\n"
        assert await finish(program) == 3
        program = await launch(Order("/bin/sleep", ["sleep", "1000"], {}), keeping)
        program.signal(signal.SIGTERM)
        assert await finish(program) == -signal.SIGTERM

    run(story)


def test_what_cannot_be_executed_is_a_sentence(keeping: Keeping, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no program")
    text.chmod(0o755)

    async def story() -> None:
        with pytest.raises(StartFailed, match="/no/such cannot be executed: No such file"):
            await launch(Order("/no/such", ["such"], {}), keeping)
        with pytest.raises(StartFailed, match="Exec format error"):
            await launch(Order(str(text), ["text"], {}), keeping)
        with pytest.raises(InvalidInput, match="NUL"):
            await launch(Order("/bin/echo", ["echo", "a\0b"], {}), keeping)

    run(story)


@pytest.mark.parametrize("escape", ESCAPES)
def test_all_that_came_of_a_program_dies_when_it_is_destroyed(keeping: Keeping, escape: str, token: str) -> None:
    async def story() -> None:
        script = ESCAPES[escape].replace("sleep 1000 TOKEN", f"exec -a {token} sleep 1000")
        program = await launch(Order("/bin/bash", ["bash", "-c", script, token], {"PATH": "/bin"}), keeping)
        assert await program.read(STDOUT, 100) == b"ready\n"
        while len(having(token)) < 2:  # One that is just being executed has no command line.
            await asyncio.sleep(0.01)
        program.destroy()
        assert await finish(program) == -signal.SIGKILL
        assert not having(token)

    run(story)


@pytest.mark.parametrize("after", ["", "time.sleep(1000)", "os.kill(os.getpid(), 11)"])
def test_a_daemon_of_a_program_dies_with_it(keeping: Keeping, after: str, token: str) -> None:
    async def story() -> None:
        source = DAEMON.format(after=after)
        program = await launch(Order(sys.executable, ["python", "-c", source, token], {}), keeping)
        assert await program.read(STDOUT, 100) == b"ready\n"
        if "sleep" in after:
            assert len(having(token)) == 2
            program.destroy()
        await finish(program)
        assert not having(token)

    run(story)


def test_all_die_when_the_launcher_is_killed(token: str, keeping: Keeping) -> None:
    source = DAEMON.format(after="time.sleep(1000)")
    launcher = f"""
import asyncio, os, sys
from theater.launcher.program import Keeping, Order, start
async def main():
    folder = os.open("/", os.O_PATH)
    program = await start(Order(sys.executable, ["python", "-c", {source!r}, {token!r}], {{}}), folder,
                          Keeping(namespace={keeping.namespace}))
    print((await program.read(1, 100)).decode(), end="", flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", launcher], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert len([pid for pid in having(token) if pid != process.pid]) == 2
        process.kill()

    async def story() -> None:
        while having(token):
            await asyncio.sleep(0.01)

    run(story)


def test_all_die_when_the_keeper_is_killed(token: str) -> None:
    async def story() -> None:
        source = DAEMON.format(after="time.sleep(1000)")
        keeping = Keeping()
        program = await launch(Order(sys.executable, ["python", "-c", source, token], {}), keeping)
        assert await program.read(STDOUT, 100) == b"ready\n"
        if not keeping.namespace:
            pytest.skip("there are no PID namespaces here")
        os.kill(program.keeper, signal.SIGKILL)
        assert await finish(program) == -signal.SIGKILL
        while having(token):
            await asyncio.sleep(0.01)

    run(story)


def test_what_is_left_by_a_program_that_kills_its_keeper_is_found(token: str) -> None:
    """Only where there is no namespace can it."""
    source = DAEMON.format(after="os.kill(os.getppid(), 9); time.sleep(1000)")
    launcher = f"""
import asyncio, os, sys
from theater.launcher.keeper import children
from theater.launcher.program import Keeping, Order, start
async def main():
    keeping = Keeping(namespace=False, adopts=True)
    folder = os.open("/", os.O_PATH)
    program = await start(Order(sys.executable, ["python", "-c", {source!r}, {token!r}], {{}}), folder, keeping)
    print(await program.ended, flush=True)
    await program.gone(10)
    while children(os.getpid()):
        await asyncio.sleep(0.01)
    print("none", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""
    command = [sys.executable, "-c", launcher]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"-9\n"
        assert process.stdout.readline() == b"none\n"
        assert [pid for pid in having(token) if pid != process.pid] == []
        process.kill()


def test_a_bomb_of_forks_is_over_when_its_program_is_destroyed(keeping: Keeping, token: str) -> None:
    bomb = """
import os, sys, time
print("ready", flush=True)
for _ in range(5):
    os.fork()
while True:
    if os.fork() == 0:
        time.sleep(0.01)
        os._exit(0)
    os.waitpid(-1, 0)
"""

    async def story() -> None:
        program = await launch(Order(sys.executable, ["python", "-S", "-c", bomb, token], {}), keeping)
        assert await program.read(STDOUT, 100) == b"ready\n"
        program.destroy()
        await finish(program)
        assert not having(token)

    run(story)


def test_programs_that_have_ended_take_no_descriptor_and_leave_no_process(keeping: Keeping) -> None:
    async def story() -> None:
        async def one() -> None:
            await finish(await launch(shell("echo x; exec true"), keeping))
            with pytest.raises(StartFailed):
                await launch(Order("/no/such", ["such"], {}), keeping)

        await one()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            await one()
        assert len(os.listdir("/proc/self/fd")) == before

    run(story)


def test_a_program_has_no_capability_and_no_way_to_one_also_where_the_server_is_root(keeping: Keeping) -> None:
    async def story() -> None:
        program = await launch(shell("grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status"), keeping)
        values = (await everything(program)).decode().split()[1::2]
        assert [int(each, 16) for each in values] == [0, 0, 0, 0]
        await finish(program)

    run(story)
