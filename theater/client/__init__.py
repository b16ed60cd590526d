"""The client library: a server's operations as methods, for the command line, for tests and for users.

    with Client() as theater:
        actor = theater.start("counter/manifest.toml")
        print(theater.request(actor.id, b'{"add": 2}'))

`link` holds one conversation (correlation, deadlines, a server that dies), `answers` the typed results,
`deploy` turns a manifest on disk into what a server needs, and `client` is the list of operations. A client
knows nothing of actors beyond what the server tells it, and never reads a server's home.
"""

from theater.client.answers import (
    Applied,
    AppliedRow,
    ChannelRow,
    DeadLetter,
    Delivery,
    Event,
    Events,
    Hello,
    Inspection,
    LastExit,
    LogLine,
    Logs,
    Member,
    Row,
    State,
    Supervisor,
)
from theater.client.channels import Channel
from theater.client.client import Client

__all__ = [
    "Applied",
    "AppliedRow",
    "Channel",
    "ChannelRow",
    "Client",
    "DeadLetter",
    "Delivery",
    "Event",
    "Events",
    "Hello",
    "Inspection",
    "LastExit",
    "LogLine",
    "Logs",
    "Member",
    "Row",
    "State",
    "Supervisor",
]
