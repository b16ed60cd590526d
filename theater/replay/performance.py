"""One chain performed again: guests are made, called and given up as its script says.

This is what a life does (theater/worker/actor.py) without anything that surrounds it. It runs in a process of its own
(theater/replay/child.py), for a guest may loop for ever where its record says that it returned.
"""

from __future__ import annotations

from theater.core.chain import Get, Outcome, outcome_trap
from theater.core.manifest import Manifest
from theater.core.replay import Cue, Cut, Failed, Life, Script, check_engine, check_wrapper
from theater.errors import ComponentError, ContentDamaged, IntegrityError
from theater.host.base import Refused
from theater.host.outcomes import concluded, ended_by
from theater.host.recorded import RecordedSeam
from theater.host.wasi import GuestHost
from theater.replay.sources import manifest_of, program_of
from theater.wasm.artefacts import Artefact, ArtefactCache
from theater.wasm.engine import engine_identity
from theater.wasm.guest import Guest, Trap
from theater.worker import program


class Performance:
    """Performs one script.

    Args:
        get: content by its digest.
        cache: where everything that the script needs is, compiled.
    """

    def __init__(self, script: Script, get: Get, cache: ArtefactCache) -> None:
        self._script = script
        self._get = get
        self._cache = cache
        self._seam = RecordedSeam(script)
        self._artefacts: dict[tuple[str, bool], Artefact] = {}
        self._guest: Guest | None = None
        self._manifest: Manifest | None = None

    def run(self) -> None:
        """Performs it to its end.

        Raises:
            Diverged: the guest did something else than the record says.
            OtherEngine: it ran on another engine than ours.
            IntegrityError: the record, or what it refers to, is damaged.
        """
        while (step := self._script.next()) is not None:
            if isinstance(step, Life):
                self._begin(step)
            elif step.is_cut:
                self._script.abandon()
            else:
                self._play(step)

    def _begin(self, life: Life) -> None:
        self._manifest = manifest_of(life, self._get)
        if self._guest is not None:
            self._guest.close()
            self._guest = None
        if self._script.life_is_empty:
            return
        artefact = self._artefact(life, self._manifest.limits.fuel is not None)
        try:
            self._guest = self._load(life, artefact)
        except Cut:
            self._script.abandon()
        except (ComponentError, Trap, Refused) as error:
            self._script.refuse(f"the component did not come to life: {error}")

    def _load(self, life: Life, artefact: Artefact) -> Guest:
        content = program_of(life, self._get)
        guest = Guest(artefact, GuestHost(self._seam))
        if content is not None:
            program.load(guest, content)
        assert self._manifest is not None
        guest.limit_memory(self._manifest.limits.memory)
        return guest

    def _play(self, cue: Cue) -> None:
        try:
            outcome = self._call(cue)
        except Cut:
            self._script.abandon()
        else:
            self._script.conclude(outcome)

    def _call(self, cue: Cue) -> Outcome:
        """How the call ends."""
        guest, manifest, script = self._guest, self._manifest, self._script
        assert guest is not None
        assert manifest is not None
        limits = manifest.limits
        before = script.state_digest
        if limits.fuel is not None:
            guest.set_fuel(limits.fuel)

        def fuel() -> int | None:
            return guest.fuel_consumed() if limits.fuel is not None else None

        try:
            result = guest.call(cue.interface, cue.function, (script.state, cue.args))
            return concluded(result, before, fuel(), state_limit=limits.state, message_limit=limits.message)
        except Failed as failed:
            kind, message, backtrace = failed.outcome.value
            return outcome_trap(kind, message, backtrace, before, fuel())
        except IntegrityError:
            raise  # Of the record, not of the guest.
        except Exception as error:
            return ended_by(error, before, fuel())

    def _artefact(self, life: Life, fuel: bool) -> Artefact:
        check_engine(life, engine_identity(fuel))
        key = life.component, fuel
        if key not in self._artefacts:
            found = self._cache.find(*key)
            if found is None:
                raise ContentDamaged(f"the compiled form of component {life.component} is gone from the cache")
            self._artefacts[key] = found
        artefact = self._artefacts[key]
        check_wrapper(life, artefact.meta.wrapper, artefact.meta.mode.value)
        return artefact
