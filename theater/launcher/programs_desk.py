"""The desk of the handler `process`: what actors may have done with programs.

Operations, each with what it is given and what it answers:

    process.spawn    [number, process-config]   [pid, ms since 1970]; `number` rises within a life
    process.write    [pid, data]                bytes taken; no data is the end of the input
    process.status   [pid]                      process-status
    process.signal   [pid, signal]              None
    process.kill     [pid]                      None
    process.lost     [[[number, ms], ...]]      None: programs of this life that ran when a launcher before this one
                                                ended; of those that are not known here the actor hears the end

A pid is the number of the life and a number within it, so none ever means another program. Programs end with the life.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from theater.core.handlers import PROCESS
from theater.core.permissions.process import Process
from theater.errors import InvalidInput, LimitExceeded, NotFound
from theater.launcher import grants
from theater.launcher.board import Board
from theater.launcher.delivery import Delivery, Invoke
from theater.launcher.program import Keeping, Order, start
from theater.launcher.run import Run, Terms
from theater.log import Logger
from theater.service.admitted import Admitted
from theater.service.office import Operation

HANDLER = "process"
PER_LIFE = 1_000_000
SIGNALS = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGKILL,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGALRM,
        signal.SIGTERM,
        signal.SIGCONT,
        signal.SIGSTOP,
        signal.SIGTSTP,
        signal.SIGWINCH,
    }
)
"""What an actor may send; the rest are the kernel's way to say that something is wrong."""

_KILLED = -int(signal.SIGKILL)
_REMEMBERED = 1000
_PATIENCE_S = 5.0
_MOST_ARGUMENTS = 1 << 20


@dataclass(slots=True, eq=False)
class _Household:
    """What one life has running.

    Attributes:
        starting: how many programs are being started.
        ended: those that have ended, by pid: (code, when they began).
        last: the highest number that was used.
    """

    life: Admitted
    may: Process
    programs: grants.Programs
    runs: dict[int, Run] = field(default_factory=dict)
    ended: dict[int, tuple[int, int]] = field(default_factory=dict)
    starting: int = 0
    last: int = 0
    is_over: bool = False


class ProgramsDesk:
    """A `theater.service.office.Desk`.

    Args:
        invoke: calls into actors (`Office.invoke`).
        board: told of what runs.
    """

    def __init__(self, invoke: Invoke, board: Board, keeping: Keeping, log: Logger) -> None:
        self._invoke = invoke
        self._board = board
        self._keeping = keeping
        self._log = log
        self._households: dict[str, _Household] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def ops(self) -> Mapping[str, Operation]:
        return {
            "process.spawn": self._spawn,
            "process.write": self._write,
            "process.status": self._status,
            "process.signal": self._signal,
            "process.kill": self._kill,
            "process.lost": self._lost,
        }

    def admitted(self, life: Admitted) -> None:
        may = life.permissions.get(HANDLER)
        if isinstance(may, Process):
            programs = grants.Programs.found(may.programs, grants.server_path())
            self._households[life.actor] = _Household(life, may, programs)

    def dismissed(self, life: Admitted, for_good: bool) -> None:
        household = self._households.get(life.actor)
        if household is None or household.life is not life:
            return
        del self._households[life.actor]
        household.is_over = True
        for run in household.runs.values():
            run.stop()
            self._board.end(life.actor, run.number)

    async def close(self) -> None:
        for household in list(self._households.values()):
            self.dismissed(household.life, False)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * _PATIENCE_S)

    # ---- operations

    async def _spawn(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        number, config = args
        household = self._household(life)
        if not household.last < number < PER_LIFE:
            raise InvalidInput(f"the number {number} of a program has been used, or is over {PER_LIFE}")
        household.last = number
        if len(household.runs) + household.starting >= household.may.count:
            raise LimitExceeded(f"{household.may.count} programs run already, which is what count allows")
        pid = life.incarnation * PER_LIFE + number
        starting = self._task(self._start(household, pid, config))
        try:
            run: Run = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Nobody will know its pid.
            starting.add_done_callback(_stop_unknown)
            raise
        return [run.number, run.began]

    async def _write(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        return self._running(life, args[0]).program.write(args[1])

    async def _status(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        household, pid = self._household(life), args[0]
        run = household.runs.get(pid)
        if run is not None:
            code, began = run.code, run.began
        elif pid in household.ended:
            code, began = household.ended[pid]
        else:
            raise _no_program(pid)
        return {"pid": pid, "running": code is None, "exit-code": code, "start-time": began}

    async def _signal(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        pid, number = args
        if number not in SIGNALS:
            allowed = ", ".join(f"{each} ({each.name})" for each in sorted(SIGNALS))
            raise InvalidInput(f"a program cannot be sent the signal {number}; allowed: {allowed}")
        self._running(life, pid).program.signal(number)

    async def _kill(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        self._running(life, args[0]).program.signal(signal.SIGKILL)

    async def _lost(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        household = self._household(life)
        for number, began in args[0]:
            pid = life.incarnation * PER_LIFE + number
            household.last = max(household.last, number)
            if pid not in household.runs and pid not in household.ended:
                self._remember(household, pid, _KILLED, began)
                delivery = Delivery(self._invoke, life.actor, life.limits.mailbox)
                self._task(delivery.hand("handle-exit", [pid, _KILLED]))

    # ---- programs

    async def _start(self, household: _Household, pid: int, config: Mapping[str, Any]) -> Run:
        household.starting += 1
        life, may = household.life, household.may
        try:
            executable = household.programs.named(config["program"], "programs")
            terms = Terms.of(config, may, life.limits.message)
            arguments = [config["program"], *config["args"]]
            if sum(len(each) + 1 for each in arguments) > _MOST_ARGUMENTS:
                raise LimitExceeded(f"the arguments of a program have over {_MOST_ARGUMENTS} bytes")
            with grants.folder_of(may, config["cwd"], life.where.parent) as (folder, path):
                environment = grants.environment(may, config["env"], path)
                order = Order(
                    executable.file, arguments, environment, grants.limits(may), may.placed(str(life.where.parent)).cwd
                )
                program = await start(order, folder, self._keeping)
        finally:
            household.starting -= 1
        delivery = Delivery(self._invoke, life.actor, life.limits.mailbox)
        say = self._saying(life)
        run = Run(pid, config["program"], time.time_ns() // 1_000_000, program, terms, delivery, say)
        household.runs[pid] = run
        if household.is_over:
            run.stop()
        else:
            self._board.begin(life.actor, pid, f"{config['program']} ({pid})")
        self._task(self._follow(household, run))
        return run

    async def _follow(self, household: _Household, run: Run) -> None:
        followed = asyncio.ensure_future(run.follow())
        try:
            code = await run.program.ended
            self._board.end(household.life.actor, run.number)
            if household.is_over:
                followed.cancel()
            await asyncio.wait([followed])
            if not followed.cancelled() and (defect := followed.exception()) is not None:
                self._log.error("a defect of the launcher", program=run.number, exc_info=defect)
            del household.runs[run.number]
            self._remember(household, run.number, code, run.began)
        finally:
            followed.cancel()
            await run.program.gone(_PATIENCE_S)
            run.program.close()

    @staticmethod
    def _remember(household: _Household, pid: int, code: int, began: int) -> None:
        household.ended[pid] = code, began
        while len(household.ended) > _REMEMBERED:
            del household.ended[next(iter(household.ended))]

    def _household(self, life: Admitted) -> _Household:
        household = self._households.get(life.actor)
        if household is None or household.life is not life:
            raise InvalidInput(f"the manifest of {life.name} does not grant {PROCESS}")
        return household

    def _running(self, life: Admitted, pid: int) -> Run:
        household = self._household(life)
        run = household.runs.get(pid)
        if run is not None and run.code is None:
            return run
        if run is not None or pid in household.ended:
            raise NotFound(f"the program {pid} has ended")
        raise _no_program(pid)

    def _saying(self, life: Admitted) -> Callable[[str], None]:
        return lambda line: self._log.warning("trouble with a program", actor=life.actor, why=line)

    def _task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _stop_unknown(starting: asyncio.Task[Run]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().stop()


def _no_program(pid: int) -> NotFound:
    return NotFound(f"there is no program {pid} in this life of the actor")
