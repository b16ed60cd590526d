"""`python -m theater.gateway`: started by the supervisor (theater/server/services.py)."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from theater.config import Home
from theater.core.handlers import GATEWAY
from theater.gateway.http_client import HttpClientDesk
from theater.gateway.http_servers import HttpServers
from theater.gateway.lent_files import Lent
from theater.service.office import Desk, Office
from theater.service.process import run
from theater.walls import landlock, places, rooms_services
from theater.walls.rooms import enter


def main() -> int:
    """Serves until the supervisor says that it is over. The last argument is the line on which files are lent."""
    opened = Lent(socket.socket(fileno=int(sys.argv.pop())))

    def desks(office: Office, home: Path) -> Sequence[Desk]:
        return HttpServers(office, Home(home).websockets, opened), HttpClientDesk(home, office.log, opened)

    return run(GATEWAY, desks, seal)


def seal(home: Home) -> None:
    """Enters the gateway's room, in which its one folder is where open websockets are written down."""
    own = {str(home.websockets): landlock.CHANGE}
    enter(rooms_services.gateway(), {**places.code(), **places.network(), **own})


if __name__ == "__main__":
    sys.exit(main())
