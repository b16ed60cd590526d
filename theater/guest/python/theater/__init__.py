"""Theater's guest library: what an actor written in Python imports.

    import theater

    class Counter(theater.Actor):
        initial = {"count": 0}

        def handle_request(self, message):
            self.state["count"] += message["add"]
            return {"count": self.state["count"]}

Everything an actor does to the world goes through the functions here, and the host records it. What is granted is
in the manifest; a call that is not granted raises `CallFailed`.
"""

from theater import env, files, http, process, random, time
from theater.actor import Actor
from theater.bonds import demonitor, link, monitor, trap_exits, unlink
from theater.children import ChildEvent, child_events, child_state, children, restart_child, resume, spawn, stop_child
from theater.codecs import Json, Raw
from theater.errors import CallFailed, Error
from theater.exits import ExitReason
from theater.identity import Me, deadline, me, register, sender, unregister, whereis
from theater.life import Event, get_chain, log, shutdown
from theater.messages import (
    cancel_request,
    close_channel,
    open_channel,
    outstanding_requests,
    reply_later,
    request,
    respond,
    send,
    send_on_channel,
)
from theater.secrets import secret
from theater.store import Store
from theater.time import sleep
from theater.timers import cancel, send_after, send_interval

__all__ = [
    "Actor",
    "CallFailed",
    "ChildEvent",
    "Error",
    "Event",
    "ExitReason",
    "Json",
    "Me",
    "Raw",
    "Store",
    "cancel",
    "cancel_request",
    "child_events",
    "child_state",
    "children",
    "close_channel",
    "deadline",
    "demonitor",
    "env",
    "files",
    "get_chain",
    "http",
    "link",
    "log",
    "me",
    "monitor",
    "open_channel",
    "outstanding_requests",
    "process",
    "random",
    "register",
    "reply_later",
    "request",
    "respond",
    "restart_child",
    "resume",
    "secret",
    "send",
    "send_after",
    "send_interval",
    "send_on_channel",
    "sender",
    "shutdown",
    "sleep",
    "spawn",
    "stop_child",
    "time",
    "trap_exits",
    "unlink",
    "unregister",
    "whereis",
]
