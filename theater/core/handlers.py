"""The handlers a manifest may name, and the WIT interfaces that each grants: the one table of capabilities.

Each row says, too, what a manifest may say of it (theater/core/permissions), and which process does for an actor what
its own sealed one cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from theater.core import schema
from theater.core.permissions import Permissions
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
    """

    imports: frozenset[str] = frozenset()
    exports: frozenset[str] = frozenset()
    permissions: type[Permissions] = Nothing
    service: str | None = None


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


def granted_imports(types: frozenset[str]) -> frozenset[str]:
    """The interfaces that an actor with handlers of these `types` may import."""
    return FREE_INTERFACES.union(*(HANDLERS[name].imports for name in types | GRANTED_TO_ALL))


def handled_exports(types: frozenset[str]) -> frozenset[str]:
    """The interfaces that the host may call in an actor with handlers of these `types`."""
    return frozenset({ACTOR}).union(*(HANDLERS[name].exports for name in types | GRANTED_TO_ALL))


def handler_granting(interface: str) -> str | None:
    """The type of handler that grants the import of `interface`, if there is one."""
    return next((name for name, handler in HANDLERS.items() if interface in handler.imports), None)


def permissions_of(name: str, plain: Mapping[str, Any]) -> Permissions:
    """The permissions of a handler, from the plain form that `theater.core.schema.plain` gives.

    Raises:
        ManifestError: it is not one.
    """
    return schema.read(HANDLERS[name].permissions, dict(plain), Place(Document("permissions", {}, None)))
