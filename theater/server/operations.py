"""What clients can ask a server for. See docs/control.md for arguments and answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from theater.chainlog import actor_log
from theater.core import manifest as manifests
from theater.core.chain import Kind
from theater.core.manifest import DAY, Manifest
from theater.core.tree_file import parse as parse_tree
from theater.core.verification import SUPERVISOR
from theater.core.wire import VERSION
from theater.errors import ActorDown, InvalidInput, TheaterError, UnknownContent
from theater.server import adoption
from theater.server.control import Arguments, Caller, Operation
from theater.server.graft import Graft, Wishes
from theater.server.house import House
from theater.server.pages import Pages
from theater.server.reload import require_success
from theater.server.uploads import Uploads
from theater.server.vigil import note_growth
from theater.server.wishes import Role, application, role_of_child

_EVENTS_MAX = 5000


class Operations:
    """The operations of one server.

    Args:
        house: everything that the server consists of.
        on_stop: ends the server.
    """

    def __init__(self, house: House, on_stop: Callable[[], None]) -> None:
        self._house = house
        self._on_stop = on_stop
        self._pages = Pages(house.content.get)
        self._uploads = Uploads(house.home.run, house.loop, house.put)

    def table(self) -> dict[str, Operation]:
        """Operation by name."""
        names = (
            "hello have put put_part put_end start stop restart list inspect why state events logs message "
            "dead_letters channels channel_open channel_send channel_receive channel_close "
            "tree tree_apply checkpoint adopt reload stop_server"
        )
        return {name: getattr(self, f"_{name}") for name in names.split()}

    # ---- the server

    def _hello(self, args: Arguments, caller: Caller) -> None:
        house = self._house
        caller.reply(
            {
                "version": house.version,
                "protocol": VERSION,
                "pid": os.getpid(),
                "home": str(house.home.root),
                "started_ms": house.started_ms,
                "actors": len(house.cast.actors),
                "refused": house.refused(),
                "processes": {**house.nursery.processes(), "services": house.services.view()},
                "key": house.ledger.key,
                "remote": house.gate.view() if house.gate is not None else None,
                "control_groups": house.groups.text,
                "walls": house.nursery.warden.walls,
            }
        )

    def _checkpoint(self, args: Arguments, caller: Caller) -> None:
        house = self._house
        words = args.items("actors", str)
        actors = [house.find(each) for each in words] if words else list(house.cast)
        for actor in actors:
            note_growth(actor)
        given = house.ledger.give_checkpoint(actors)
        caller.reply({"text": given.text, "key": given.key.hex(), "time_ns": given.time_ns})

    def _adopt(self, args: Arguments, caller: Caller) -> None:
        house = self._house
        house.lives.refuse_while_stopping()
        adopted = adoption.adopt(house.cast, args.text("folder"))
        for actor in adopted:
            house.ledger.event("imported", {"actor": actor.id, "name": actor.manifest.name})
        house.ledger.checkpoint(adopted)
        caller.reply([house.view.row(actor) for actor in adopted])

    def _reload(self, args: Arguments, caller: Caller) -> None:
        done = self._house.reload.carry_out()
        require_success(done)
        caller.reply({"read": [step.what for step in done]})

    def _stop_server(self, args: Arguments, caller: Caller) -> None:
        caller.reply({"stopping": True})
        self._on_stop()

    # ---- the tree

    def _tree(self, args: Arguments, caller: Caller) -> None:
        caller.reply(self._house.tree_view.whole())

    def _tree_apply(self, args: Arguments, caller: Caller) -> None:
        where = args.text("where")
        rows = parse_tree(args.text("tree"), where)
        children = args.table("children")
        missing = {row.name for row in rows.children} ^ set(children.names())
        if missing:
            raise InvalidInput(f"the children of the request and of the tree differ: {', '.join(sorted(missing))}")
        roles = {row.name: self._role_of_child(row.name, children.table(row.name)) for row in rows.children}
        wishes = Wishes(args.flag("prune"), args.flag("restart_changed"), args.flag("dry_run"))

        def done(told: list[dict[str, Any]]) -> None:
            caller.reply({"dry_run": wishes.dry_run, "rows": told})

        wished = application(where, rows, roles)
        self._house.grafts.add(Graft(self._house.grove, wished, wishes, done, caller.fail, caller.progress))

    def _role_of_child(self, name: str, args: Arguments) -> Role:
        component, program, initial = self._contents(args)
        return role_of_child(name, args.text("manifest"), args.text("where"), component, program, initial)

    def _contents(self, args: Arguments) -> tuple[str, str | None, str | None]:
        """Component, program and initial state of an actor to be, all in the store."""
        component, program = args.text_or_none("component"), args.text_or_none("program")
        if component is None:
            raise InvalidInput("a start needs the digest of a component; put its content first")
        for digest in (component, program):
            if digest is not None and not self._house.content.exists(digest):
                raise UnknownContent(f"the store has no content {digest}; put it first")
        init_state = args.data_or_none("init_state")
        return component, program, self._house.put(init_state) if init_state is not None else None

    # ---- content

    def _have(self, args: Arguments, caller: Caller) -> None:
        caller.reply([digest for digest in args.items("digests", str) if not self._house.content.exists(digest)])

    def _put(self, args: Arguments, caller: Caller) -> None:
        caller.reply(self._house.put(args.data("content")))

    def _put_part(self, args: Arguments, caller: Caller) -> None:
        caller.reply(self._uploads.add(caller.peer, args.number("offset", 0), args.data("content")))

    def _put_end(self, args: Arguments, caller: Caller) -> None:
        caller.reply(self._uploads.end(caller.peer, args.text("digest")))

    # ---- lives of actors

    def _start(self, args: Arguments, caller: Caller) -> None:
        house = self._house
        manifest = manifests.parse(args.text("manifest"), args.text("where"))
        name = args.text_or_none("name")
        if name is not None:
            manifest = _renamed(manifest, name)
        role = Role(manifest, args.text("where"), *self._contents(args))
        house.lives.start(role, lambda actor: caller.reply(house.view.row(actor)), caller.fail, caller.progress)

    def _stop(self, args: Arguments, caller: Caller) -> None:
        actor = self._house.find(args.text("actor"))
        remove = args.flag("remove")

        def stopped() -> None:
            row = self._house.view.row(actor)
            try:
                if remove:
                    self._house.lives.remove(actor)
            except TheaterError as error:
                caller.fail(error)
            else:
                caller.reply(row)

        self._house.lives.stop(actor, stopped, caller.fail)

    def _restart(self, args: Arguments, caller: Caller) -> None:
        actor = self._house.find(args.text("actor"))
        self._house.lives.restart(actor, lambda: caller.reply(self._house.view.row(actor)), caller.fail)

    # ---- looking

    def _list(self, args: Arguments, caller: Caller) -> None:
        caller.reply([self._house.view.row(actor) for actor in self._house.cast])

    def _inspect(self, args: Arguments, caller: Caller) -> None:
        found = self._house.view.inspection(self._house.find(args.text("actor")))
        caller.reply({**found, "walls": self._house.nursery.warden.walls})

    def _why(self, args: Arguments, caller: Caller) -> None:
        words = args.text_or_none("actor")
        house = self._house
        caller.reply(house.why.everybody() if words is None else house.why.of(house.find(words)))

    def _state(self, args: Arguments, caller: Caller) -> None:
        actor = self._house.find(args.text("actor"))
        caller.reply({"id": actor.id, **self._house.records.state(actor)._asdict()})

    def _events(self, args: Arguments, caller: Caller) -> None:
        house = self._house
        words = args.text("actor")
        subject = words if words == SUPERVISOR else house.find(words).id
        path = house.home.chain(subject)
        since = args.number("since", 0)
        limit = min(max(args.number("limit", 1000), 1), _EVENTS_MAX)
        kinds = _kinds(args.items("types", str))
        whole = args.flag("resolve")

        def look() -> dict[str, Any] | None:
            nonlocal since  # What a filter has passed over is not looked at again.
            events, since = self._pages.read(path, since, limit, kinds, whole)
            return {"id": subject, "events": events, "next": since} if events else None

        def nothing() -> dict[str, Any]:
            return {"id": subject, "events": [], "next": max(since, 0)}

        self._poll(subject, args.number("wait_ms", 0), look, nothing, caller)

    def _logs(self, args: Arguments, caller: Caller) -> None:
        actor = self._house.find(args.text("actor"))
        path = self._house.home.log(actor.id)
        since, limit = args.number("since", 0), args.number("limit", 1 << 20)

        def look() -> dict[str, Any] | None:
            lines = list(actor_log.read(path, since, limit))
            if not lines:
                return None
            rows = [
                {"time_ns": line.time_ns, "incarnation": line.incarnation, "stream": line.stream, "text": line.text}
                for line in lines
            ]
            return {"id": actor.id, "lines": rows, "next": lines[-1].next}

        def nothing() -> dict[str, Any]:
            return {"id": actor.id, "lines": [], "next": max(since, actor_log.end(path))}

        self._poll(actor.id, args.number("wait_ms", 0), look, nothing, caller)

    def _poll(
        self,
        subject: str,
        wait_ms: int,
        look: Callable[[], dict[str, Any] | None],
        nothing: Callable[[], dict[str, Any]],
        caller: Caller,
    ) -> None:
        """Answers with what there is, or when there is something, or when the time is over."""
        found = look()
        if found is not None or wait_ms <= 0:
            caller.reply(found if found is not None else nothing())
            return
        self._house.watch.wait(subject, min(wait_ms, 60_000) / 1000, look, nothing, caller.reply, caller.fail)

    # ---- messages

    def _message(self, args: Arguments, caller: Caller) -> None:
        actor = self._house.find(args.text("actor"))
        ask = args.flag("request")
        timeout = args.number("timeout_ms", actor.manifest.limits.request_timeout)

        def answer(value: bytes | None, error: TheaterError | None) -> None:
            if error is not None:
                caller.fail(error)
            else:
                caller.reply({"id": actor.id, "reply": value})

        seconds = min(max(timeout, 0), DAY) / 1000
        self._house.switchboard.deliver(actor, args.data("body"), ask=ask, timeout=seconds, answer=answer)

    # ---- channels

    def _channels(self, args: Arguments, caller: Caller) -> None:
        words = args.text_or_none("actor")
        caller.reply(self._house.channels.rows(self._house.find(words) if words is not None else None))

    def _channel_open(self, args: Arguments, caller: Caller) -> None:
        actor = self._house.find(args.text("actor"))
        timeout = args.number("timeout_ms", int(actor.manifest.limits.request_timeout))
        seconds = min(max(timeout, 0), DAY) / 1000
        self._house.channels.open(actor, args.data("message"), seconds, caller)

    def _channel_send(self, args: Arguments, caller: Caller) -> None:
        self._house.channels.send(args.text("channel"), args.items("messages", bytes), caller)

    def _channel_receive(self, args: Arguments, caller: Caller) -> None:
        wait_s = min(max(args.number("wait_ms", 0), 0), 60_000) / 1000
        self._house.channels.fetch(args.text("channel"), wait_s, caller)

    def _channel_close(self, args: Arguments, caller: Caller) -> None:
        self._house.channels.close(args.text("channel"), caller)

    # ---- dead letters

    def _dead_letters(self, args: Arguments, caller: Caller) -> None:
        action = args.text("action")
        if action == "list":
            caller.reply(self._house.dead_letters.rows())
        elif action == "drop":
            numbers = args.items("numbers", int)
            for number in numbers:
                self._house.dead_letters.drop(number)
            caller.reply({"done": numbers})
        elif action == "resend":
            self._resend(args.items("numbers", int), caller)
        else:
            raise InvalidInput(f"dead letters can be listed, resent or dropped, not {action!r}")

    def _resend(self, numbers: list[int], caller: Caller) -> None:
        letters = [self._house.dead_letters.get(number) for number in numbers]
        done: list[int] = []

        def send_next() -> None:
            if not letters:
                caller.reply({"done": done})
                return
            letter = letters.pop(0)
            actor = self._house.cast.get(letter.receiver)
            if actor is None:
                caller.fail(
                    ActorDown(f"dead letter {letter.number}: its receiver {letter.receiver} is gone", done=done)
                )
                return
            self._house.stage.pardon(actor, letter.body)
            self._house.switchboard.deliver(
                actor, letter.body, ask=False, timeout=30.0, answer=lambda _, error: sent(letter.number, error)
            )

        def sent(number: int, error: TheaterError | None) -> None:
            if error is not None:
                caller.fail(error)
                return
            self._house.dead_letters.drop(number)
            done.append(number)
            send_next()

        send_next()


def _kinds(labels: list[str]) -> frozenset[Kind]:
    known = {kind.label: kind for kind in Kind}
    for label in labels:
        if label not in known:
            raise InvalidInput(f"{label!r} is no type of event; allowed: {', '.join(known)}")
    return frozenset(known[label] for label in labels)


def _renamed(manifest: Manifest, name: str) -> Manifest:
    plain = manifests.canonical(manifest)
    component = manifest.component_paths[0]
    return manifests.from_canonical({**plain, "name": name, "component": plain["component"] or component})
