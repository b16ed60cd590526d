"""The manifest: what an actor is, what it may do and what becomes of it when it fails.

A manifest is text that somebody wrote; `parse` turns it into a value that is right as far as a value can tell.
Whether its files exist and whether its component fits (`component_contract`) is seen where files are seen. Text is
refused with the line, what was found there and what is allowed; nothing is guessed and no key is ignored.

The format is TOML. `canonical` gives the plain form, in which every default stands and which `from_canonical` reads
back; its digest names the manifest in the actor's chain, so a new default makes a new digest, as it should.

    name = "counter"                      letters, digits, `.`, `_`, `-`; at most 64
    version = "0.1.0"                     any text; default "0.0.0"
    description = "..."                   any text
    component = "counter.wasm"            a path beside the manifest, or store:<blake3>; also `component_path`;
                                          default: what `theater build` makes
    init_state = "state.json"             a file whose content `init` gets, or the content in init_state_inline
    [build]                               language, source; flags for the C compiler
    [[handler]]                           type; also [[handlers]]; the permissions of its type; `config = {}` is ignored
    [[grant]]                             likewise: what it may pass on to its children beside its own
    [actor]                               register
    [supervision]                         as a child: restart, shutdown, significant, state, poison, backoff,
                                          start_timeout, watchdog, mail; intensity and period of an actor that was
                                          started by itself
    [supervision.children]                as a parent: strategy, intensity, period, auto_shutdown, backoff,
                                          max_children, stop, stop_deadline
    [limits]                              memory, cpu, cpu_weight, call_timeout, request_timeout, fuel,
                                          messages_per_second, mailbox, state, message, record, chain, log,
                                          descriptors, children, actors
    [chain]                               durability, state_root, snapshot, retention
    [secrets]                             a name each, with where the server finds the value: env or file

Sizes are bytes or "64MiB"; durations milliseconds or "30s"; `period` is in seconds, as in OTP.
"""

# ruff: noqa: RUF009 (`key` and `table_key` are `dataclasses.field` with a reader)

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from theater.core import schema
from theater.core.child_spec import AutoShutdown, Restart, ShutdownRule, StopOrder, Strategy
from theater.core.handlers import HANDLERS, UNAVAILABLE, find, get
from theater.core.permissions import Permissions
from theater.core.permissions.nothing import Nothing
from theater.core.quantities import GIB, KIB, MIB, duration, show, show_size
from theater.core.schema import Place, key, optional, table_key
from theater.core.toml_text import Document, document
from theater.errors import InvalidInput, ManifestError

DAY = 86_400_000  # ms
LARGEST_PAYLOAD = 64 * MIB  # what one value can carry across the boundary into wasm (D9)

read_path = schema.matching(r"[^\x00-\x1f\x7f]{1,512}", "a path")
ACTOR_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ACTOR_NAME_WORDS = "letters, digits, '.', '_' and '-', at most 64, the first a letter or digit"
read_name = schema.matching(ACTOR_NAME.pattern, ACTOR_NAME_WORDS)
read_intensity = schema.integer(0, 1_000_000)
read_max_children = schema.integer(1, 1_000_000)
read_stop_deadline = schema.milliseconds(0, DAY)


class Language(StrEnum):
    """What `theater build` can be asked for; not every version builds all of them."""

    PYTHON = "python"
    RUST = "rust"
    JAVASCRIPT = "javascript"
    C = "c"
    WAT = "wat"


class StatePolicy(StrEnum):
    """What a new life of an actor begins with (D10): the last committed state, the initial one, or a replay."""

    LAST = "last"
    FRESH = "fresh"
    REPLAY = "replay"


class MailPolicy(StrEnum):
    """What becomes of messages to an actor that is being restarted.

    `wait`: they wait for its next life, up to the bound of the mailbox. `fail`: their senders are told at once. `keep`:
    as `wait`, and what its last life had not taken goes to the next one, too, instead of becoming dead letters.
    """

    WAIT = "wait"
    FAIL = "fail"
    KEEP = "keep"


class Durability(StrEnum):
    """Whose death the record survives: of any process, or of the machine."""

    PROCESS = "process"
    HOST = "host"


def read_period(value: object, place: Place) -> int:
    """Whole seconds from 1: a number of them, or a duration such as "5s"."""
    seconds, rest = divmod(duration(value), 1000) if isinstance(value, str) else (value, 0)
    if not isinstance(seconds, int) or isinstance(seconds, bool) or rest or not 1 <= seconds <= 86_400:
        raise InvalidInput(f"found {show(value)}; allowed: whole seconds from 1 to 86400")
    return seconds


def read_strategy(value: object, place: Place) -> Strategy:
    """One of the four strategies; OTP's name for the dynamic one is taken, too."""
    if value == "simple_one_for_one":
        return Strategy.DYNAMIC
    strategy: Strategy = schema.one_of(Strategy)(value, place)
    return strategy


def read_shutdown(value: object, place: Place) -> int | ShutdownRule:
    """How long an actor has to end when it is asked to: milliseconds, "brutal_kill" or "infinity"."""
    if isinstance(value, str) and value in set(ShutdownRule):
        return ShutdownRule(value)
    try:
        time = duration(value)
    except InvalidInput:
        time = -1
    if not 0 <= time <= DAY:
        allowed = 'a duration up to 24h such as 5000 (ms) or "5s", "brutal_kill", "infinity"'
        raise InvalidInput(f"found {show(value)}; allowed: {allowed}")
    return time


_PERCENT = re.compile(r"([0-9]{1,6})%")


def read_cpu(value: object, place: Place) -> int:
    """A share of one processor in percent: "50%" or 50; "200%" is two processors."""
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    percent = int(found[1]) if found is not None else value
    if not isinstance(percent, int) or isinstance(percent, bool) or not 1 <= percent <= 100_000:
        raise InvalidInput(f'found {show(value)}; allowed: "1%" to "100000%" of one processor, such as "50%"')
    return percent


def _component(value: object, place: Place) -> str:
    path: str = read_path(value, place)
    if path.startswith("store:"):
        reader = schema.matching(r"store:[0-9a-f]{64}", "a path, or store: and 64 hexadecimal digits")
        reader(path, place)
    return path


@dataclass(frozen=True, slots=True)
class Build:
    """What `theater build` does.

    Args:
        language: of the source.
        source: a file, or a folder, beside the manifest.
        flags: more arguments for the C compiler.
    """

    language: Language = key(schema.one_of(Language))
    source: str = key(read_path)
    flags: tuple[str, ...] = key(schema.texts, ())


@dataclass(frozen=True, slots=True)
class Handler:
    """A capability of the actor.

    Args:
        type: one of `HANDLERS`, or one that a package has added to them.
        permissions: what the capability is limited to: an instance of the class of its type.
    """

    type: str
    permissions: Permissions = Nothing()


@dataclass(frozen=True, slots=True)
class Actor:
    """The actor among others.

    Args:
        register: the actor's name is also its registered name.
    """

    register: bool = key(schema.boolean, False)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses before restarts, each twice as long as the one before.

    Args:
        initial: ms, of the first pause.
        max: ms, the longest pause.
        jitter: the part of each pause, from 0 to 1, that is left to chance.
    """

    initial: int = key(schema.milliseconds(1, DAY), 100)
    max: int = key(schema.milliseconds(1, DAY), 30_000)
    jitter: float = key(schema.fraction, 0.2)


def read_backoff(value: object, place: Place) -> Backoff:
    backoff = schema.read(Backoff, value, place)
    if backoff.initial > backoff.max:
        raise InvalidInput("initial is longer than max; allowed: initial up to max")
    return backoff


@dataclass(frozen=True, slots=True)
class Children:
    """The actor as a parent: the flags of the supervisor of the actors it spawns.

    Args:
        strategy: which children a failure concerns.
        intensity: restarts allowed within `period`.
        period: seconds.
        auto_shutdown: whether the end of significant children ends the actor.
        backoff: pauses before restarts; None, as in OTP, for none.
        max_children: how many there may be.
        stop: how they are stopped when the actor ends: one after the other, or all at once.
        stop_deadline: ms that this may take; whoever is left then is killed. None for any time.
    """

    strategy: Strategy = key(read_strategy, Strategy.ONE_FOR_ONE)
    intensity: int = key(read_intensity, 3)
    period: int = key(read_period, 5)
    auto_shutdown: AutoShutdown = key(schema.one_of(AutoShutdown), AutoShutdown.NEVER)
    backoff: Backoff | None = key(optional(read_backoff), None)
    max_children: int | None = key(optional(read_max_children), None)
    stop: StopOrder = key(schema.one_of(StopOrder), StopOrder.SEQUENTIAL)
    stop_deadline: int | None = key(optional(read_stop_deadline), None)


@dataclass(frozen=True, slots=True)
class Supervision:
    """The actor as a child.

    Args:
        restart: which of its ends are answered with a restart.
        shutdown: ms that it has to end when asked, or a rule.
        significant: whether its own end counts for the `auto_shutdown` of its supervisor.
        state: what a new life begins with.
        poison: how many times in a row one message may end the actor before it is set aside.
        intensity: restarts allowed within `period`, for an actor that was started by itself and so has a
            supervisor of its own; in a tree the supervisor's flags count.
        period: seconds, likewise.
        backoff: pauses before its restarts; None for what its supervisor says, and that is none if it says nothing.
        start_timeout: ms that a start may take, from the fork to the end of `init`; None for any time.
        watchdog: ms without progress after which the actor is taken for hung while it has something to do, and is
            killed; None for no such watch.
        mail: what becomes of messages that arrive while the actor is being restarted.
        children: the actor as a parent; None for one that only hears of its children and decides itself.
    """

    restart: Restart = key(schema.one_of(Restart), Restart.PERMANENT)
    shutdown: int | ShutdownRule = key(read_shutdown, 5000)
    significant: bool = key(schema.boolean, False)
    state: StatePolicy = key(schema.one_of(StatePolicy), StatePolicy.LAST)
    poison: int = key(schema.integer(1, 1000), 2)
    intensity: int = key(read_intensity, 3)
    period: int = key(read_period, 5)
    backoff: Backoff | None = key(optional(read_backoff), None)
    start_timeout: int | None = key(schema.milliseconds(1, DAY, infinity=True), 60_000)
    watchdog: int | None = key(optional(schema.milliseconds(100, DAY)), None)
    mail: MailPolicy = key(schema.one_of(MailPolicy), MailPolicy.WAIT)
    children: Children | None = key(optional(schema.table(Children)), None)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an actor may use. A child has no more of it than its parent (core/held_limits.py).

    Args:
        memory: bytes of linear memory.
        cpu: percent of one processor; None for any share.
        cpu_weight: its part of the processors when there are not enough, beside the 100 of others.
        call_timeout: ms one call may take; None for any time.
        request_timeout: ms a request of this actor waits, unless it says otherwise.
        fuel: instructions one call may execute; None for any number, and no metering.
        messages_per_second: messages that it may send, and that it may be sent, in a second; None for any number.
        mailbox: messages that may wait.
        state: bytes of the state it may return.
        message: bytes of one message to it.
        record: bytes of chain that one call may write.
        chain: bytes of chain that may be on the disk; None for any number.
        log: bytes of its log that are kept.
        descriptors: open files of its process.
        children: how many children it may have.
        actors: how many living actors there may be among its children, their children, and so on.
    """

    memory: int = key(schema.bytes_from(64 * KIB, 4 * GIB), 64 * MIB)
    cpu: int | None = key(optional(read_cpu), None)
    cpu_weight: int = key(schema.integer(1, 10_000), 100)
    call_timeout: int | None = key(schema.milliseconds(1, DAY, infinity=True), 30_000)
    request_timeout: int = key(schema.milliseconds(1, DAY), 5_000)
    fuel: int | None = key(optional(schema.integer(1, 2**63 - 1)), None)
    messages_per_second: int | None = key(optional(schema.integer(1, 1_000_000)), None)
    mailbox: int = key(schema.integer(1, 1_000_000), 1000)
    state: int = key(schema.bytes_from(0, LARGEST_PAYLOAD), 8 * MIB)
    message: int = key(schema.bytes_from(0, LARGEST_PAYLOAD), 1 * MIB)
    record: int = key(schema.bytes_from(64 * KIB, 4 * GIB), 16 * MIB)
    chain: int | None = key(optional(schema.bytes_from(1 * MIB, 1024 * GIB)), None)
    log: int = key(schema.bytes_from(0, 4 * GIB), 8 * MIB)
    descriptors: int = key(schema.integer(64, 1 << 20), 1024)
    children: int = key(schema.integer(1, 1_000_000), 1000)
    actors: int = key(schema.integer(1, 1_000_000), 10_000)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """When an actor's state and memory are written down by themselves: whichever comes first.

    Args:
        entries: after so many entries.
        bytes: after so many bytes of chain.
    """

    entries: int = key(schema.integer(10, 10**9), 50_000)
    bytes: int = key(schema.bytes_from(64 * KIB, 1024 * GIB), 64 * MIB)


def read_snapshot(value: object, place: Place) -> Snapshot | None:
    if value is None or value == "off":
        return None
    if not isinstance(value, Mapping):
        raise InvalidInput(f'found {show(value)}; allowed: a table such as {{ entries = 50000 }}, "off"')
    snapshot: Snapshot = schema.read(Snapshot, value, place)
    return snapshot


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a chain is kept; what is older than any of these may be dropped, up to a snapshot.

    Args:
        entries: newest entries; None for any number.
        bytes: newest bytes; None for any number.
        age: ms; None for any age.
    """

    entries: int | None = key(optional(schema.integer(100, 10**12)), None)
    bytes: int | None = key(optional(schema.bytes_from(64 * KIB, 1024 * GIB)), None)
    age: int | None = key(optional(schema.milliseconds(60_000, 36_500 * DAY)), None)


def read_state_root(value: object, place: Place) -> int:
    """After how many calls, each: "off" is 0, "call" 1."""
    if value in ("off", "call"):
        return int(value == "call")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 10**9:
        raise InvalidInput(f'found {show(value)}; allowed: "off", "call", or a number of calls from 1 to 1000000000')
    return value


@dataclass(frozen=True, slots=True)
class Chain:
    """The actor's record.

    Args:
        durability: whose death it survives.
        state_root: outcomes of every so many calls say what the linear memory is; 0 for none.
        snapshot: when the actor's state and memory are written down; None for never.
        retention: how much of the chain is kept; None for all of it.
    """

    durability: Durability = key(schema.one_of(Durability), Durability.PROCESS)
    state_root: int = key(read_state_root, 0)
    snapshot: Snapshot | None = key(read_snapshot, Snapshot())
    retention: Retention | None = key(optional(schema.table(Retention)), None)


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where the server finds the value of a secret; the manifest never has it.

    Args:
        name: what the actor calls it.
        env: a variable of the server's environment, or None.
        file: a file beside the manifest, or an absolute path; or None. One of the two.
    """

    name: str
    env: str | None = None
    file: str | None = None


def _secrets(value: object, place: Place) -> tuple[SecretSource, ...]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"found {show(value)}; allowed: a table of names")
    return tuple(_secret(name, inner, place / name) for name, inner in sorted(value.items()))


def _secret(name: str, value: object, place: Place) -> SecretSource:
    if ACTOR_NAME.fullmatch(name) is None:
        raise place.error(f"{show(name)} is no name of a secret; allowed: {ACTOR_NAME_WORDS}")
    table = value if isinstance(value, Mapping) else {}
    if len(table) != 1 or not table.keys() <= _SOURCES.keys():
        raise InvalidInput(
            'found something else; allowed: { env = "VARIABLE" } or { file = "path" }, where the server finds the '
            "value, which itself has no place in a manifest"
        )
    ((where, named),) = table.items()
    found: SecretSource = SecretSource(name, **{where: schema.read_value(_SOURCES[where], named, place / where)})
    return found


_SOURCES: Mapping[str, schema.Reader] = {
    "env": schema.matching(r"[A-Za-z_][A-Za-z0-9_]{0,255}", "the name of an environment variable"),
    "file": read_path,
}


def _handler(value: object, place: Place) -> Handler:
    if not isinstance(value, Mapping):
        raise place.error_of_key(f"found {show(value)}; allowed: a table")
    if "type" not in value:
        raise place.error("type is missing")
    type_ = _handler_type(value["type"], place / "type")
    given = {name: inner for name, inner in value.items() if name != "type" and (name, inner) != ("config", {})}
    kind = get(type_).permissions
    allowed = schema.keys(kind)
    for unknown in (name for name in given if name not in allowed):
        sentence = schema.unknown_key(unknown, dict.fromkeys(("type", *allowed)))
        raise place.error_about(unknown, f"of type {type_}: {sentence}")
    return Handler(type_, schema.read(kind, given, place))


def _handler_type(value: object, place: Place) -> str:
    if isinstance(value, str) and find(value) is not None:
        return value
    if isinstance(value, str) and value in UNAVAILABLE:
        raise place.error_of_key(f"found {show(value)}; {UNAVAILABLE[value]}")
    near = schema.did_you_mean(value, dict.fromkeys(HANDLERS)) if isinstance(value, str) else ""
    raise place.error_of_key(f"found {show(value)}; allowed: {', '.join(HANDLERS)}{near}")


def _handlers(value: object, place: Place) -> tuple[Handler, ...]:
    handlers: tuple[Handler, ...] = schema.rows(_handler)(value, place)
    seen: set[str] = set()
    for number, handler in enumerate(handlers):
        if handler.type in seen:
            raise (place / number).error(f"there are two handlers of type {handler.type}; allowed: one of each type")
        seen.add(handler.type)
    return handlers


@dataclass(frozen=True, slots=True)
class Manifest:
    """An actor as its author wishes it. See the module for the keys.

    Args:
        component: a path beside the manifest, or `store:<digest>`; None for what `theater build` makes.
        init_state: a file beside the manifest.
        init_state_inline: the initial state itself.
        build: how the component is made; None when it is just there.
        grants: what its children may have beside its own handlers.
        secrets: what its record must not hold, by name.
    """

    name: str = key(read_name)
    version: str = key(schema.matching(r"[^\x00-\x1f\x7f]{1,64}", "a text of at most 64 characters"), "0.0.0")
    description: str | None = key(optional(schema.any_text), None)
    component: str | None = key(optional(_component), None, alias="component_path")
    init_state: str | None = key(optional(read_path), None)
    init_state_inline: str | None = key(optional(schema.any_text), None)
    build: Build | None = key(optional(schema.table(Build)), None)
    handlers: tuple[Handler, ...] = key(_handlers, (), name="handler", alias="handlers")
    grants: tuple[Handler, ...] = key(_handlers, (), name="grant", alias="grants")
    actor: Actor = table_key(Actor)
    supervision: Supervision = table_key(Supervision)
    limits: Limits = table_key(Limits)
    chain: Chain = table_key(Chain)
    secrets: tuple[SecretSource, ...] = key(_secrets, ())

    @property
    def handler_types(self) -> frozenset[str]:
        """The types of its handlers."""
        return frozenset(handler.type for handler in self.handlers)

    @property
    def component_paths(self) -> tuple[str, ...]:
        """Where its component may be, beside the manifest; the first that exists counts.

        `theater build` leaves exactly one of them: a Python actor's program, or a component.
        """
        if self.component is not None:
            return (self.component,)
        made = f"build/{self.name}.wasm"
        if self.build is not None and self.build.language is Language.PYTHON:
            return (f"build/{self.name}.program", made)
        return (made,)


def parse(text: str, where: str) -> Manifest:
    """The manifest that `text` is.

    Args:
        text: TOML.
        where: the file's name, for sentences.

    Raises:
        ManifestError: it is not one. `FILE:LINE:`, what was found, what is allowed. No other error, whatever the text.
    """
    return _read(document(text, where))


def canonical(manifest: Manifest) -> dict[str, Any]:
    """The plain form: the manifest's table with every default filled in, of dicts, lists and scalars alone."""
    plain: dict[str, Any] = schema.plain(manifest)
    plain["secrets"] = {
        each.name: {"env": each.env} if each.env is not None else {"file": each.file} for each in manifest.secrets
    }
    for name, handlers in (("handler", manifest.handlers), ("grant", manifest.grants)):
        plain[name] = [{"type": each.type, **schema.plain(each.permissions)} for each in handlers]
    return plain


def from_canonical(plain: Mapping[str, Any], where: str = "manifest") -> Manifest:
    """The manifest of a plain form.

    Raises:
        ManifestError: it is not one.
    """
    return _read(Document(where, plain))


def _read(source: Document) -> Manifest:
    top = Place(source)
    manifest = schema.read(Manifest, source.values, top)
    for path, sentence in _contradictions(manifest):
        raise Place(source, path).error_of_key(sentence)
    return manifest


def _contradictions(manifest: Manifest) -> list[tuple[tuple[str, ...], str]]:
    """The keys that are right alone and wrong together: the path of one, and the sentence."""
    found: list[tuple[tuple[str, ...], str]] = []
    if manifest.init_state is not None and manifest.init_state_inline is not None:
        found.append((("init_state_inline",), "init_state gives the initial state already; allowed: one of the two"))
    if manifest.component is None and manifest.build is None:
        found.append((("component",), "missing; allowed: the component's path, or a [build] table that makes one"))
    if manifest.build is not None and manifest.build.flags and manifest.build.language is not Language.C:
        sentence = f"found flags for {manifest.build.language.value}; allowed: with language c alone"
        found.append((("build", "flags"), sentence))
    if manifest.grants and "supervisor" not in manifest.handler_types:
        found.append((("grant",), "nobody gets it; allowed: with a handler of type supervisor, whose children may"))
    if manifest.supervision.significant and manifest.supervision.restart is Restart.PERMANENT:
        sentence = (
            "a permanent actor is always restarted, so its end never counts; allowed: with transient or temporary"
        )
        found.append((("supervision", "significant"), sentence))
    for name in ("state", "message"):
        if getattr(manifest.limits, name) > manifest.limits.memory:
            sentence = f"more than the actor's memory of {show_size(manifest.limits.memory)}; allowed: up to that"
            found.append((("limits", name), sentence))
    return found


__all__ = [
    "Actor",
    "Backoff",
    "Build",
    "Chain",
    "Children",
    "Durability",
    "Handler",
    "Language",
    "Limits",
    "MailPolicy",
    "Manifest",
    "ManifestError",
    "Retention",
    "SecretSource",
    "Snapshot",
    "StatePolicy",
    "Supervision",
    "canonical",
    "from_canonical",
    "parse",
]
