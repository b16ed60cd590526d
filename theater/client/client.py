"""The operations of a server, one method each.

Every method waits at most its `timeout` (seconds) and raises the error that the server had, as the same class
(theater/errors.py); besides these `NoServer` when nobody answers and `TimedOut` when nobody did in time. An
`actor` is what a person would type: an id, a unique prefix of one, a registered name, or a unique name of a
manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from theater import config
from theater.client import answers
from theater.client.channels import Channel
from theater.client.link import Link, Outcome
from theater.client.route import find_route
from theater.core.codec import content_digest
from theater.errors import InvalidInput, NoServer, TimedOut, UnknownActor, WireError

if TYPE_CHECKING:
    from theater.client.deploy import Deployment

OnProgress = Callable[[str], None]

_LONG_POLL_S = 20.0
"""How long the server may keep a poll open before it says that there is nothing new."""

_SLACK_S = 5.0
"""How much longer the client waits than it told the server to, so that the server's own answer arrives."""

_PART = 1 << 19
"""Bytes of content that go over the network in one piece."""

_PAGE_EVENTS = 500
_PAGE_LOG_BYTES = 256 << 10


class Client:
    """A connection to one server; use it as a context manager, from one thread.

    Args:
        address: of the control socket, or the name of a known server; else $THEATER_ADDRESS, else that of the home.
        home: the server's home; else $THEATER_HOME, else the user's.
        server_key: of a server elsewhere, its public key; else as in theater/client/route.py.
        client_key: the name or file of one's own key for a server elsewhere; likewise.

    Nothing is opened, and nothing waits, before the first operation. After `NoServer` the client may be used
    again: the next operation looks for a server anew.

    Raises:
        InvalidInput: the address is none (SocketPathTooLong: or no kernel accepts it), or a key is not known.
        NotFound: there is no such server or key.
    """

    def __init__(
        self,
        address: str | None = None,
        home: str | Path | None = None,
        server_key: str | None = None,
        client_key: str | None = None,
    ) -> None:
        self.home = config.home(None if home is None else str(home))
        self._route = find_route(address, self.home, server_key, client_key)
        self.address = self._route.address
        self._link = Link(self._route)

    @property
    def is_remote(self) -> bool:
        """Whether the server is reached over the network: then its files are not those of this machine."""
        return self._route.is_remote

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives everything back; harmless when repeated."""
        self._link.close()

    def call(
        self, op: str, args: Mapping[str, Any], timeout: float = 30.0, on_progress: OnProgress | None = None
    ) -> Any:
        """Any operation of the control protocol (core/wire.py), with plain values in and out.

        Args:
            timeout: seconds.
            on_progress: is called with every line that the server says while it works.

        Raises:
            NoServer: nobody listens, or the server ended before it answered.
            TimedOut: no answer in time.
            TheaterError: what the server answered instead.
        """
        number = self._link.submit(op, dict(args), timeout, on_progress)
        try:
            return _value(self._link.outcome({number}))
        finally:
            self._link.forget({number})

    # ---- the server

    def hello(self, timeout: float = 30.0) -> answers.Hello:
        """Who answers at the address."""
        return answers.Hello.read(self.call("hello", {}, timeout))

    def stop_server(self, timeout: float = 60.0) -> None:
        """Ends the server in order and returns when its process is gone.

        Raises:
            TimedOut: it still runs after `timeout` seconds.
        """
        self.call("stop_server", {}, timeout)
        if not self._link.wait_gone(timeout):
            raise TimedOut(f"the server at {self.address} still runs after {timeout:g} s")

    def reload(self, timeout: float = 30.0) -> list[str]:
        """Has the server read its settings again; returns what was read.

        Raises:
            InvalidInput: something could not be read, and what was in force still is.
        """
        return [str(what) for what in self.call("reload", {}, timeout)["read"]]

    def checkpoint(self, actors: Iterable[str] = (), timeout: float = 30.0) -> answers.GivenCheckpoint:
        """A signed checkpoint of the server's own chain and those of `actors`, or of all if none is named."""
        return answers.GivenCheckpoint.read(self.call("checkpoint", {"actors": [*actors]}, timeout))

    def adopt(self, folder: str, timeout: float = 60.0) -> list[answers.Row]:
        """Makes the actors known that are in a folder of the home which `theater import` has made."""
        return [answers.Row.read(row) for row in self.call("adopt", {"folder": folder}, timeout)]

    def tree(self, timeout: float = 30.0) -> answers.Supervisor:
        """The supervision tree from its root."""
        return answers.Supervisor.read(self.call("tree", {}, timeout))

    def apply_tree(
        self,
        file: str | Path,
        *,
        prune: bool = False,
        restart_changed: bool = False,
        dry_run: bool = False,
        timeout: float = 600.0,
        on_progress: OnProgress | None = None,
    ) -> answers.Applied:
        """Changes the running tree to that of a file; builds and uploads what is needed first, as `start` does.

        Args:
            file: the tree file; manifests are beside it.
            prune: stops and removes what the file does not list, instead of keeping it.
            restart_changed: restarts children whose manifest or component has become another.
            dry_run: only says what would be done.
            timeout: seconds for the server to compile, stop and start.
            on_progress: is called with what is being done, for a person.

        Raises:
            ManifestError, ComponentError, BuildFailed, SpecError, NameTaken, WrongState: as it is the tree cannot be
                applied, and nothing was changed. What did not start is no error: it is in the answer.
        """
        from theater.client import deploy  # only a start needs manifests and builders, and they load slowly

        ready = deploy.prepare_tree(Path(file), on_progress or _ignore)
        contents = ready.contents
        for digest in self.have(contents):
            self.put(contents[digest].read_bytes())
        children = {
            name: {
                "manifest": child.manifest,
                "where": child.where,
                "component": child.component,
                "program": child.program,
                "init_state": child.init_state,
            }
            for name, child in ready.children.items()
        }
        args = {"tree": ready.tree, "where": ready.where, "children": children}
        how = {"prune": prune, "restart_changed": restart_changed, "dry_run": dry_run}
        return answers.Applied.read(self.call("tree_apply", {**args, **how}, timeout, on_progress))

    # ---- content

    def have(self, digests: Iterable[str], timeout: float = 30.0) -> frozenset[str]:
        """Which of `digests` (hex) the server's store lacks."""
        return frozenset(self.call("have", {"digests": sorted(set(digests))}, timeout))

    def put(self, content: bytes, timeout: float = 120.0) -> str:
        """Puts content into the server's store and returns its digest in hex."""
        if not self.is_remote:
            return str(self.call("put", {"content": content}, timeout))
        for offset in range(0, max(1, len(content)), _PART):
            self.call("put_part", {"offset": offset, "content": content[offset : offset + _PART]}, timeout)
        return str(self.call("put_end", {"digest": content_digest(content).hex()}, timeout))

    # ---- the life of actors

    def start(
        self,
        manifest: str | Path,
        *,
        name: str | None = None,
        init_state: bytes | None = None,
        timeout: float = 600.0,
        on_progress: OnProgress | None = None,
    ) -> answers.Row:
        """Starts the actor of a manifest on disk: builds its component if that is missing or older than its
        source, uploads what the server lacks, and waits until the actor's init has succeeded.

        Args:
            manifest: the file, or a folder with a `manifest.toml`.
            name: the actor's name, instead of what its manifest says.
            init_state: the first state, instead of the manifest's.
            timeout: seconds for the server to compile and start; building comes before and takes what it takes.
            on_progress: is called with what is being done, for a person.

        Raises:
            ManifestError: the manifest is wrong or cannot be read.
            BuildFailed: its source could not be built, or the component not be compiled.
            ComponentError: the component is missing, or no component that this server runs.
            StartFailed: the actor's init failed.
            NameTaken: the name is another actor's.
        """
        from theater.client import deploy  # only a start needs manifests and builders, and they load slowly

        ready = deploy.prepare(Path(manifest), on_progress or _ignore)
        for digest in self.have(ready.contents):
            self.put(ready.contents[digest].read_bytes())
        return self.start_prepared(ready, name=name, init_state=init_state, timeout=timeout, on_progress=on_progress)

    def start_prepared(
        self,
        ready: Deployment,
        *,
        name: str | None = None,
        init_state: bytes | None = None,
        timeout: float = 600.0,
        on_progress: OnProgress | None = None,
    ) -> answers.Row:
        """Starts what `deploy.prepare` found; its contents must be in the server's store."""
        args = {
            "manifest": ready.manifest,
            "where": ready.where,
            "component": ready.component,
            "program": ready.program,
            "init_state": ready.init_state if init_state is None else init_state,
            "parent": None,
            "name": name,
        }
        return answers.Row.read(self.call("start", args, timeout, on_progress))

    def stop(self, actor: str, *, remove: bool = False, timeout: float = 60.0) -> answers.Row:
        """Stops an actor by its shutdown rule; `remove` also takes it out of the server's books."""
        return answers.Row.read(self.call("stop", {"actor": actor, "remove": remove}, timeout))

    def restart(self, actor: str, timeout: float = 60.0) -> answers.Row:
        """Ends the actor's incarnation and starts the next one by its state policy."""
        return answers.Row.read(self.call("restart", {"actor": actor}, timeout))

    # ---- looking

    def list(self, timeout: float = 30.0) -> tuple[answers.Row, ...]:
        """All actors in the order of their start."""
        return answers.read_list(answers.Row, self.call("list", {}, timeout))

    def inspect(self, actor: str, timeout: float = 30.0) -> answers.Inspection:
        """All that the server knows of one actor."""
        return answers.Inspection.read(self.call("inspect", {"actor": actor}, timeout))

    def why(self, actor: str | None = None, timeout: float = 30.0) -> dict[str, Any]:
        """What an actor waits for, who waits for it, and why it is not up if it is not; without an actor everything on
        the server that is stuck or suspicious (docs/control.md, "Why")."""
        return dict(self.call("why", {"actor": actor}, timeout))

    def state(self, actor: str, timeout: float = 30.0) -> answers.State:
        """The actor's state after its last committed call."""
        return answers.State.read(self.call("state", {"actor": actor}, timeout))

    def events(
        self,
        actor: str,
        since: int = 0,
        *,
        limit: int = _PAGE_EVENTS,
        types: Sequence[str] = (),
        wait: float = 0.0,
        resolve: bool = True,
        timeout: float = 30.0,
    ) -> answers.Events:
        """A page of an actor's chain, oldest first.

        Args:
            actor: as everywhere, or `supervisor` for the server's own chain.
            since: the first sequence number, or -N for the last N entries.
            limit: most events of the page; the server may give fewer.
            types: kinds of entries; empty means all.
            wait: seconds to wait for something new when there is nothing.
            resolve: puts payloads that lie in the store in the place of their digests.
        """
        args = _events_args(actor, since, limit, types, wait, resolve)
        return answers.Events.read(self.call("events", args, timeout + wait))

    def logs(
        self, actor: str, since: int = 0, *, limit: int = _PAGE_LOG_BYTES, wait: float = 0.0, timeout: float = 30.0
    ) -> answers.Logs:
        """A page of an actor's log.

        Args:
            since: a position that an earlier page gave as `next`, 0 for the start, or -N for the last N lines.
            limit: bytes.
            wait: seconds to wait for something new when there is nothing.
        """
        return answers.Logs.read(self.call("logs", _logs_args(actor, since, limit, wait), timeout + wait))

    def read_events(
        self, actor: str, since: int = 0, *, types: Sequence[str] = (), resolve: bool = True
    ) -> Iterator[answers.Event]:
        """All entries of a chain from `since` on, as far as it goes now; arguments as of `events`."""
        while True:
            page = self.events(actor, since, types=types, resolve=resolve)
            yield from page.events
            if page.next == since:
                return
            since = page.next

    def read_logs(self, actor: str, since: int = 0) -> Iterator[answers.LogLine]:
        """All lines of a log from `since` on (as of `logs`), as far as it goes now."""
        while True:
            page = self.logs(actor, since)
            yield from page.lines
            if page.next == since or not page.lines:
                return
            since = page.next

    def follow_events(
        self, actors: str | Mapping[str, int], since: int = 0, *, types: Sequence[str] = (), resolve: bool = True
    ) -> Iterator[tuple[str, answers.Event]]:
        """Entries of one or several chains as they are written, each with its actor's id; those of one actor in order.

        Args:
            actors: one actor, followed from `since`; or several, each with its first sequence number (-N: the last N
                entries).

        It goes on over restarts of an actor and ends when the server does, or when all actors were removed.

        Raises:
            NoServer, UnknownActor, AmbiguousActor: there is nothing to follow from the beginning.
        """

        def ask(actor: str, position: int) -> dict[str, Any]:
            return _events_args(actor, position, _PAGE_EVENTS, types, _LONG_POLL_S, resolve)

        starts = {actors: since} if isinstance(actors, str) else actors
        for value in self._follow("events", starts, ask):
            page = answers.Events.read(value)
            for event in page.events:
                yield page.id, event

    def follow_logs(self, actors: str | Mapping[str, int], since: int = 0) -> Iterator[tuple[str, answers.LogLine]]:
        """Lines of one or several logs as they are written, each with its actor's id; as `follow_events`.

        Args:
            actors: one actor, followed from `since`; or several, each with its position (-N: the last N lines).
        """

        def ask(actor: str, position: int) -> dict[str, Any]:
            return _logs_args(actor, position, _PAGE_LOG_BYTES, _LONG_POLL_S)

        starts = {actors: since} if isinstance(actors, str) else actors
        for value in self._follow("logs", starts, ask):
            page = answers.Logs.read(value)
            for line in page.lines:
                yield page.id, line

    # ---- messages

    def send(self, actor: str, body: bytes, timeout: float = 30.0) -> str:
        """Hands a message to an actor and returns the actor's id once it has been taken."""
        return self._message(actor, body, False, timeout).id

    def request(self, actor: str, body: bytes, timeout: float = 30.0) -> bytes:
        """Sends a message and waits for the reply.

        Raises:
            ActorFailed: the actor answered with an error.
            ActorDown: it ended, or is not running.
            TimedOut: no reply within `timeout` seconds.
            MailboxFull, MessageTooLarge: the message was not taken.
        """
        return self._message(actor, body, True, timeout).reply or b""

    def _message(self, actor: str, body: bytes, request: bool, timeout: float) -> answers.Delivery:
        args = {"actor": actor, "body": body, "request": request, "timeout_ms": int(timeout * 1000)}
        return answers.Delivery.read(self.call("message", args, timeout + _SLACK_S))

    # ---- channels

    def open_channel(self, actor: str, message: bytes = b"", timeout: float = 30.0) -> Channel:
        """Opens a channel to an actor with a first message, and returns it when the actor has accepted. Its first
        answer, if it gives one, is the first message that comes on the channel.

        The channel belongs to this client, and is used from its thread. It is closed when the client is.

        Raises:
            ActorFailed: the actor refused; the sentence says why.
            ActorDown, TimedOut, MailboxFull, MessageTooLarge: as of `request`.
        """
        args = {"actor": actor, "message": message, "timeout_ms": int(timeout * 1000)}
        opened = answers.Opened.read(self.call("channel_open", args, timeout + _SLACK_S))
        return Channel(self._link, opened)

    def channels(self, actor: str | None = None, timeout: float = 30.0) -> tuple[answers.ChannelRow, ...]:
        """The open channels between clients and actors, or one actor, in the order of their opening."""
        return answers.read_list(answers.ChannelRow, self.call("channels", {"actor": actor}, timeout))

    # ---- dead letters

    def dead_letters(self, timeout: float = 30.0) -> tuple[answers.DeadLetter, ...]:
        """The messages that nobody took, oldest first."""
        found = self.call("dead_letters", {"action": "list", "numbers": []}, timeout)
        return answers.read_list(answers.DeadLetter, found)

    def resend_dead_letters(self, numbers: Sequence[int], timeout: float = 30.0) -> tuple[int, ...]:
        """Sends dead letters to their receivers again; the numbers of those that were taken."""
        return self._settle("resend", numbers, timeout)

    def drop_dead_letters(self, numbers: Sequence[int], timeout: float = 30.0) -> tuple[int, ...]:
        """Deletes dead letters; the numbers of those that are gone."""
        return self._settle("drop", numbers, timeout)

    def _settle(self, action: str, numbers: Sequence[int], timeout: float) -> tuple[int, ...]:
        answer = self.call("dead_letters", {"action": action, "numbers": [*numbers]}, timeout)
        if not isinstance(answer, dict) or not isinstance(answer.get("done"), list):
            raise WireError("the server did not say which dead letters are done; is it of another version?")
        return tuple(answer["done"])

    # ---- long polls

    def _follow(
        self, op: str, starts: Mapping[str, int], ask: Callable[[str, int], dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """The answers of endless long polls on several actors, as they come.

        One poll of each actor is out at any time. Once an actor has answered, its disappearance is an end and
        no error; the same goes for the server.
        """
        if not starts:
            raise InvalidInput("there is no actor to follow")
        timeout = _LONG_POLL_S + _SLACK_S
        polls = {self._link.submit(op, ask(actor, since), timeout): actor for actor, since in starts.items()}
        known: set[str] = set()
        try:
            while polls:
                outcome = self._link.outcome(polls.keys())
                actor = polls.pop(outcome.number)
                if _is_end(outcome, actor in known):
                    continue
                value = _value(outcome)
                known.add(actor)
                yield value
                again = self._poll_again(op, ask(value["id"], value["next"]), timeout)
                if again is not None:
                    polls[again] = actor
        finally:
            self._link.forget(polls.keys())

    def _poll_again(self, op: str, args: dict[str, Any], timeout: float) -> int | None:
        try:
            return self._link.submit(op, args, timeout)
        except NoServer:
            return None


def _events_args(
    actor: str, since: int, limit: int, types: Sequence[str], wait: float, resolve: bool
) -> dict[str, Any]:
    return {
        "actor": actor,
        "since": since,
        "limit": limit,
        "types": [*types],
        "wait_ms": int(wait * 1000),
        "resolve": resolve,
    }


def _logs_args(actor: str, since: int, limit: int, wait: float) -> dict[str, Any]:
    return {"actor": actor, "since": since, "limit": limit, "wait_ms": int(wait * 1000)}


def _is_end(outcome: Outcome, was_known: bool) -> bool:
    """Whether a poll ended since what it followed has ended: the server, or an actor that was removed."""
    return was_known and isinstance(outcome.error, NoServer | UnknownActor)


def _value(outcome: Outcome) -> Any:
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def _ignore(text: str) -> None:
    """Nobody is told."""
