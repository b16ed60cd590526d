"""The handlers a manifest may name, and the WIT interfaces that each grants: the one table of capabilities.

Each row says, too, what a manifest may say of it (theater/core/permissions), and which process does for an actor what
its own sealed one cannot. Packages may add rows (theater/host/extensions.py): they are looked for when a type or an
interface is asked for that no row has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from theater.core import schema
from theater.core.permissions import Frugal, Permissions
from theater.core.permissions.environment import Environment
from theater.core.permissions.filesystem import Filesystem
from theater.core.permissions.http_client import HttpClient
from theater.core.permissions.http_framework import HttpFramework
from theater.core.permissions.nothing import Nothing
from theater.core.permissions.process import Process
from theater.core.permissions.random import Random
from theater.core.permissions.store import Store
from theater.core.permissions.supervisor import Supervisor
from theater.core.permissions.timers import Timers
from theater.core.schema import Place
from theater.core.toml_text import Document
from theater.errors import ManifestError

RUNTIME = "theater:simple/runtime"
ACTOR = "theater:simple/actor"
INIT = (ACTOR, "init")
MESSAGE_SERVER_HOST = "theater:simple/message-server-host"
MESSAGE_SERVER_CLIENT = "theater:simple/message-server-client"
STORE = "theater:simple/store"
SUPERVISOR = "theater:simple/supervisor"
SUPERVISOR_HANDLERS = "theater:simple/supervisor-handlers"
IDENTITY = "theater:otp/identity@0.1.0"
REGISTRY = "theater:otp/registry@0.1.0"
TIMERS = "theater:otp/timers@0.1.0"
REQUESTS = "theater:otp/requests@0.1.0"
MONITORS = "theater:otp/monitors@0.1.0"
LINKS = "theater:otp/links@0.1.0"
MONITOR_HANDLERS = "theater:otp/monitor-handlers@0.1.0"
SECRETS = "theater:otp/secrets@0.1.0"
HTTP_CLIENT = "theater:simple/http-client"
HTTP_FRAMEWORK = "theater:simple/http-framework"
HTTP_HANDLERS = "theater:simple/http-handlers"
WEBSOCKETS = "theater:otp/websockets@0.1.0"
FILESYSTEM = "theater:simple/filesystem"
FILES = "theater:otp/files@0.1.0"
PROCESS = "theater:simple/process"
PROCESS_HANDLERS = "theater:simple/process-handlers"
TIMING = "theater:simple/timing"
RANDOM = "theater:simple/random"
ENVIRONMENT = "theater:simple/environment"

GATEWAY: Final = "gateway"
"""The service that has the network (theater/gateway)."""
HTTP_CLIENT_SEND: Final = "http-client.send"
"""The gateway's operation that sends a request."""
LAUNCHER: Final = "launcher"
"""The service that runs programs (theater/launcher)."""


@dataclass(frozen=True, slots=True)
class HandlerType:
    """A capability.

    Args:
        imports: interfaces that an actor with it may import.
        exports: interfaces that the host calls in such an actor, if it exports them.
        permissions: a frozen dataclass, the schema of its `[[handler]]` table but for `type`.
        service: the process that carries out what the actor's own cannot: `GATEWAY`, `LAUNCHER`, or None.
        wit: the folder of the files that declare its interfaces, for one that a package has added.
    """

    imports: frozenset[str] = frozenset()
    exports: frozenset[str] = frozenset()
    permissions: type[Permissions] = Nothing
    service: str | None = None
    wit: str | None = None


HANDLERS: dict[str, HandlerType] = {
    "runtime": HandlerType(imports=frozenset({RUNTIME})),
    "identity": HandlerType(imports=frozenset({IDENTITY})),
    "message-server": HandlerType(
        imports=frozenset({MESSAGE_SERVER_HOST, REQUESTS}), exports=frozenset({MESSAGE_SERVER_CLIENT})
    ),
    "registry": HandlerType(imports=frozenset({REGISTRY})),
    # A timer's message arrives as any other does, at `handle-send`.
    "timers": HandlerType(imports=frozenset({TIMERS}), exports=frozenset({MESSAGE_SERVER_CLIENT}), permissions=Timers),
    "store": HandlerType(imports=frozenset({STORE}), permissions=Store),
    "supervisor": HandlerType(
        imports=frozenset({SUPERVISOR}),
        exports=frozenset({SUPERVISOR_HANDLERS}),
        permissions=Supervisor,
    ),
    "monitors": HandlerType(imports=frozenset({MONITORS, LINKS}), exports=frozenset({MONITOR_HANDLERS})),
    "secrets": HandlerType(imports=frozenset({SECRETS})),
    "http-client": HandlerType(imports=frozenset({HTTP_CLIENT}), permissions=HttpClient, service=GATEWAY),
    "http-framework": HandlerType(
        imports=frozenset({HTTP_FRAMEWORK, WEBSOCKETS}),
        exports=frozenset({HTTP_HANDLERS}),
        permissions=HttpFramework,
        service=GATEWAY,
    ),
    "filesystem": HandlerType(imports=frozenset({FILESYSTEM, FILES}), permissions=Filesystem, service=LAUNCHER),
    "process": HandlerType(
        imports=frozenset({PROCESS}), exports=frozenset({PROCESS_HANDLERS}), permissions=Process, service=LAUNCHER
    ),
    "timing": HandlerType(imports=frozenset({TIMING})),
    "random": HandlerType(imports=frozenset({RANDOM}), permissions=Random),
    "environment": HandlerType(imports=frozenset({ENVIRONMENT}), permissions=Environment),
}

# They give an actor nothing it could do harm with: a log line, its own name.
GRANTED_TO_ALL = frozenset({"runtime", "identity"})
# They declare types and have no functions.
FREE_INTERFACES = frozenset(
    {
        "theater:simple/types",
        "theater:simple/http-types",
        "theater:simple/websocket-types",
        "theater:otp/exits@0.1.0",
    },
)


OWN_TYPES = frozenset(HANDLERS)
"""Those that are built in."""
_OWN_PACKAGES = ("theater:", "wasi:")
_TYPE = re.compile(r"[a-z][a-z0-9-]{0,63}")

UNAVAILABLE: dict[str, str] = {}
"""Handlers of packages that could not be added, and why: a sentence each."""

_look_for_more: Callable[[], None] = lambda: None  # noqa: E731


def look_for_more_with(look: Callable[[], None]) -> None:
    """From now on `look` is called when something is asked for that no row has; it may `add` some."""
    global _look_for_more
    _look_for_more = look


def add(name: str, row: HandlerType) -> None:
    """Adds the row of a handler that a package brings.

    Raises:
        ManifestError: its name or one of its interfaces cannot be, or is taken.
    """
    if _TYPE.fullmatch(name) is None:
        raise ManifestError(f"{name!r} is no type of a handler; allowed: small letters, digits and '-'")
    if name in HANDLERS:
        raise ManifestError(f"there is a handler {name} already")
    for interface in sorted(row.imports):
        taken = next((other for other, known in HANDLERS.items() if interface in known.imports), None)
        if taken is not None or interface.startswith(_OWN_PACKAGES):
            raise ManifestError(f"the handler {name} cannot grant {interface}: it is not its own")
    HANDLERS[name] = row


def find(name: str) -> HandlerType | None:
    """The row of a type, if there is one."""
    if name not in HANDLERS:
        _look_for_more()
    return HANDLERS.get(name)


def get(name: str) -> HandlerType:
    """The row of a type that a manifest has named.

    Raises:
        ManifestError: there is none: the package that brings it is not installed here.
    """
    found = find(name)
    if found is None:
        raise ManifestError(f"there is no handler {name} here; is the package installed that brings it?")
    return found


def granted_imports(types: frozenset[str]) -> frozenset[str]:
    """The interfaces that an actor with handlers of these `types` may import."""
    return FREE_INTERFACES.union(*(get(name).imports for name in types | GRANTED_TO_ALL))


def handled_exports(types: frozenset[str]) -> frozenset[str]:
    """The interfaces that the host may call in an actor with handlers of these `types`."""
    return frozenset({ACTOR}).union(*(get(name).exports for name in types | GRANTED_TO_ALL))


def handler_granting(interface: str) -> str | None:
    """The type of handler that grants the import of `interface`, if there is one."""
    if interface not in FREE_INTERFACES and not interface.startswith(_OWN_PACKAGES):
        _look_for_more()
    return next((name for name, handler in HANDLERS.items() if interface in handler.imports), None)


def service_of(name: str, permissions: Permissions) -> str | None:
    """The service that a handler with these permissions needs, if it does."""
    row = find(name)
    spared = isinstance(permissions, Frugal) and not permissions.needs_service
    return None if row is None or spared else row.service


def permissions_of(name: str, plain: Mapping[str, Any]) -> Permissions:
    """The permissions of a handler, from the plain form that `theater.core.schema.plain` gives.

    Raises:
        ManifestError: it is not one, or there is no such handler here.
    """
    return schema.read(get(name).permissions, dict(plain), Place(Document("permissions", {}, None)))
