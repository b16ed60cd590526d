"""The handlers a manifest may name, and the WIT interfaces that each grants: the one table of capabilities.

A handler that is planned is known here by name, so that a manifest made for a later version is refused with a
reason instead of as a typing error.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class HandlerType:
    """A capability.

    Args:
        imports: interfaces that an actor with it may import.
        exports: interfaces that the host calls in such an actor, if it exports them.
        permissions: the keys that a `[[handler]]` of this type may have beside `type`.
    """

    imports: frozenset[str] = frozenset()
    exports: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()


HANDLERS: dict[str, HandlerType] = {
    "runtime": HandlerType(imports=frozenset({RUNTIME})),
    "identity": HandlerType(imports=frozenset({IDENTITY})),
    "message-server": HandlerType(
        imports=frozenset({MESSAGE_SERVER_HOST, REQUESTS}), exports=frozenset({MESSAGE_SERVER_CLIENT})
    ),
    "registry": HandlerType(imports=frozenset({REGISTRY})),
    # A timer's message arrives as any other does, at `handle-send`.
    "timers": HandlerType(imports=frozenset({TIMERS}), exports=frozenset({MESSAGE_SERVER_CLIENT})),
    "store": HandlerType(imports=frozenset({STORE})),
    "supervisor": HandlerType(
        imports=frozenset({SUPERVISOR}),
        exports=frozenset({SUPERVISOR_HANDLERS}),
        permissions=frozenset({"manifests"}),
    ),
    "monitors": HandlerType(imports=frozenset({MONITORS, LINKS}), exports=frozenset({MONITOR_HANDLERS})),
    "secrets": HandlerType(imports=frozenset({SECRETS})),
}

# Of later versions, with the interfaces that they will grant.
NOT_YET: dict[str, frozenset[str]] = {
    name: frozenset({f"theater:simple/{name}"})
    for name in ("http-client", "http-framework", "filesystem", "process", "timing", "random", "environment")
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
