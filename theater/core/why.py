"""Why an actor does not go on, in sentences: what it waits for, who waits for it, and what a person can do.

Pure: facts in, sentences out. The facts are gathered in theater/server/why.py; the graph of waits is core/waiting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from theater.core.waiting import Activity, Circle, Doing, Fate, Running, Wait, WaitKind

_S = 1_000_000_000
_LONG_NS = 2 * _S
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Mailbox:
    """What waits for an actor.

    Args:
        waiting: messages, as far as the server can see.
        room: how many it may be ([limits] mailbox).
        outside: how many of them, and of those at work, came from clients of the server.
    """

    waiting: int = 0
    room: int = 0
    outside: int = 0


@dataclass(frozen=True, slots=True)
class Absence:
    """Why an actor is not up.

    Args:
        state: starting, restarting, stopping, stopped or failed.
        last_exit: how its last life ended, in words; None if it had none.
        wanted: somebody wanted that end.
        until_ns: when the next attempt to start it is made, if it waits for one.
        gave_up: its supervisor has used up its restarts.
        disk_full: the disk took nothing more.
        recent, intensity, period: restarts that count now, and how many in how many seconds are allowed.
    """

    state: str
    last_exit: str | None = None
    wanted: bool = False
    until_ns: int | None = None
    gave_up: bool = False
    disk_full: bool = False
    recent: int | None = None
    intensity: int | None = None
    period: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known of one actor that is asked about.

    Args:
        name: of the actor, for people.
        doing: of its record.
        since_ns: since when it has been idle, or not up, as far as it is known.
        wait: what it waits for, if it does.
        path: wait after wait, beginning with its own.
        end: what the last of the path is doing that waits for nobody: in words, or "".
        waiters: who waits for it.
        held_up: all from which waits lead to it.
        call_until_ns: when its call is ended by the call timeout.
        process: what keeps its process from running, in words: a signal has stopped it, or the kernel holds it.
        poison: messages that are set aside since they ended it.
    """

    actor: str
    name: str
    doing: Doing = field(default_factory=Doing)
    since_ns: int | None = None
    wait: Wait | None = None
    path: Sequence[Wait] = ()
    end: str = ""
    circle: Circle | None = None
    waiters: Sequence[Wait] = ()
    held_up: int = 0
    mailbox: Mailbox = field(default_factory=Mailbox)
    absence: Absence | None = None
    call_until_ns: int | None = None
    process: str | None = None
    poison: int = 0
    dead_letters: int = 0


Name = Callable[[str], str]


def sentences(case: Case, now_ns: int, name: Name) -> list[str]:
    """What there is to say, the most important first.

    Args:
        name: what a person calls the actor of an id.
    """
    found = [*_of_circle(case, now_ns, name)]
    if case.absence is not None:
        found += _of_absence(case, case.absence, now_ns)
    else:
        found += _of_life(case, now_ns, name)
    found += _of_waiters(case, now_ns, name)
    found += _of_mail(case)
    return found


def advice(case: Case, name: Name) -> list[str]:
    """What a person can do; nothing if nothing is wrong."""
    me = name(case.actor)
    found: list[str] = []
    if case.circle is not None:
        breaker = case.circle.breaker
        first = name((breaker or case.circle.members[0]).who)
        found.append(f"`theater restart {first}` breaks the circle now")
        found.append("let one of them send instead of request; a shorter [limits] request_timeout ends it sooner")
    elif case.process is not None:
        found.append(f"let its process go on (SIGCONT), or `theater restart {me}`")
    elif case.absence is not None:
        found += _against_absence(case, case.absence, me)
    elif case.doing.activity is Activity.COMPUTING and case.call_until_ns is None:
        found.append(f"no [limits] call_timeout ends this call; `theater restart {me}` does")
    elif case.doing.activity is Activity.COMPUTING:
        found.append(f"`theater restart {me}` ends it now; [limits] call_timeout says how long a call may last")
    elif len(case.path) > 1 or (case.wait is not None and case.wait.on is not None):
        found.append(f"`theater why {name(case.path[-1].on or case.path[-1].who)}` shows what holds them all up")
    if case.poison:
        found.append("messages that ended it are set aside: `theater dead-letters` shows them")
    if case.mailbox.room and case.mailbox.waiting >= case.mailbox.room:
        found.append("its mailbox is full, so senders are refused: [limits] mailbox says how much it holds")
    return found


def is_suspicious(case: Case, now_ns: int) -> bool:
    """Whether a person who looks for what is wrong should see this actor."""
    if case.circle is not None or case.process is not None:
        return True
    if case.absence is not None:
        return case.absence.state != "stopped" or not case.absence.wanted
    if case.mailbox.room and case.mailbox.waiting * 2 >= case.mailbox.room:
        return True
    call = case.doing.call
    return call is not None and now_ns - call.since_ns >= _LONG_NS and not _sleeps(case)


def _sleeps(case: Case) -> bool:
    """Whether it sleeps as it wanted, and holds up nobody."""
    return case.wait is not None and case.wait.kind is WaitKind.SLEEP and not case.waiters


# ---- the parts


def _of_circle(case: Case, now_ns: int, name: Name) -> Iterator[str]:
    circle = case.circle
    if circle is None:
        return
    ring = [name(wait.who) for wait in circle.members]
    told = ", ".join(f"{who} waits for {whom}" for who, whom in zip(ring, [*ring[1:], ring[0]], strict=True))
    breaker = circle.breaker
    end = "and no timeout ends it"
    if breaker is not None and breaker.until_ns is not None:
        end = f"until the first timeout, that of {name(breaker.who)} {moment(breaker.until_ns, now_ns)}"
    yield f"deadlock: {told}; none of them goes on {end}"


def _of_life(case: Case, now_ns: int, name: Name) -> Iterator[str]:
    call, asks = case.doing.call, case.doing.asks
    if case.process is not None:
        yield f"its process {case.process}"
    if call is None:
        since = f" for {span(now_ns - case.since_ns)}" if case.since_ns is not None else ""
        yield f"{case.name} has been idle{since}: it waits for messages" if since else f"{case.name} is idle"
        return
    whose = f" of {name(call.sender)}" if call.sender else ""
    yield (
        f"{case.name} has been in {label(call)}{whose} for {span(now_ns - call.since_ns)} (entry {call.entry})"
        + (f", which ends by [limits] call_timeout {moment(case.call_until_ns, now_ns)}" if case.call_until_ns else "")
    )
    if case.wait is not None:
        yield _waits(case.wait, now_ns)
    elif asks is None:
        yield "its guest computes: it has asked its host for nothing that is still open"
    if len(case.path) > 1 and case.circle is None:
        yield "behind that: " + ", ".join(
            f"{name(wait.who)} waits for {wait.words}" for wait in list(case.path)[1 : _SHOWN + 1]
        )
    if case.end:
        yield case.end


def _waits(wait: Wait, now_ns: int) -> str:
    since = f" since {span(now_ns - wait.since_ns)}" if wait.since_ns is not None else ""
    where = f" (entry {wait.entry})" if wait.entry is not None else ""
    until = f", until {clock(wait.until_ns)} at the latest" if wait.until_ns is not None else ""
    return f"it waits for {wait.words}{since}{where}{until}"


def _of_absence(case: Case, absence: Absence, now_ns: int) -> Iterator[str]:
    since = f" for {span(now_ns - case.since_ns)}" if case.since_ns is not None else ""
    yield f"{case.name} is not up: it has been {absence.state}{since}" if since else f"{case.name} is {absence.state}"
    if absence.last_exit is not None:
        yield f"its last life {absence.last_exit}{', as somebody wanted' if absence.wanted else ''}"
    call = case.doing.call
    if call is not None and not absence.wanted:
        yield f"it was in {label(call)} then (entry {call.entry})"
    if absence.until_ns is not None:
        due = moment(absence.until_ns, now_ns)
        yield f"the next attempt to start it is made {due} (backoff, or its share of `cpu`)"
    if absence.gave_up:
        yield "its supervisor has given up: it was restarted more often than intensity allows"
    elif absence.recent and absence.intensity is not None:
        yield f"{absence.recent} of {absence.intensity} restarts in {absence.period} s are used up"
    if absence.disk_full:
        yield "the disk took nothing more"


def _against_absence(case: Case, absence: Absence, me: str) -> Iterator[str]:
    if absence.disk_full:
        yield f"make room on the disk of the home, then `theater restart {me}`"
    elif absence.state in ("stopped", "failed"):
        yield f"`theater restart {me}` starts it again"
    if absence.last_exit is not None and not absence.wanted:
        yield f"`theater logs {me}` and `theater events {me}` show what it did last"


def _of_waiters(case: Case, now_ns: int, name: Name) -> Iterator[str]:
    for wait in list(case.waiters)[:_SHOWN]:
        since = f" for {span(now_ns - wait.since_ns)}" if wait.since_ns is not None else ""
        until = f", until {clock(wait.until_ns)}" if wait.until_ns is not None else ""
        yield f"{name(wait.who)} has been waiting for it{since} (entry {wait.entry} of its chain{until})"
    more = case.held_up - min(len(case.waiters), _SHOWN)
    if more > 0:
        yield f"{more} more {'is' if more == 1 else 'are'} held up by that"
    promised = sum(wait.fate is Fate.PROMISED for wait in case.waiters)
    if promised and case.absence is None:
        what = "a request" if promised == 1 else f"{promised} requests"
        yield f"it has taken {what} and promised to answer later"


def _of_mail(case: Case) -> Iterator[str]:
    mail = case.mailbox
    if mail.waiting:
        yield f"{mail.waiting} {'message waits' if mail.waiting == 1 else 'messages wait'} for it, of {mail.room}"
    if mail.outside:
        yield f"{mail.outside} of what it has to do came from clients"
    if case.dead_letters:
        yield f"{case.dead_letters} dead letters were meant for it"


# ---- words


def label(call: Running) -> str:
    """A call as people write it: message-server-client.handle-request."""
    return f"{call.interface.partition('/')[2].partition('@')[0]}.{call.function}"


def span(ns: int) -> str:
    """How long, in the largest unit that it fills."""
    ns = max(ns, 0)
    for unit, length in (("d", 86_400 * _S), ("h", 3600 * _S), ("min", 60 * _S)):
        if ns >= 2 * length:
            return f"{ns // length} {unit}"
    return f"{ns / _S:.1f} s" if ns < 10 * _S else f"{ns // _S} s"


def clock(time_ns: int) -> str:
    """A moment of today, UTC."""
    minutes, seconds = divmod(time_ns // _S % 86_400, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}Z"


def moment(time_ns: int, now_ns: int) -> str:
    """When, from now: in 3.1 s (at 10:00:03Z)."""
    left = time_ns - now_ns
    return f"in {span(left)} (at {clock(time_ns)})" if left > 0 else f"any moment now (at {clock(time_ns)})"
