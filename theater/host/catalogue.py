"""Which object answers which interface: the one table between WIT names and host interfaces.

A new host interface is its file, its row here, and its row in core/handlers.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from theater.core.handlers import (
    ENVIRONMENT,
    FILES,
    FILESYSTEM,
    HTTP_CLIENT,
    HTTP_FRAMEWORK,
    IDENTITY,
    LINKS,
    MESSAGE_SERVER_HOST,
    MONITORS,
    PROCESS,
    RANDOM,
    REGISTRY,
    REQUESTS,
    RUNTIME,
    SECRETS,
    STORE,
    SUPERVISOR,
    TIMERS,
    TIMING,
    WEBSOCKETS,
    handler_granting,
)
from theater.core.permissions import Permissions
from theater.core.permissions.http_client import HttpClient as HttpClientGranted
from theater.core.permissions.http_framework import HttpFramework as HttpServersGranted
from theater.core.randomness import Source
from theater.host.bonds import Bonds, Links, Monitors
from theater.host.environment import Environment
from theater.host.filesystem import Files, Filesystem
from theater.host.folders import Folders
from theater.host.http_client import HttpClient
from theater.host.http_framework import HttpFramework, Kept, Websockets
from theater.host.message_server import Channels, Later, MessageServerHost, Post, Requests
from theater.host.otp import Circumstances, Clockwork, Directory, Identity, Registry, Timers
from theater.host.process import Process
from theater.host.random import Random
from theater.host.runtime import Life, Runtime
from theater.host.secrets import Secrets
from theater.host.services import Services
from theater.host.store import Store
from theater.host.stores import Stores
from theater.host.supervisor import Family, Supervisor
from theater.host.timing import Bed, Timing


@dataclass(frozen=True, slots=True)
class Ports:
    """What host interfaces reach of their actor.

    Args:
        permissions: what the manifest grants, by handler: an instance of the class of its row in core/handlers.py.
    """

    life: Life
    post: Post
    later: Later
    circumstances: Circumstances
    directory: Directory
    clockwork: Clockwork
    stores: Stores
    family: Family
    bonds: Bonds
    secrets: Mapping[str, bytes]
    folders: Folders
    services: Services
    permissions: Mapping[str, Permissions]
    bed: Bed
    randomness: Source
    environment: Mapping[str, str]
    channels: Channels
    servers: Kept


def build(ports: Ports) -> Mapping[str, object]:
    """All interfaces of one actor, by WIT name."""
    return {
        RUNTIME: Runtime(ports.life),
        MESSAGE_SERVER_HOST: MessageServerHost(ports.post, ports.later, ports.channels),
        REQUESTS: Requests(ports.post),
        IDENTITY: Identity(ports.circumstances),
        REGISTRY: Registry(ports.directory),
        TIMERS: Timers(ports.clockwork),
        STORE: Store(ports.stores),
        FILESYSTEM: Filesystem(ports.folders, ports.services),
        FILES: Files(ports.folders),
        SUPERVISOR: Supervisor(ports.family),
        MONITORS: Monitors(ports.bonds),
        LINKS: Links(ports.bonds),
        SECRETS: Secrets(ports.secrets),
        TIMING: Timing(ports.bed),
        PROCESS: Process(ports.services),
        RANDOM: Random(ports.randomness),
        ENVIRONMENT: Environment(ports.environment),
        **_http_client(ports),
        **_http_framework(ports),
    }


def _http_client(ports: Ports) -> Mapping[str, object]:
    granted = ports.permissions.get("http-client")
    if not isinstance(granted, HttpClientGranted):
        return {HTTP_CLIENT: object()}
    return {HTTP_CLIENT: HttpClient(ports.services, granted)}


def _http_framework(ports: Ports) -> Mapping[str, object]:
    """Servers, for actors that may have some: the gateway is told of each of those."""
    granted = ports.permissions.get("http-framework")
    if not isinstance(granted, HttpServersGranted):
        return {HTTP_FRAMEWORK: object(), WEBSOCKETS: object()}
    framework = HttpFramework(ports.services, ports.servers, granted, ports.circumstances)
    return {HTTP_FRAMEWORK: framework, WEBSOCKETS: Websockets(framework)}


def why_denied(interface: str) -> str:
    """What an actor is told that calls an interface which its manifest does not grant."""
    handler = handler_granting(interface)
    return f'the manifest does not grant {interface}; add [[handler]] type = "{handler}"'
