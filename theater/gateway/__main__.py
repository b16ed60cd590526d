"""`python -m theater.gateway`: started by the supervisor (theater/server/services.py)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from theater.core.handlers import GATEWAY
from theater.gateway.http_client import HttpClientDesk
from theater.gateway.http_servers import HttpServers
from theater.service.office import Desk, Office
from theater.service.process import run


def desks(office: Office, home: Path) -> Sequence[Desk]:
    """What the gateway does."""
    return HttpServers(office), HttpClientDesk(home, office.log)


if __name__ == "__main__":
    sys.exit(run(GATEWAY, desks))
