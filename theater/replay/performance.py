"""One chain performed again: its script, and the guests that it needs, with nothing behind them but the record.

It runs in a process of its own (theater/replay/child.py), for a guest may loop for ever where its record says that it
returned.
"""

from __future__ import annotations

from theater.core.chain import Get
from theater.core.life import Life
from theater.core.lineage import Lineage
from theater.core.replay import Script, Watch
from theater.core.retrace import Reread, retrace
from theater.core.same_guest import check_engine, check_wrapper
from theater.core.secrets import Open, nothing_to_open
from theater.errors import ContentDamaged
from theater.host.recorded import RecordedSeam
from theater.host.wasi import GuestHost
from theater.replay.sources import limits_of, program_of
from theater.wasm.artefacts import Artefact, ArtefactCache
from theater.wasm.engine import engine_identity
from theater.wasm.guest import Guest
from theater.worker import program
from theater.worker.performer import Performer


class Performance:
    """Performs one script.

    Args:
        get: content by its digest.
        cache: where everything that the script needs is, compiled.
        reread: the records of the chain once more, for lives that go on with the memory of those before.
        watch: told how far such a life's lineage has been executed (`theater.core.replay.Watch`).
        secrets: finds those that stand in the record.
    """

    def __init__(
        self,
        script: Script,
        get: Get,
        cache: ArtefactCache,
        reread: Reread,
        watch: Watch = lambda head, took_ns: None,
        secrets: Open = nothing_to_open,
    ) -> None:
        self._script = script
        self._get = get
        self._cache = cache
        self._reread = reread
        self._watch = watch
        self._open = secrets
        self._seam = RecordedSeam(script)
        self._artefacts: dict[tuple[str, bool], Artefact] = {}
        self._performer = Performer(script, get, self)

    @property
    def guest(self) -> Guest | None:
        """The guest at the end of what was performed; None if it is dead, or if there was nothing to perform."""
        guest = self._performer.guest
        return guest if guest is not None and guest.is_alive else None

    def run(self) -> None:
        """Performs it to its end.

        Raises:
            Diverged: the guest did something else than the record says.
            OtherEngine: it ran on another engine than ours.
            IntegrityError: the record, or what it refers to, is damaged.
        """
        self._performer.run()

    # ---- theater.worker.performer.Maker

    def make(self, life: Life, script: Script) -> Guest:
        """A guest of this life, loaded."""
        artefact = self._artefact(life, limits_of(life, self._get).fuel is not None)
        content = program_of(life, self._get)
        self._seam.recording = script
        guest = Guest(artefact, GuestHost(self._seam))
        if content is not None:
            program.load(guest, content)
        guest.keep_image()
        return guest

    def remember(self, life: Life, lineage: Lineage, script: Script) -> Guest:
        """A guest with the memory of a lineage."""
        past = retrace(lineage, life.entry, self._reread, self._get, self._watch, self._open)
        performer = Performer(past, self._get, self)
        try:
            performer.run()
        finally:
            self._watch(script.head, 0)
        assert performer.guest is not None
        self._seam.recording = script
        return performer.guest

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
