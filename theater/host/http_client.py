"""theater:simple/http-client: requests to servers on the network, which the gateway sends.

What leaves is in the record as the actor asked for it, what came as the actor was told; what the gateway adds from the
server's credentials is in neither.
"""

from __future__ import annotations

from typing import Any, Final

from theater.core import handlers
from theater.core.permissions.http_client import HttpClient as Granted
from theater.core.quantities import show_size
from theater.host.base import Refused
from theater.host.services import Services

_SLACK_S: Final = 1.0
"""The gateway, which knows what it waits for, gives up first."""


class HttpClient:
    """The interface.

    Args:
        services: has the gateway.
        granted: what the manifest says.
    """

    def __init__(self, services: Services, granted: Granted) -> None:
        self._services = services
        self._granted = granted

    def send_http(self, req: Any) -> Any:
        body, most = req["body"], self._granted.max_request
        if body is not None and len(body) > most:
            # It is not even copied.
            raise Refused(f"the request's body has {len(body)} bytes; allowed: {show_size(most)} (max_request)")
        seconds = self._granted.timeout / 1000 + _SLACK_S
        return self._services.ask(handlers.GATEWAY, handlers.HTTP_CLIENT_SEND, [req], seconds)
