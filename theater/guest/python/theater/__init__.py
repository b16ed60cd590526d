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

from theater.actor import Actor
from theater.codecs import Json, Raw
from theater.errors import CallFailed, Error
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
from theater.store import Store
from theater.timers import cancel, send_after, send_interval

__all__ = [
    "Actor",
    "CallFailed",
    "Error",
    "Event",
    "Json",
    "Me",
    "Raw",
    "Store",
    "cancel",
    "cancel_request",
    "close_channel",
    "deadline",
    "get_chain",
    "log",
    "me",
    "open_channel",
    "outstanding_requests",
    "register",
    "reply_later",
    "request",
    "respond",
    "send",
    "send_after",
    "send_interval",
    "send_on_channel",
    "sender",
    "shutdown",
    "unregister",
    "whereis",
]
