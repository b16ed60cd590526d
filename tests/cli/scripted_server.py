"""A process that speaks the control protocol with canned answers: `python scripted_server.py ADDRESS`.

It does what a real server cannot be made to do at a given moment: answer too late, never, in a broken frame, or die
in the middle. Two actors, a counter and a pinger, exist from the beginning. A message to one becomes a `call` in
its chain; some bodies are orders to this script (`_message`). It prints `ready` once it listens.
"""

from __future__ import annotations

import os
import select
import sys
import time
from typing import Any

from theater.bus.doors import Door, Porter, local_door
from theater.bus.sockets import Context
from theater.core import wire
from theater.core.codec import content_digest
from theater.core.ids import Known, resolve
from theater.core.signed_checkpoint import Signer
from theater.errors import ActorFailed, TheaterError

COUNTER = "c0000000-0000-4000-8000-000000000001"
PINGER = "f0000000-0000-4000-8000-000000000002"
KILLED = {"reason": "killed", "detail": "it did not stop", "signal": 9, "status": None, "commanded": False}


class Script:
    def __init__(self, door: Door, porter: Porter) -> None:
        self.door = door
        self.porter = porter
        self.rows = {
            COUNTER: _row(COUNTER, "counter", 4242, None),
            PINGER: _row(PINGER, "ping\x1b[31mer", None, KILLED),
        }
        self.chains = {actor: [_event(0, "genesis", {"actor": actor})] for actor in self.rows}
        self.letters = {1: _letter(1), 2: _letter(2)}
        self.content: dict[str, bytes] = {}
        self.polls: list[tuple[bytes, wire.Request, float]] = []
        self.late: list[tuple[bytes, wire.Message]] = []

    def run(self) -> None:
        while True:
            select.select([self.door, self.porter], [], [], 0.02)
            self.porter.answer()
            while (heard := self.door.receive()) is not None:
                self.hear(heard.peer, heard.frame)
            self.answer_polls()

    def hear(self, peer: bytes, frame: bytes) -> None:
        request = wire.decode(frame)
        assert isinstance(request, wire.Request)
        late, self.late = self.late, []
        for whom, message in late:
            self.door.send(whom, wire.encode(message))
        try:
            self.carry_out(peer, request)
        except TheaterError as error:
            self.send(peer, wire.Failure(request.id, error.to_wire()))

    def carry_out(self, peer: bytes, request: wire.Request) -> None:
        if request.op == "message":
            self._message(peer, request)
        elif request.op in ("events", "logs"):
            self.polls.append((peer, request, time.monotonic() + request.args["wait_ms"] / 1000))
            self.answer_polls()
        else:
            if request.op == "start":
                self.send(peer, wire.Progress(request.id, "compiling"))
            value = getattr(self, f"_{request.op}")(**request.args)
            self.send(peer, wire.Reply(request.id, value))
            if request.op == "stop_server":
                self.door.close(linger_ms=500)
                sys.exit(0)

    def send(self, peer: bytes, message: wire.Message) -> None:
        self.door.send(peer, wire.encode(message))

    def answer_polls(self) -> None:
        now = time.monotonic()
        for poll in list(self.polls):
            peer, request, until = poll
            try:
                value = getattr(self, f"_{request.op}")(**request.args)
            except TheaterError as error:
                self.polls.remove(poll)
                self.send(peer, wire.Failure(request.id, error.to_wire()))
                continue
            if value["events" if request.op == "events" else "lines"] or now >= until:
                self.polls.remove(poll)
                self.send(peer, wire.Reply(request.id, value))

    def find(self, words: str) -> str:
        return resolve(words, (Known(row["id"], row["name"], frozenset({row["name"]})) for row in self.rows.values()))

    def _message(self, peer: bytes, request: wire.Request) -> None:
        actor, body = self.find(request.args["actor"]), request.args["body"]
        chain = self.chains[actor]
        call = {"interface": "theater:simple/message-server-client", "function": "handle-request", "args": [body]}
        chain.append(_event(len(chain), "call", call))
        self.rows[actor]["entries"] = len(chain)
        reply = wire.Reply(request.id, {"id": actor, "reply": body if request.args["request"] else None})
        match body:
            case b"die":
                os._exit(1)
            case b"say nothing":
                pass
            case b"answer late":
                self.late.append((peer, reply))
            case b"fail":
                raise ActorFailed("the counter cannot count this", actor=actor)
            case b"speak in tongues":
                self.door.send(peer, b"\x00 not a frame")
            case b"remove":
                del self.rows[actor]
                self.send(peer, reply)
            case _:
                self.send(peer, reply)

    def _hello(self) -> dict[str, Any]:
        facts = {"version": "0.1.0", "protocol": 1, "pid": os.getpid(), "started_ms": 0, "actors": 2, "refused": 0}
        return facts | {"home": os.environ["THEATER_HOME"]}

    def _checkpoint(self, actors: list[str]) -> dict[str, Any]:
        positions = {self.find(actor): (1, bytes(32)) for actor in actors or self.rows}
        given = Signer(bytes(32)).sign(bytes(32), {"supervisor": (1, bytes(32)), **positions}, 10**18)
        return {"text": given.text, "key": given.key.hex(), "time_ns": given.time_ns}

    def _have(self, digests: list[str]) -> list[str]:
        return [digest for digest in digests if digest not in self.content]

    def _put(self, content: bytes) -> str:
        digest = content_digest(content).hex()
        self.content[digest] = content
        return digest

    def _start(self, component: str, name: str | None, init_state: bytes | None, **rest: Any) -> dict[str, Any]:
        assert component in self.content
        row = _row("50000000-0000-4000-8000-000000000003", name or "started", 4244, None)
        self.rows[row["id"]] = row
        self.chains[row["id"]] = [_event(0, "genesis", {"actor": row["id"]})]
        return row

    def _stop(self, actor: str, remove: bool) -> dict[str, Any]:
        return self.rows[self.find(actor)] | {"state": "stopped", "pid": None}

    def _restart(self, actor: str) -> dict[str, Any]:
        return self.rows[self.find(actor)] | {"restarts": 1}

    def _list(self) -> list[dict[str, Any]]:
        return list(self.rows.values())

    def _inspect(self, actor: str) -> dict[str, Any]:
        facts = {"registered": ["counter"], "manifest": {"name": "counter"}, "component": "counter.wasm"}
        facts |= {"component_digest": "ab" * 32, "program_digest": None, "mode": "bytes", "memory": 3 << 20}
        facts |= {"started_ms": 0, "state_size": 17, "supervision": {"restart": "permanent"}, "dead_letters": 0}
        facts |= {"services": {"gateway": {"listens": ["127.0.0.1:8080", "127.0.0.1:8443"]}}}
        return self.rows[self.find(actor)] | facts | {"call": None}

    def _why(self, actor: str | None) -> dict[str, Any]:
        if actor is None:
            facts = {"actors": 2, "in_calls": 1, "looked_at": 1, "circles": [], "services_down": ["gateway"]}
            return facts | {"dead_letters": 2, "suspicious": [self._why(PINGER)]}
        row = self.rows[self.find(actor)]
        wait = {"who": row["id"], "kind": "reply", "for": "the reply of b", "on": None, "entry": 3}
        told = {name: row[name] for name in ("id", "name", "state", "incarnation", "pid")}
        told |= {"activity": "waiting", "since_ns": None, "call": None, "waits": wait, "path": [wait], "circle": None}
        told |= {"waiters": [], "held_up": 0, "mailbox": {"waiting": 0, "room": 9, "outside": 0}, "bonds": {}}
        told |= {"sentences": ["it waits for the reply of \x1b[2Jb"], "advice": ["`theater why b`"], "attempt_ns": None}
        return told | {"unreadable": None, "last": self.chains[row["id"]]}

    def _state(self, actor: str) -> dict[str, Any]:
        found = self.find(actor)
        state = b'{"count": 2}\x1b[2J' if found == COUNTER else None
        return {"id": found, "state": state, "digest": state and "cd" * 32, "seq": 3}

    def _events(self, actor: str, since: int, limit: int, types: list[str], **rest: Any) -> dict[str, Any]:
        found = self.find(actor)
        since = max(0, len(self.chains[found]) + since) if since < 0 else since
        chain = self.chains[found][since:][:limit]
        events = [event for event in chain if not types or event["type"] in types]
        return {"id": found, "events": events, "next": since + len(chain)}

    def _logs(self, actor: str, since: int, **rest: Any) -> dict[str, Any]:
        lines = [{"time_ns": 10**9, "incarnation": 1, "stream": "log", "text": text} for text in ("one", "t\x1b[2Jwo")]
        start = max(0, 2 + since) if since < 0 else since
        return {"id": self.find(actor), "lines": lines[start:], "next": 2}

    def _dead_letters(self, action: str, numbers: list[int]) -> object:
        if action == "list":
            return list(self.letters.values())
        return {"done": [number for number in numbers if self.letters.pop(number, None)]}

    def _tree(self) -> dict[str, Any]:
        pool = _supervisor("pool", "one_for_all", [_member(self.rows[PINGER])])
        return _supervisor("root", "one_for_one", [_member(self.rows[COUNTER]), pool])

    def _tree_apply(
        self, tree: str, children: dict[str, Any], prune: bool, restart_changed: bool, dry_run: bool, **rest: Any
    ) -> dict[str, Any]:
        assert all(child["component"] in self.content for child in children.values())
        failed = ActorFailed("its init failed").to_wire() | {"error": "StartFailed"}
        rows = [_applied("root", "supervisor", None, "changed", ["intensity", "period"])]
        rows += [_applied(name, "child", "pool", "added", []) for name in children]
        rows += [_applied("pool", "supervisor", "root", "unchanged", [])]
        rows += [_applied("fails", "child", "root", "added", [], failed)] if restart_changed else []
        rows += [_applied("old", "child", "root", "pruned" if prune else "kept", [])]
        return {"dry_run": dry_run, "rows": rows if tree.strip() else []}

    def _stop_server(self) -> dict[str, Any]:
        return {"stopping": True}


def _row(actor: str, name: str, pid: int | None, last_exit: object) -> dict[str, Any]:
    row = {"id": actor, "name": name, "state": "running" if pid else "failed", "incarnation": 1, "restarts": 0}
    row |= {"pid": pid, "parent": None, "supervisor": "root", "mailbox": 0, "head": "00" * 32, "entries": 1}
    return row | {"last_exit": last_exit}


def _event(seq: int, kind: str, data: object) -> dict[str, Any]:
    digest, previous = f"{seq + 1:064x}", f"{seq:064x}"
    return {"seq": seq, "type": kind, "time_ns": 10**18, "digest": digest, "previous": previous, "data": data}


def _letter(number: int) -> dict[str, Any]:
    letter = {"number": number, "time_ns": 10**18, "sender": COUNTER, "receiver": "nobody", "why": "no such actor"}
    return letter | {"size": 2, "body": b"\xff\x00"}


def _applied(
    name: str, kind: str, under: str | None, done: str, changed: list[str], error: object = None
) -> dict[str, Any]:
    row = {"name": name, "kind": kind, "under": under, "id": None, "done": done}
    return row | {"changed": changed, "error": error}


def _supervisor(name: str, strategy: str, children: list[Any]) -> dict[str, Any]:
    flags = {"name": name, "strategy": strategy, "intensity": 3, "period": 5, "auto_shutdown": "never"}
    flags |= {"backoff": None, "max_children": None, "stop": "sequential", "stop_deadline": None}
    life = {"restart": "permanent", "incarnation": 1, "restarts": 0, "recent": 0, "last_exit": None}
    return flags | life | {"state": "running", "children": children}


def _member(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"due": False, "family": None}


if __name__ == "__main__":
    context = Context()
    porter = Porter(context, lambda knock: "anybody")
    door = local_door(context, "scripted", sys.argv[1], largest=wire.MAX_FRAME, queue=1000)
    door.bind()
    print("ready", flush=True)
    Script(door, porter).run()
