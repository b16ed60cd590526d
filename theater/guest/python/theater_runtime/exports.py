"""The component's exports: the classes that componentize-py looks for, filled in when there is an actor."""

import gc
import importlib
import pkgutil
from typing import Any, NoReturn

import wit_world
from componentize_py_types import Err

import theater
from theater_runtime import handlers, plain


def _unserved(*_: object) -> NoReturn:
    raise Err("no program is loaded")


class Actor:
    """theater:simple/actor"""

    init = _unserved


class MessageServerClient:
    """theater:simple/message-server-client"""

    handle_send = _unserved
    handle_request = _unserved
    handle_channel_open = _unserved
    handle_channel_message = _unserved
    handle_channel_close = _unserved


class SupervisorHandlers:
    """theater:simple/supervisor-handlers"""

    handle_child_error = _unserved
    handle_child_exit = _unserved
    handle_child_external_stop = _unserved


class MonitorHandlers:
    """theater:otp/monitor-handlers"""

    handle_down = _unserved
    handle_exit = _unserved


class HttpHandlers:
    """theater:simple/http-handlers"""

    handle_request = _unserved
    handle_middleware = _unserved
    handle_websocket_connect = _unserved
    handle_websocket_message = _unserved
    handle_websocket_disconnect = _unserved


class ProcessHandlers:
    """theater:simple/process-handlers"""

    handle_stdout = _unserved
    handle_stderr = _unserved
    handle_exit = _unserved


_EXPORTS = Actor, MessageServerClient, SupervisorHandlers, MonitorHandlers, HttpHandlers, ProcessHandlers


def serve(actor: Any) -> None:
    """Makes the exports those of an actor: an object of its class, or a module of plain classes."""
    exports = handlers.exports(actor) if isinstance(actor, theater.Actor) else plain.exports(actor)
    # Set on the classes, so that a call reaches the handler without a step in between.
    for export in _EXPORTS:
        for name in vars(export):
            if not name.startswith("_"):
                setattr(export, name, staticmethod(exports(export.__name__, name)))
    # The collector need never look at the program and the library again, which keeps their pages shared.
    gc.collect()
    gc.freeze()


def import_bindings() -> None:
    """Imports all generated bindings while there are files, for actors that use them directly."""
    for found in pkgutil.walk_packages(wit_world.__path__, "wit_world."):
        importlib.import_module(found.name)
