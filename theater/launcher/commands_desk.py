"""The desk of `execute-command` and `execute-nix-command` of the handler `filesystem`: programs that are waited for.

One operation:

    command.run   [{"folder": path as the actor gives it, "command": name or None for Nix, "args": [text]}]

With a command the manifest's `commands` must name it, and the folder must be one that it may read or write; None means
that `args` is one line for a shell in the Nix development shell of the flake in that folder, which `nix = true` grants.

It answers a `command-result`: `success` for every program that has run to its end, whatever its exit code (-N if signal
N ended it), with its output as text in which what is no UTF-8 is replaced; `error` for one that could not be executed,
took too long or wrote too much, which is ended with all that came of it. What the manifest does not grant is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from theater.core import granted_paths
from theater.core.permissions.filesystem import Filesystem
from theater.core.quantities import show, show_duration, show_size
from theater.core.values import Case
from theater.errors import InvalidInput, LimitExceeded, NotFound, StartFailed, TheaterError, TimedOut
from theater.launcher import grants
from theater.launcher.board import Board
from theater.launcher.grants import Executable
from theater.launcher.program import STDERR, STDOUT, Keeping, Order, Program, start
from theater.launcher.walls import NIX_STORE
from theater.service.admitted import Admitted
from theater.service.office import Operation

HANDLER = "filesystem"
NIX = "nix"

_READ = 65536
_MARGIN_S = 0.1
"""An answer leaves so long before the asker's time is over."""
_PATIENCE_S = 5.0
_IN_THE_SHELL = ("--extra-experimental-features", "nix-command flakes", "develop", "--command", "sh", "-c")


class CommandsDesk:
    """A `theater.service.office.Desk`."""

    def __init__(self, board: Board, keeping: Keeping) -> None:
        self._board = board
        self._keeping = keeping
        self._programs: dict[str, tuple[Admitted, grants.Programs]] = {}
        self._endings: set[asyncio.Task[None]] = set()

    @property
    def ops(self) -> Mapping[str, Operation]:
        return {"command.run": self._run}

    def admitted(self, life: Admitted) -> None:
        may = life.permissions.get(HANDLER)
        if isinstance(may, Filesystem):
            names = [*may.commands, *([NIX] if may.nix else [])]
            self._programs[life.actor] = life, grants.Programs.found(names, grants.server_path())

    def dismissed(self, life: Admitted, for_good: bool) -> None:
        known = self._programs.get(life.actor)
        if known is not None and known[0] is life:
            del self._programs[life.actor]

    async def close(self) -> None:
        if self._endings:
            await asyncio.wait(self._endings, timeout=_PATIENCE_S)

    async def _run(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        (asked,) = args
        may = life.permissions.get(HANDLER)
        if not isinstance(may, Filesystem) or life.actor not in self._programs:
            raise InvalidInput(f"the manifest of {life.name} does not grant commands")
        executable, argv = self._command(life, may, asked)
        with _folder(may, asked["folder"], life.where.parent) as (folder, path):
            writable = (*may.placed(str(life.where.parent)).write, *([NIX_STORE] if may.nix else []))
            order = Order(executable.file, argv, grants.base_environment(path), writable=writable)
            seconds = min(may.command_timeout / 1000, deadline - asyncio.get_running_loop().time() - _MARGIN_S)
            try:
                program = await self._started(order, folder)
            except StartFailed as error:
                return _failed(error)
        self._board.begin(life.actor, program, f"{asked['command'] or NIX} (a command)")
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                return await _result(program, may.command_output)
        except TimeoutError:
            return _failed(TimedOut(f"the command did not end within {show_duration(int(seconds * 1000))}"))
        except LimitExceeded as error:
            return _failed(error)
        finally:
            self._board.end(life.actor, program)
            self._end(program)

    def _command(self, life: Admitted, may: Filesystem, asked: Mapping[str, Any]) -> tuple[Executable, list[str]]:
        programs = self._programs[life.actor][1]
        if asked["command"] is not None:
            if asked["command"] == NIX and NIX not in may.commands:
                raise InvalidInput('the manifest does not grant the command "nix"; it grants development shells only')
            return programs.named(asked["command"], "commands"), [asked["command"], *asked["args"]]
        if not may.nix:
            raise InvalidInput("the manifest does not grant Nix; allowed with nix = true")
        try:
            return programs.named(NIX, "commands"), [NIX, *_IN_THE_SHELL, *asked["args"]]
        except NotFound:
            raise NotFound("there is no Nix on this machine: the program nix is not in the server's PATH") from None

    async def _started(self, order: Order, folder: int) -> Program:
        """A program that is ended should nobody wait for it any more before it has started."""
        starting = asyncio.ensure_future(start(order, folder, self._keeping))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._end_unknown)
            await asyncio.wait([starting])
            raise

    def _end_unknown(self, starting: asyncio.Future[Program]) -> None:
        if not starting.cancelled() and starting.exception() is None:
            self._end(starting.result())

    def _end(self, program: Program) -> None:
        program.destroy()
        program.close()
        ending = asyncio.get_running_loop().create_task(program.gone(_PATIENCE_S))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


def _folder(may: Filesystem, path: str, manifest: Path) -> Any:
    placed = may.placed(str(manifest))
    wanted = granted_paths.read(path).within(granted_paths.read(placed.root))
    found = granted_paths.nearest(wanted, placed.read + placed.write)
    if found is None:
        allowed = ", ".join(map(show, dict.fromkeys(may.read + may.write))) or "none"
        raise InvalidInput(f"the manifest does not grant the folder {show(path)}; allowed: {allowed}")
    return grants.opened(*found, manifest)


async def _result(program: Program, most: int) -> Case:
    program.close_stdin()
    stdout, stderr = await asyncio.gather(_text(program, STDOUT, most), _text(program, STDERR, most))
    return Case("success", {"stdout": stdout, "stderr": stderr, "exit-code": await program.ended})


async def _text(program: Program, stream: int, most: int) -> str:
    found = bytearray()
    while data := await program.read(stream, _READ):
        found += data
        if len(found) > most:
            raise LimitExceeded(f"the command wrote more than {show_size(most)}, which is its command_output")
    return found.decode(errors="replace")


def _failed(error: TheaterError) -> Case:
    return Case("error", {"message": error.message})
