"""Components become artefacts: found in the machine's cache, or compiled by a child that is thrown away (D2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from theater.errors import BuildFailed, ContentDamaged, TheaterError
from theater.log import Logger
from theater.server import helpers
from theater.server.helpers import Helper
from theater.server.loop import Loop
from theater.server.processes import Ended, Processes
from theater.wasm.artefacts import Artefact, ArtefactCache, Progress, compile_command, parse_report


@dataclass(slots=True)
class Wish:
    """Somebody waits for an artefact. Exactly one of `on_ready` and `on_failed` is called, from the loop."""

    on_ready: Callable[[Artefact], None]
    on_failed: Callable[[TheaterError], None]
    on_progress: Callable[[str], None]


@dataclass(slots=True, eq=False)
class _Job:
    component: str
    fuel: bool
    wishes: list[Wish] = field(default_factory=list)
    helper: Helper | None = None
    error: TheaterError | None = None


class Workshop:
    """Artefacts by component.

    Args:
        content: path of a component by its digest.
    """

    def __init__(
        self, loop: Loop, processes: Processes, cache: ArtefactCache, content: Callable[[str], Path], log: Logger
    ) -> None:
        self._loop = loop
        self._processes = processes
        self._cache = cache
        self._content = content
        self._log = log
        self._ready: dict[tuple[str, bool], Artefact] = {}
        self._jobs: dict[tuple[str, bool], _Job] = {}

    def prepare(self, component: str, fuel: bool, wish: Wish) -> None:
        """Finds or makes the artefact of a component.

        Args:
            component: its digest, hex.
            fuel: whether instructions are to be counted.
        """
        try:
            self._prepare(component, fuel, wish)
        except OSError as error:
            failed = BuildFailed(f"the compiled form of a component can be neither read nor made: {error}")
            self._loop.soon(lambda: wish.on_failed(failed))

    def close(self) -> None:
        """Ends what is being compiled."""
        for job in self._jobs.values():
            if job.helper is not None:
                self._processes.kill(job.helper.pid)

    def _prepare(self, component: str, fuel: bool, wish: Wish) -> None:
        key = component, fuel
        artefact = self._ready.get(key) or self._find(component, fuel)
        if artefact is not None and artefact.path.exists():
            self._ready[key] = artefact
            found = artefact
            self._loop.soon(lambda: wish.on_ready(found))
            return
        self._ready.pop(key, None)
        job = self._jobs.get(key) or self._compile(component, fuel)
        job.wishes.append(wish)

    def _find(self, component: str, fuel: bool) -> Artefact | None:
        try:
            return self._cache.find(component, fuel)
        except ContentDamaged as error:
            self._log.warning("compiling again", why=error.message)
            return None

    def _compile(self, component: str, fuel: bool) -> _Job:
        command = compile_command(self._content(component), self._cache.directory, fuel)
        job = _Job(component, fuel)
        job.helper = helpers.start(
            self._loop,
            self._processes,
            command,
            lambda line: self._on_line(job, line),
            lambda ended: self._on_end(job, ended),
        )
        self._jobs[component, fuel] = job
        return job

    def _on_line(self, job: _Job, line: bytes) -> None:
        report = parse_report(line.decode("utf-8", "replace"))
        if isinstance(report, Progress):
            for wish in job.wishes:
                wish.on_progress(f"{report.stage} the component, {report.elapsed:.0f} s")
        elif isinstance(report, TheaterError):
            # Where the store keeps it tells nobody anything; whoever gave the component knows what it is called.
            sentence = report.message.replace(str(self._content(job.component)), "the component")
            job.error = type(report)(sentence, **report.details)

    def _on_end(self, job: _Job, ended: Ended) -> None:
        del self._jobs[job.component, job.fuel]
        artefact = self._find(job.component, job.fuel) if ended.status == 0 else None
        if artefact is not None:
            self._ready[job.component, job.fuel] = artefact
            for wish in job.wishes:
                wish.on_ready(artefact)
            return
        how = f"signal {ended.signal}" if ended.signal is not None else f"status {ended.status}"
        error = job.error or BuildFailed(f"the compiler ended with {how} and left nothing")
        for wish in job.wishes:
            wish.on_failed(error)
