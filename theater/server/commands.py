"""Every command passes here: may that one give it, and what does the supervisor's chain say of it.

The entry stands in the chain before a command is carried out; a server that dies in the middle has said what it was
about to do. Nobody may fill the disk by asking: what changes nothing is only counted, and who is refused over and over
is counted after a few times. And if the disk does not take the chain, then commands wait in memory with everything else
that is to be written, but only so many: after that they are refused, except those that end something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from theater.core.commands import COMMAND, ENDED, READ, REFUSED, Who, summary
from theater.core.roles import Trace, judge
from theater.core.wire import Request
from theater.errors import AccessRefused, DiskFull, TheaterError
from theater.server.authority import Authority
from theater.server.ledger import Ledger

READS_EVERY_S: Final = 3600.0
"""How often the chain is told what was read."""

REFUSALS_EVERY_S: Final = 60.0
"""How often refusals beyond `REFUSALS_AT_ONCE` are told, all in one entry."""

REFUSALS_AT_ONCE: Final = 5
"""Within that time so many have an entry of their own."""

_MOST_WAITING = 1000
_MOST_NAMES = 100
_EMERGENCIES: Final = frozenset({"stop", "stop_server"})


@dataclass(slots=True)
class Pass:
    """The leave to carry out one command, until it has ended.

    Args:
        may: whether who gave it may still be answered.
    """

    may: Callable[[], bool]
    _tell: Callable[[TheaterError | None], None] | None = None

    def ended(self, error: TheaterError | None) -> None:
        """The command is carried out, or has failed; only the first call says so."""
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(error)


class Commands:
    """Lets commands pass, and writes down who gave them."""

    def __init__(self, authority: Authority, ledger: Ledger) -> None:
        self._authority = authority
        self._ledger = ledger
        self._number = 0
        self._reads: dict[str, tuple[Who, Counter[str]]] = {}
        self._refusals = 0
        self._untold = 0
        authority.on_refused = lambda who, why: self._note_refusal({"by": who}, None, why)

    def enter(self, user: str, address: str, request: Request) -> Pass:
        """Whether a request may be carried out now.

        Raises:
            AccessRefused: who wants it may not.
            InvalidInput: there is no such operation.
            DiskFull: it could not be written down that it was given.
        """
        try:
            who = self._authority.who(user, address)
        except AccessRefused as error:
            self._note_refusal({"address": address}, request.op, error.message)
            raise
        try:
            trace = judge(who.role, request.op, request.args)
        except AccessRefused as error:
            self._note_refusal(who.facts, request.op, error.message)
            raise
        granted = Pass(lambda: self._is_still(user, address))
        if trace is Trace.COUNTED:
            self._count(who, request.op)
        else:
            granted._tell = self._begin(who, request, trace)
        return granted

    def _is_still(self, user: str, address: str) -> bool:
        try:
            self._authority.who(user, address)
        except AccessRefused:
            return False
        return True

    def _begin(self, who: Who, request: Request, trace: Trace) -> Callable[[TheaterError | None], None]:
        op, facts = request.op, dict(who.facts)
        if self._ledger.waiting > _MOST_WAITING and op not in _EMERGENCIES:
            raise DiskFull(f"{op!r} was not done: the disk does not take the record of who gave it")
        self._number += 1
        number = self._number
        self._ledger.event(COMMAND, {"number": number, "op": op, "who": facts, "args": summary(request.args)})

        def tell(error: TheaterError | None) -> None:
            if error is not None or trace is Trace.BOTH:
                what = type(error).__name__ if error is not None else None
                self._ledger.event(ENDED, {"number": number, "op": op, "who": facts, "error": what})

        return tell

    # ---- what is counted

    def _count(self, who: Who, op: str) -> None:
        name = who.name if who.name in self._reads or len(self._reads) < _MOST_NAMES else "others"
        self._reads.setdefault(name, (who, Counter()))[1][op] += 1

    def note_reads(self) -> None:
        """Tells the chain what was read since the last time, if anything was."""
        reads, self._reads = self._reads, {}
        for name, (who, counts) in reads.items():
            facts = {name: value for name, value in who.facts.items() if name not in ("pid", "address")}
            self._ledger.event(READ, {"who": {**facts, "name": name}, "counts": dict(sorted(counts.items()))})

    def _note_refusal(self, who: Mapping[str, Any], op: str | None, why: str) -> None:
        self._refusals += 1
        if self._refusals > REFUSALS_AT_ONCE:
            self._untold += 1
            return
        self._ledger.event(REFUSED, {"who": dict(who), "op": None if op is None else op[:100], "why": why, "times": 1})

    def note_refusals(self) -> None:
        """Tells the chain how many were refused that it does not know of; then the next few have entries again."""
        self._refusals = 0
        if self._untold:
            untold, self._untold = self._untold, 0
            self._ledger.event(
                REFUSED, {"who": {}, "op": None, "why": "too often to be told one by one", "times": untold}
            )
