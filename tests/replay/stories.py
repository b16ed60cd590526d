"""Chains of several actors that tell one story, written without running anything; and stories that do not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from theater.core.chain import Call, Encoder, Genesis, HostCall, HostResult, Kind, Lifecycle, outcome_ok
from theater.core.codec import content_digest, pack
from theater.core.handlers import (
    MESSAGE_SERVER_CLIENT,
    MESSAGE_SERVER_HOST,
    REQUESTS,
    SUPERVISOR,
    TIMERS,
)
from theater.core.ids import channel_id, child_id
from theater.core.manifest import canonical, parse
from theater.core.values import Err, Ok
from theater.store.content import ContentStore

MANIFEST = 'name = "a"\ncomponent = "a.wasm"\n'


@dataclass
class Story:
    """Actors and what they do to each other, in order.

    Args:
        folder: where the chains are written.
        lies: what is recorded otherwise than it was: the next claim, or the next genesis, gets these fields.
    """

    folder: Path
    lies: dict[str, Any] = field(default_factory=dict)
    chains: dict[str, Encoder] = field(default_factory=dict)
    written: dict[str, bytearray] = field(default_factory=dict)
    now: int = 0
    children: int = 0
    messages: int = 0

    @property
    def content(self) -> ContentStore:
        return ContentStore(self.folder / "content")

    @property
    def paths(self) -> dict[str, Path]:
        """The chains as files; each has gone on for a while after everything else."""
        found = {}
        for actor in self.chains:
            self.entry(actor, Kind.LIFECYCLE, Lifecycle("ended", {}))
        for actor, data in self.written.items():
            path = self.folder / actor / "chain"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            found[actor] = path
        return found

    def entry(self, actor: str, kind: Kind, payload: Any) -> bytes:
        """Appends an entry; returns its digest."""
        self.now += 1
        record, digest = self.chains[actor].entry(kind, payload, self.now)
        self.written[actor] += record
        return digest

    def begin(self, actor: str, parent: str | None = None, head: bytes | None = None, **facts: Any) -> None:
        manifest = bytes.fromhex(self.content.put(pack(canonical(parse(MANIFEST, "m")))))
        self.chains[actor] = Encoder(put=self.content.put)
        self.written[actor] = bytearray()
        fields = {"parent": parent, "parent_head": head, **facts, **self._lie()}
        made_of = {"manifest": manifest, **{key: fields.pop(key) for key in ("manifest",) if key in fields}}
        genesis = Genesis(actor, "a", component=None, wrapper=None, engine={}, **made_of, **fields)
        self.entry(actor, Kind.GENESIS, genesis)

    def spawn(
        self,
        parent: str,
        given: str = "m.toml",
        state: bytes | None = None,
        *,
        resume: bool = False,
        fails: bool = False,
    ) -> str:
        function = "resume" if resume else "spawn"
        number = self.chains[parent].entries
        origin = self.entry(parent, Kind.HOST_CALL, HostCall(SUPERVISOR, function, [given, state]))
        child = child_id(origin, number)
        if not fails:
            initial = content_digest(state) if state is not None else None
            self.begin(child, parent, origin, resumed=resume, initial=initial)
            self.children += 1
        answer = Err("it did not start") if fails else Ok(child)
        self.entry(parent, Kind.HOST_RESULT, HostResult(answer))
        return child

    def send(self, sender: str, to: str, body: bytes, by: str | None = None) -> None:
        cause = self.entry(sender, Kind.HOST_CALL, HostCall(MESSAGE_SERVER_HOST, "send", [by or to, body]))
        self.entry(sender, Kind.HOST_RESULT, HostResult(Ok(None)))
        self._handle(to, "handle-send", [body], cause, sender, None)
        self.entry(to, Kind.OUTCOME, outcome_ok([], None, None))
        self.messages += 1

    def remind(self, actor: str, body: bytes) -> None:
        """A timer, which goes off twice."""
        cause = self.entry(actor, Kind.HOST_CALL, HostCall(TIMERS, "send-interval", [5, body]))
        self.entry(actor, Kind.HOST_RESULT, HostResult(1))
        for _ in range(2):
            self._handle(actor, "handle-send", [body], cause, actor, None)
            self.entry(actor, Kind.OUTCOME, outcome_ok([], None, None))
            self.messages += 1

    def ask(
        self, sender: str, to: str, body: bytes, reply: bytes, by: str | None = None, *, later: bool = False
    ) -> None:
        """A request and its reply, which is the end of the call, or is given later."""
        interface, function = (REQUESTS, "request-timeout") if later else (MESSAGE_SERVER_HOST, "request")
        asked = self.entry(sender, Kind.HOST_CALL, HostCall(interface, function, [by or to, body]))
        request = f"request-{self.chains[to].entries}"
        self._handle(to, "handle-request", [request, body], asked, sender, request)
        if later:
            self.entry(to, Kind.OUTCOME, outcome_ok([None], None, None))
            answer = [request, reply]
            cause = self.entry(to, Kind.HOST_CALL, HostCall(MESSAGE_SERVER_HOST, "respond-to-request", answer))
            self.entry(to, Kind.HOST_RESULT, HostResult(Ok(None)))
        else:
            cause = self.entry(to, Kind.OUTCOME, outcome_ok([reply], None, None))
        lie = self._lie()
        value = Ok(lie.get("reply", reply))
        self.entry(sender, Kind.HOST_RESULT, HostResult(value, lie.get("cause", cause)))
        self.messages += 2

    def open(self, opener: str, to: str, body: bytes, answer: bytes | None = None, by: str | None = None) -> str:
        """A channel that is accepted, with or without a first answer; its id."""
        number = self.chains[opener].entries
        asked = self.entry(opener, Kind.HOST_CALL, HostCall(MESSAGE_SERVER_HOST, "open-channel", [by or to, body]))
        channel = channel_id(asked, number)
        accepted = self.lies.pop("accepted", True)
        self._handle(to, "handle-channel-open", [channel, body], asked, opener, None)
        cause = self.entry(to, Kind.OUTCOME, outcome_ok([{"accepted": accepted, "message": answer}], None, None))
        lie = self._lie() if "reply" in self.lies else {}
        self.entry(opener, Kind.HOST_RESULT, HostResult(Ok(channel), lie.get("cause", cause)))
        self.messages += 2
        if answer is not None:
            self._handle(opener, "handle-channel-message", [channel, answer], cause, to, None)
            self.entry(opener, Kind.OUTCOME, outcome_ok([], None, None))
            self.messages += 1
        return channel

    def say(self, speaker: str, to: str, channel: str, body: bytes, heard_on: str | None = None) -> None:
        """A message on a channel.

        Args:
            heard_on: the channel on which it is said to have come.
        """
        said = HostCall(MESSAGE_SERVER_HOST, "send-on-channel", [channel, body])
        cause = self.entry(speaker, Kind.HOST_CALL, said)
        self.entry(speaker, Kind.HOST_RESULT, HostResult(Ok(None)))
        self._handle(to, "handle-channel-message", [heard_on or channel, body], cause, speaker, None)
        self.entry(to, Kind.OUTCOME, outcome_ok([], None, None))
        self.messages += 1

    def close(self, closer: str, to: str, channel: str) -> None:
        cause = self.entry(closer, Kind.HOST_CALL, HostCall(MESSAGE_SERVER_HOST, "close-channel", [channel]))
        self.entry(closer, Kind.HOST_RESULT, HostResult(Ok(None)))
        self._handle(to, "handle-channel-close", [channel], cause, closer, None)
        self.entry(to, Kind.OUTCOME, outcome_ok([], None, None))
        self.messages += 1

    def _handle(
        self, actor: str, function: str, args: list[Any], cause: bytes, sender: str, request: str | None
    ) -> None:
        lie = {} if "reply" in self.lies else self._lie()
        call = Call(
            MESSAGE_SERVER_CLIENT,
            function,
            [*args[:-1], lie.get("body", args[-1])],
            lie.get("cause", cause),
            lie.get("sender", sender),
            request,
        )
        self.entry(actor, Kind.CALL, call)

    def _lie(self) -> dict[str, Any]:
        lie, self.lies = self.lies, {}
        return lie
