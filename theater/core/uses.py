"""What an actor was granted, what of it its record shows to have been used, and the least that would have done.

A host call belongs to the handler that grants its interface; a call of one of the actor's exports to the handler that
has it called. What was refused is counted and needs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from theater.core.codec import pack
from theater.core.handlers import GRANTED_TO_ALL, HANDLERS, handler_granting
from theater.core.manifest import Handler, Manifest
from theater.core.older_names import present_name
from theater.core.permissions import Asked, Permissions
from theater.core.permissions.nothing import Nothing
from theater.core.values import Err

_AT_ONCE: Final = 1000
_MOST_REFUSALS: Final = 20


@dataclass(frozen=True, slots=True)
class Use:
    """One handler.

    Args:
        type: of the handler.
        granted: what the manifest grants with it; None if it does not grant it.
        used: what of that was needed; None if it was not used.
        calls: how often its functions were called, and it called the actor's exports.
        refused: how many of those calls were answered with an error.
        functions: calls by function.
        refusals: what it was told, and how often; of the first so many different ones.
    """

    type: str
    granted: Permissions | None
    used: Permissions | None
    calls: int
    refused: int
    functions: Mapping[str, int]
    refusals: Mapping[str, int]


@dataclass(slots=True)
class _Row:
    telling: list[Asked] = field(default_factory=list)
    fresh: dict[bytes, Asked] = field(default_factory=dict)
    functions: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    needed: bool = False

    def refuse(self, call: Asked) -> None:
        if isinstance(call.answer, Err):
            self.refused += 1
            sentence = str(call.answer.value)
            if sentence in self.refusals or len(self.refusals) < _MOST_REFUSALS:
                self.refusals[sentence] += 1

    def note(self, call: Asked, granted: Permissions) -> None:
        """Takes a call in. Of a thousand different ones that need nothing which is not known to be needed none is kept,
        since a chain may have millions."""
        self.fresh.setdefault(pack([call.function, list(call.args), call.answer]), call)
        if len(self.fresh) >= _AT_ONCE:
            if self.used(granted) != granted.used(self.telling):
                self.telling += self.fresh.values()
            self.fresh.clear()

    def used(self, granted: Permissions) -> Permissions:
        return granted.used([*self.telling, *self.fresh.values()])


class Tally:
    """Counts what an actor's record says, entry by entry.

    Args:
        manifest: what the actor is now.
        actor: its id.
    """

    def __init__(self, manifest: Manifest, actor: str) -> None:
        self._manifest = manifest
        self._actor = actor
        self._granted = {handler.type: handler.permissions for handler in manifest.handlers}
        self._granted.update({type_: Nothing() for type_ in GRANTED_TO_ALL if type_ not in self._granted})
        self._rows: dict[str, _Row] = {}

    def asked(self, call: Asked) -> None:
        """A host call with its answer."""
        type_ = handler_granting(present_name(call.interface))
        if type_ is None:
            return  # WASI's, which everybody has.
        row = self._rows.setdefault(type_, _Row())
        row.functions[call.function] += 1
        row.refuse(call)
        row.needed |= not call.refused
        granted = self._granted.get(type_)
        if granted is not None and not isinstance(granted, Nothing):
            row.note(call, granted)

    def handled(self, interface: str, function: str, sender: str | None) -> None:
        """A call of one of the actor's exports."""
        offers = [type_ for type_ in HANDLERS if type_ in self._granted and interface in HANDLERS[type_].exports]
        if not offers:
            return
        own = sender == self._actor and "timers" in offers
        row = self._rows.setdefault("timers" if own else offers[0], _Row())
        row.functions[function] += 1
        row.needed = True

    def uses(self) -> list[Use]:
        """All handlers that are granted or were asked for, in the order of the table of handlers."""
        return [self._use(type_) for type_ in HANDLERS if type_ in self._rows or type_ in self._manifest.handler_types]

    def _use(self, type_: str) -> Use:
        row, granted = self._rows.get(type_, _Row()), self._granted.get(type_)
        used = row.used(granted) if granted is not None and row.needed else None
        return Use(type_, granted, used, row.functions.total(), row.refused, dict(row.functions), dict(row.refusals))


def smallest(
    manifest: Manifest, uses: Iterable[Use], imports: Collection[str], children: Collection[Manifest]
) -> Manifest:
    """The least manifest with which what is recorded would have gone on as it did.

    Args:
        uses: of its actor.
        imports: interfaces that its component imports, which has to be granted them even if it calls none; empty for a
            program, whose imports are those of the runner.
        children: the manifests of the actor's children: what those alone need is what it passes on.
    """
    used = {use.type: use.used for use in uses}
    needed = {handler_granting(present_name(interface)) for interface in imports}
    handlers = []
    for handler in manifest.handlers:
        if handler.type in GRANTED_TO_ALL:
            continue
        least = used.get(handler.type)
        if least is None and handler.type in needed:
            least = handler.permissions.used([])
        if least is not None:
            handlers.append(Handler(handler.type, least))
    return replace(manifest, handlers=tuple(handlers), grants=_passed_on(manifest, handlers, children))


def _passed_on(manifest: Manifest, handlers: list[Handler], children: Collection[Manifest]) -> tuple[Handler, ...]:
    """What it must be able to give its children beside its own: as it could give it until now."""
    if all(handler.type != "supervisor" for handler in handlers):
        return ()
    wanted = {handler.type for child in children for handler in (*child.handlers, *child.grants)}
    could = {handler.type: handler for handler in (*manifest.handlers, *manifest.grants)}
    return tuple(
        handler
        for handler in could.values()
        if handler.type in wanted and handler not in handlers and handler.type not in GRANTED_TO_ALL
    )
