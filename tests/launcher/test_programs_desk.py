"""The desk of programs with an actor that answers as a test wants: order, fullness, and ends at the worst moment."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from theater import log
from theater.core.permissions.process import Process
from theater.core.values import Case
from theater.errors import InvalidInput, MailboxFull, NotFound
from theater.launcher.board import Board
from theater.launcher.program import Keeping
from theater.launcher.programs_desk import ProgramsDesk
from theater.service.admitted import Admitted, Limits

PATIENCE = 30.0
ACTOR = "50777ea9-99af-41ab-8e84-6d8c348b749f"


def life(incarnation: int = 1, **keys: Any) -> Admitted:
    may = Process(programs=("sh", "sleep", "seq"), **keys)
    limits = Limits(message=1 << 20, mailbox=10, request_timeout=5.0, call_timeout=None)
    where = Path("/tmp/manifest.toml")
    return Admitted(ACTOR, incarnation, "actor", where, Path("/tmp"), {"process": may}, limits)


def config(program: str, *args: str, mode: str = "line-by-line") -> dict[str, Any]:
    return {
        "program": program,
        "args": list(args),
        "cwd": None,
        "env": [],
        "buffer-size": 0,
        "stdout-mode": Case(mode),
        "stderr-mode": Case(mode),
        "chunk-size": None,
        "execution-timeout": None,
    }


class Scene:
    """A desk, and an actor that takes calls when `is_open`."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, list[Any]]] = []
        self.said: list[Mapping[str, Any]] = []
        self.full = 0
        self.under_way = 0
        self.most = 0
        self.is_open = asyncio.Event()
        self.is_open.set()
        board = Board(lambda actor, facts: self.said.append(facts), Keeping())
        self.desk = ProgramsDesk(self.invoke, board, Keeping(), log.logger())

    async def invoke(self, actor: str, interface: str, function: str, params: Sequence[Any], timeout: float) -> Any:
        if self.full > 0:
            self.full -= 1
            raise MailboxFull("full")
        self.heard.append((function, list(params)))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.is_open.wait()
        self.under_way -= 1

    async def ask(self, op: str, whose: Admitted, *args: Any) -> Any:
        return await self.desk.ops[op](whose, args, asyncio.get_running_loop().time() + PATIENCE)

    async def until_exit(self) -> None:
        while not any(function == "handle-exit" for function, _ in self.heard):
            await asyncio.sleep(0.005)


def play(story: Callable[[Scene], Awaitable[None]]) -> Scene:
    async def whole() -> Scene:
        scene = Scene()
        async with asyncio.timeout(PATIENCE):
            await story(scene)
            scene.is_open.set()
            await scene.desk.close()
        return scene

    return asyncio.run(whole())


def test_a_full_mailbox_loses_nothing_and_changes_no_order() -> None:
    async def story(scene: Scene) -> None:
        one = life()
        scene.desk.admitted(one)
        scene.full = 5
        await scene.ask("process.spawn", one, 1, config("seq", "200"))
        await scene.until_exit()

    heard = play(story).heard
    lines = [bytes(params[1]) for function, params in heard if function == "handle-stdout"]
    assert lines == [b"%d\n" % number for number in range(1, 201)]
    assert heard[-1] == ("handle-exit", [1_000_001, 0])


def test_no_more_than_half_a_mailbox_is_under_way() -> None:
    async def story(scene: Scene) -> None:
        one = life()
        scene.desk.admitted(one)
        scene.is_open.clear()
        await scene.ask("process.spawn", one, 1, config("seq", "200"))
        while scene.under_way < 5:
            await asyncio.sleep(0.005)
        for _ in range(20):  # turns of the loop, in which more would come
            await asyncio.sleep(0.005)
        scene.is_open.set()
        await scene.until_exit()

    assert play(story).most == 5


def test_a_life_that_ends_while_its_program_is_being_started_leaves_none(tmp_path: Path) -> None:
    token = uuid.uuid4().hex

    async def story(scene: Scene) -> None:
        one = life()
        scene.desk.admitted(one)
        spawning = asyncio.ensure_future(scene.ask("process.spawn", one, 1, config("sh", "-c", "sleep 1000", token)))
        await asyncio.sleep(0)
        scene.desk.dismissed(one, for_good=True)
        spawning.cancel()

    scene = play(story)
    assert not scene.heard
    assert not [name for name in os.listdir("/proc") if name.isdigit() and token in _command(name)]


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def test_a_number_is_used_once_and_belongs_to_one_life() -> None:
    async def story(scene: Scene) -> None:
        one, two = life(1), life(2)
        scene.desk.admitted(one)
        pid, began = await scene.ask("process.spawn", one, 5, config("sleep", "1000"))
        assert pid == 1_000_005
        assert began > 1_600_000_000_000
        for number in (5, 4, 1_000_000):
            with pytest.raises(InvalidInput, match="has been used, or is over"):
                await scene.ask("process.spawn", one, number, config("sleep", "1000"))
        scene.desk.dismissed(one, for_good=False)
        scene.desk.admitted(two)
        with pytest.raises(NotFound, match="in this life"):
            await scene.ask("process.kill", two, pid)
        with pytest.raises(InvalidInput, match="does not grant"):
            await scene.ask("process.status", one, pid)

    assert [facts.get("programs") for facts in play(story).said] == [["sleep (1000005)"], None]


def test_of_programs_that_an_earlier_launcher_had_the_actor_hears_the_end_once() -> None:
    async def story(scene: Scene) -> None:
        one = life()
        scene.desk.admitted(one)
        await scene.ask("process.lost", one, [[3, 77]])
        await scene.ask("process.lost", one, [[3, 77]])
        await scene.until_exit()
        status = await scene.ask("process.status", one, 1_000_003)
        assert status == {"pid": 1_000_003, "running": False, "exit-code": -signal.SIGKILL, "start-time": 77}

    assert play(story).heard == [("handle-exit", [1_000_003, -signal.SIGKILL])]
