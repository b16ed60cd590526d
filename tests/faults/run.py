"""One run: the load, the faults of a plan, and afterwards the checker and the count of what is left."""

from __future__ import annotations

import contextlib
import errno
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults import processes
from tests.faults.checker import Checker, Findings
from tests.faults.journal import Journals
from tests.faults.plan import Fault, Kind, Victim
from tests.faults.stage import CALL_TIMEOUT_S, NotInTime, Stage, no_descriptors, until
from theater.client import Client
from theater.errors import TheaterError
from theater.wasm.assemble import assemble

_CLIENTS = 4
_AT_WORK_MS = 1500
"""How long an upkeep child may be at work before it is hit; it takes a third of a second to begin."""
_ORPHAN_S = 2.0
"""A process that nobody waits for may live so long: the kernel's signal is on its way, and the machine is busy."""

_GROWTH_KIB = 32 << 10
_MORE_DESCRIPTORS = 8
_FRESH = """(component
  (core module $m (memory (export "memory") 1) (data (i32.const 0) "{}"))
  (core instance $m (instantiate $m)))"""
_NO_DESCRIPTORS = "Too many open files (src/ipc_listener.cpp"
"""ZeroMQ ends its process when it has no descriptor for a client that connects. That is known; nothing may be lost."""


@dataclass(slots=True)
class Report:
    """What a run has found.

    Attributes:
        done: how often each fault was done, by its name; those that found nobody to hit are in `missed`.
        gone: seconds from a deadline to the end of the process; `ended` those from the death of a server to that of
            the last of its processes.
    """

    done: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    gone: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    orphans: int = 0
    zombies: int = 0
    server_starts: int = 0
    descriptors: tuple[int, int] = (0, 0)
    memory_kib: tuple[int, int] = (0, 0)
    forks_failed: int = 0
    writes_failed: int = 0
    seconds: float = 0.0
    findings: Findings = field(default_factory=Findings)

    @property
    def kills(self) -> int:
        """Processes that were killed by us."""
        return sum(count for name, count in self.done.items() if name.startswith("kill"))

    @property
    def ok(self) -> bool:
        return not self.wrong and not self.findings.wrong


class Run:
    """Does everything that a plan says to one stage.

    Args:
        seed: of the clients.
        seconds: for which the clients ask, at least.
        say: told what happens.
        kills: after so many it is enough; 0 for all of the plan.
    """

    def __init__(
        self, plan: tuple[Fault, ...], seed: int, seconds: float, say: Callable[[str], None], kills: int = 0
    ) -> None:
        self._plan = plan
        self._kills = kills
        self._seconds = seconds
        self._say = say
        self._stage = Stage(seed)
        self._report = Report()
        self._after: list[tuple[float, Callable[[], None]]] = []
        self._strangers: dict[int, float] = {}
        self._dead: dict[int, float] = {}
        self._threads: list[threading.Thread] = []
        self._is_short = False

    def run(self, *, replay: bool) -> Report:
        """Everything; the folder is kept if something is wrong."""
        processes.become_subreaper()
        report, stage = self._report, self._stage
        begun = time.monotonic()
        try:
            stage.prepare()
            assert stage.server is not None
            report.descriptors = (processes.descriptors(stage.server.pid), 0)
            report.memory_kib = (processes.memory_kib(stage.server.pid), 0)
            for number in range(_CLIENTS):
                stage.start_client(number)
            self._do_all(time.monotonic())
            self._calm()
            self._close(replay)
        except (NotInTime, TheaterError) as late:
            report.wrong.append(str(late))
        finally:
            report.server_starts = stage.starts
            report.wrong += stage.tenders_complaints()
            report.forks_failed, report.writes_failed = stage.machine.failed
            report.seconds = time.monotonic() - begun
            if not report.ok:
                report.wrong.append(f"what is left is in {stage.folder}")
            stage.close(keep=not report.ok)
        return report

    # ---- faults, one after the other

    def _do_all(self, begun: float) -> None:
        for fault in self._plan:
            if self._kills and self._report.kills >= self._kills:
                return
            if not self._kills and time.monotonic() > begun + self._seconds:
                break  # Some have taken longer than the plan could know.
            self._wait_until(begun + fault.at)
            name = str(fault.kind) if fault.victim is None else f"{fault.kind} {fault.victim}"
            was_done = _ACTS[fault.kind](self, fault)
            (self._report.done if was_done else self._report.missed)[name] += 1
            self._say(f"{fault}{'' if was_done else '  (nobody there)'}")
        self._wait_until(begun + self._seconds)

    def _wait_until(self, moment: float) -> None:
        self._look()  # also when it is late for the next fault already
        while (now := time.monotonic()) < moment or self._after:
            for due, undo in [each for each in self._after if each[0] <= now]:
                self._after.remove((due, undo))
                undo()
            self._look()
            time.sleep(min(0.05, max(0.001, moment - now)))

    def _look(self) -> None:
        """Sees to it that there are a server and clients, and that nobody is left behind."""
        stage = self._stage
        assert stage.server is not None
        if stage.server.poll() is not None:
            if self._is_short and _NO_DESCRIPTORS in stage.log[-20_000:]:
                self._report.done["abort of ZeroMQ without descriptors"] += 1
            else:
                said = stage.log[-3000:]
                self._report.wrong.append(f"the server ended by itself with {stage.server.returncode}\n{said}")
            self._await_all_gone([])
            self._open_again()
            self._is_short = False
        stage.replace_clients()
        now = time.monotonic()
        living = processes.reap_strangers(stage.known())
        self._strangers = {each.pid: self._strangers.get(each.pid, now) for each in living}
        for each in living:
            if now - self._strangers[each.pid] > _ORPHAN_S:
                self._report.orphans += 1
                self._report.wrong.append(f"an orphan: {each}")
                processes.end(each.pid)
        self._dead = {pid: self._dead.get(pid, now) for pid in processes.zombies(stage.server.pid)}
        for pid, since in self._dead.items():
            if now - since > 2 * _ORPHAN_S:
                self._report.zombies += 1
                self._report.wrong.append(f"a zombie: {pid}")
                self._dead[pid] = now + 3600.0

    def _later(self, seconds: float, undo: Callable[[], None]) -> bool:
        self._after.append((time.monotonic() + seconds, undo))
        return True

    # ---- signals

    def _kill(self, fault: Fault) -> bool:
        if fault.victim is Victim.SUPERVISOR:
            return self._kill_server()
        pid = self._victim(fault)
        return pid is not None and processes.send(pid, signal.SIGKILL)

    def _stop(self, fault: Fault) -> bool:
        stage = self._stage
        assert stage.server is not None
        pid = stage.server.pid if fault.victim is Victim.SUPERVISOR else self._victim(fault)
        if pid is None or not processes.send(pid, signal.SIGSTOP):
            return False
        return self._later(fault.lasts, lambda: bool(processes.send(pid, signal.SIGCONT)) and None)

    def _victim(self, fault: Fault) -> int | None:
        assert fault.victim is not None
        if fault.victim is Victim.UPKEEP:
            return self._stage.tend(fault.which % _AT_WORK_MS / 1000)
        found = sorted(self._those(fault.victim))
        return found[fault.which % len(found)] if found else None

    def _those(self, victim: Victim) -> list[int]:
        stage = self._stage
        assert stage.server is not None
        if victim is Victim.CLIENT:
            return [client.pid for client in stage.clients.values()]
        if victim is Victim.COMPILER:
            return self._compilers()
        makers, below = stage.makers(), processes.everyone()
        services = {name: service["pid"] for name, service in makers["services"].items()}
        children = [each for each in below.values() if each.parent == stage.server.pid and each.state not in "ZX"]
        keepers = [each.pid for each in below.values() if each.parent == services.get("launcher", -1)]
        if victim is Victim.WORKER:
            return [row.pid for row in stage.rows() if row.pid is not None]
        if victim is Victim.TEMPLATE:
            return [*makers["templates"]]
        if victim is Victim.SPAWNER:
            return [makers["spawner"]] if makers["spawner"] else []
        if victim in (Victim.GATEWAY, Victim.LAUNCHER):
            return [services[victim]] if victim in services else []
        if victim is Victim.KEEPER:
            return keepers
        if victim is Victim.PROGRAM:
            return [each.pid for keeper in keepers for each in processes.descendants(keeper, below)]
        known = {makers["spawner"], *makers["templates"], *services.values(), *(row.pid for row in stage.rows())}
        return [each.pid for each in children if "server.spawner" in each.words and each.pid not in known]

    def _compilers(self) -> list[int]:
        """Has something compiled, and returns who does that: of this server, for others may compile here, too."""
        server = self._stage.server.pid
        path = self._stage.folder / "fresh.wat"
        (self._stage.folder / "fresh.wasm").write_bytes(assemble(_FRESH.format(time.monotonic_ns()), path.name))
        manifest = self._stage.folder / "fresh.toml"
        manifest.write_text('name = "fresh"\ncomponent = "fresh.wasm"\n')

        def start() -> None:
            with Client(home=self._stage.home) as client, contextlib.suppress(TheaterError):
                client.stop(client.start(manifest, timeout=10.0).id, remove=True)

        thread = threading.Thread(target=start)
        thread.start()
        self._threads.append(thread)
        with contextlib.suppress(NotInTime):
            found: list[int] = until(
                lambda: [each.pid for each in processes.descendants(server) if "theater.wasm.compile" in each.words],
                "somebody compiles",
                1.0,
            )
            return found
        return []

    # ---- the server itself

    def _kill_server(self) -> bool:
        stage = self._stage
        assert stage.server is not None
        left = processes.descendants(stage.server.pid)
        stage.server.kill()
        self._await_all_gone(left)
        self._open_again()
        return True

    def _kill_while_stopping(self, fault: Fault) -> bool:
        stage = self._stage
        assert stage.server is not None
        left = processes.descendants(stage.server.pid)
        stage.server.send_signal(signal.SIGTERM)
        time.sleep((fault.which % 1000) / 1000 * 0.3)
        left += processes.descendants(stage.server.pid)
        stage.server.kill()
        self._await_all_gone(left)
        self._open_again()
        return True

    def _await_all_gone(self, left: list[processes.Process]) -> None:
        """All processes of a server that is dead must end."""
        stage, begun = self._stage, time.monotonic()
        assert stage.server is not None
        stage.server.wait()
        own = {client.pid for client in stage.clients.values()}
        for each in {each.pid: each for each in left if each.pid not in own}.values():
            if processes.seconds_until_gone(each.pid, max(0.0, _ORPHAN_S - (time.monotonic() - begun))) is None:
                self._report.orphans += 1
                self._report.wrong.append(f"an orphan of a dead server: {each}")
                processes.end(each.pid)
        self._report.ended.append(time.monotonic() - begun)
        processes.reap_strangers(stage.known())

    def _open_again(self) -> None:
        self._undo_all()
        self._stage.machine.repair()
        self._stage.open()
        self._stage.find_port()

    def _undo_all(self) -> None:
        while self._after:
            self._after.pop()[1]()

    # ---- the machine

    def _fill_disk(self, fault: Fault) -> bool:
        if not self._stage.machine.has_disk:
            return False
        self._stage.machine.fill_disk(int(fault.size))
        return self._later(fault.lasts, self._recover)

    def _fail_writes(self, fault: Fault) -> bool:
        machine = self._stage.machine
        if not machine.has_library or not machine.has_disk:
            return False
        machine.fail_writes((errno.EIO, errno.ENOSPC, errno.EDQUOT)[fault.which % 3])
        return self._later(fault.lasts, self._recover)

    def _recover(self) -> None:
        self._stage.machine.repair()
        self._stage.revive()

    def _fail_forks(self, fault: Fault) -> bool:
        machine = self._stage.machine
        if not machine.has_library:
            return False
        machine.fail_forks(errno.EAGAIN if fault.which % 2 else errno.ENOMEM)
        workers = self._those(Victim.WORKER)
        if workers:
            processes.send(workers[fault.which % len(workers)], signal.SIGKILL)
        return self._later(fault.lasts, self._recover)

    def _no_descriptor(self, fault: Fault) -> bool:
        stage = self._stage
        assert stage.server is not None
        again = no_descriptors(stage.server.pid)
        self._is_short = True
        workers = self._those(Victim.WORKER)
        if workers:
            processes.send(workers[fault.which % len(workers)], signal.SIGKILL)

        def recover() -> None:
            again()
            if stage.server is not None and stage.server.poll() is None:
                self._is_short = False
            stage.revive()

        return self._later(fault.lasts, recover)

    def _jump(self, fault: Fault) -> bool:
        if not self._stage.machine.has_library:
            return False
        self._stage.machine.jump(fault.size)
        return True

    def _deadline(self, fault: Fault) -> bool:
        """An actor that loops for ever must be gone when its time is over; one call in three is stopped, too."""
        row = next((row for row in self._stage.rows() if row.name == "loop0" and row.state == "running"), None)
        if row is None or row.pid is None:
            return False
        pid = row.pid

        def ask() -> None:
            with Client(home=self._stage.home) as client, contextlib.suppress(TheaterError):
                client.request("loop0", b"b%d" % fault.which, 5.0)  # the same twice would be poison

        thread = threading.Thread(target=ask)
        thread.start()
        self._threads.append(thread)
        begun = self._begin_of_call(pid)
        if begun is None:
            return False
        if fault.which % 3 == 0:
            processes.send(pid, signal.SIGSTOP)
        if processes.seconds_until_gone(pid, 10.0) is None:
            self._report.wrong.append(f"the deadline of {pid} has passed, and it lives")
            processes.send(pid, signal.SIGCONT)
            return False
        self._report.gone.append(time.monotonic() - begun - CALL_TIMEOUT_S)
        return True

    def _begin_of_call(self, pid: int) -> float | None:
        """When the call of the one that loops began, in monotonic seconds; None if it did not."""
        with contextlib.suppress(NotInTime, TheaterError):
            found: float = until(lambda: self._call_since(pid), "the call begins", CALL_TIMEOUT_S)
            return found
        return None

    def _call_since(self, pid: int) -> float | None:
        looped = self._stage.client.inspect("loop0", 1.0)
        call = looped.facts["call"]
        return time.monotonic() - call["for_ms"] / 1000 if looped.row.pid == pid and call is not None else None

    # ---- the end

    def _calm(self) -> None:
        stage = self._stage
        self._undo_all()
        stage.machine.repair()
        self._look()
        until(stage.revive, f"all actors run: {stage.rows()}")
        for thread in self._threads:
            thread.join(30.0)
        stage.end_clients()
        until(stage.revive, "all actors run")
        assert stage.server is not None
        pid = stage.server.pid
        with contextlib.suppress(NotInTime):
            until(lambda: not processes.zombies(pid), "nobody is left unreaped", 5.0)
        time.sleep(1.5 * _ORPHAN_S)  # so that an orphan, which nobody asks for, has had its time to be one
        self._look()
        report = self._report
        with contextlib.suppress(NotInTime):
            most = report.descriptors[0] + _MORE_DESCRIPTORS
            until(lambda: processes.descriptors(pid) <= most, "descriptors are closed", 5.0)
        report.descriptors = (report.descriptors[0], processes.descriptors(pid))
        report.memory_kib = (report.memory_kib[0], processes.memory_kib(pid))
        if report.descriptors[1] > report.descriptors[0] + _MORE_DESCRIPTORS:
            report.wrong.append(f"descriptors leak: {report.descriptors}")
        if report.memory_kib[1] > report.memory_kib[0] + _GROWTH_KIB:
            report.wrong.append(f"memory leaks: {report.memory_kib} KiB")
        log = stage.log
        for word in ("Traceback", "defect"):
            if word in log:
                at = log.index(word)
                report.wrong.append(f"the server has met a defect:\n{log[max(0, at - 1500) : at + 2500]}")

    def _close(self, replay: bool) -> None:
        stage = self._stage
        assert stage.server is not None
        left = processes.descendants(stage.server.pid)
        stage.server.send_signal(signal.SIGTERM)
        until(lambda: stage.server is None or stage.server.poll() is not None, "the server ends", 30.0)
        self._await_all_gone(left)
        if stage.server.returncode != 0:
            self._report.wrong.append(f"the server ended with {stage.server.returncode}")
        journals = Journals()
        for path in sorted(stage.folder.glob("journal.*")):
            journals.read(path)
        self._report.findings = Checker(stage.home, journals, stage.ids, stage.fetched).check(replay=replay)


_ACTS: dict[Kind, Callable[[Run, Fault], bool]] = {
    Kind.KILL: Run._kill,
    Kind.STOP: Run._stop,
    Kind.DISK_FULL: Run._fill_disk,
    Kind.IO_ERROR: Run._fail_writes,
    Kind.NO_FORK: Run._fail_forks,
    Kind.NO_DESCRIPTOR: Run._no_descriptor,
    Kind.CLOCK: Run._jump,
    Kind.DEADLINE: Run._deadline,
    Kind.KILLED_WHILE_STOPPING: Run._kill_while_stopping,
}


def table(report: Report) -> list[str]:
    """The report in lines."""
    found = report.findings
    rows: list[tuple[str, object]] = [(name, count) for name, count in sorted(report.done.items())]
    rows += [(f"{name}: nobody there", count) for name, count in sorted(report.missed.items())]
    rows += [
        ("kills", report.kills),
        ("starts of the server", report.server_starts),
        ("forks that failed; writes that failed", f"{report.forks_failed}; {report.writes_failed}"),
        ("requests", found.asked),
        ("... acknowledged", found.acknowledged),
        ("... ended otherwise", ", ".join(f"{how} {n}" for how, n in found.ends.most_common() if how != "reply")),
        ("... of those taken all the same", found.unknown),
        ("acknowledged and lost", found.lost),
        ("taken twice", found.doubled),
        ("taken without an end", found.without_end),
        ("orphans; zombies", f"{report.orphans}; {report.zombies}"),
        ("deadline to gone, ms: p50, p99, most", _times(report.gone)),
        ("death of a server to that of its last process, ms", _times(report.ended)),
        ("descriptors of the server, before and after", report.descriptors),
        ("memory of the server in KiB, before and after", report.memory_kib),
        ("entries verified; replayed; messages that fit", f"{found.entries}; {found.replayed}; {found.messages}"),
        ("seconds", f"{report.seconds:.0f}"),
    ]
    return [f"  {name:<56} {value}" for name, value in rows]


def _times(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return ", ".join(f"{each * 1000:.0f}" for each in seconds) or "-"
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"{cuts[49] * 1000:.0f}, {cuts[98] * 1000:.0f}, {max(seconds) * 1000:.0f} ({len(seconds)} times)"
