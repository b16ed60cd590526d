"""Who measures what: the table of all contestants, Theater's own first."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import machine

THEATER = "Theater"
_PEER_ROWS = ("request-reply", "request-64k", "one-way", "start", "start-rate", "memory")


@dataclass(frozen=True, slots=True)
class Contestant:
    """A module with `measure(effort) -> Iterator[Figure]`.

    Args:
        name: the column it fills.
        module: where its `measure` is.
        rows: keys of the rows it measures.
        package: what must be installed; "" if nothing but Theater.
        deadline: seconds after which it is ended, with what it has measured until then.
        once: it measures in the first round only, since its figures do not depend on the moment.
    """

    name: str
    module: str
    rows: tuple[str, ...]
    package: str = ""
    deadline: float = 180.0
    once: bool = False

    @property
    def is_installed(self) -> bool:
        return not self.package or machine.version(self.package) is not None


CONTESTANTS = (
    Contestant(
        THEATER,
        "benchmarks.theater_rows.messages",
        (
            "request-reply",
            "request-turn",
            "one-way",
            "one-way-default",
            "request-64k",
            "request-64k-fresh",
            "client-request",
        ),
    ),
    Contestant(THEATER, "benchmarks.theater_rows.recording", ("record-cost",)),
    Contestant(THEATER, "benchmarks.theater_rows.guest", ("guest-16", "guest-1k", "guest-64k", "guest-1m")),
    Contestant(THEATER, "benchmarks.theater_rows.walls", ("seal", "sealed-call", "deadline-gone")),
    Contestant(
        THEATER,
        "benchmarks.theater_rows.lives",
        ("start", "start-rate", "start-rate-8", "restart-spare", "restart"),
    ),
    Contestant(
        THEATER,
        "benchmarks.theater_rows.crowds",
        ("one-for-all", "list-storm", "up-1000", "kill-1000"),
        deadline=300,
        once=True,
    ),
    Contestant(THEATER, "benchmarks.theater_rows.core", ("core-event", "core-checked")),
    Contestant(
        THEATER,
        "benchmarks.theater_rows.chains",
        ("chain-append", "chain-verify", "chain-append-large", "chain-verify-large"),
    ),
    Contestant(
        THEATER,
        "benchmarks.theater_rows.proofs",
        ("verify-home", "million-verify", "million-state", "state-root", "snapshot", "restore"),
        deadline=600,
        once=True,
    ),
    Contestant(
        THEATER,
        "benchmarks.theater_rows.replays",
        ("replay-waited", "replay-waited-command", "replay-pure", "replay-pure-python"),
        deadline=600,
        once=True,
    ),
    Contestant(
        THEATER,
        "benchmarks.theater_rows.web",
        (
            "http-rate",
            "http-latency",
            "http-python",
            "http-slow",
            "websocket-rate",
            "gateway-idle",
        ),
        deadline=600,
    ),
    Contestant(THEATER, "benchmarks.theater_rows.fetching", ("http-client",)),
    Contestant(THEATER, "benchmarks.theater_rows.commands", ("list", "help")),
    # The first Python actor of a machine has the runner built, which takes a minute or two.
    Contestant(THEATER, "benchmarks.theater_rows.memory", ("memory", "memory-python"), deadline=600, once=True),
    Contestant(THEATER, "benchmarks.theater_rows.capacity", ("capacity",), deadline=600, once=True),
    Contestant("pipe", "benchmarks.peers.pipe", _PEER_ROWS),
    Contestant("ZeroMQ", "benchmarks.peers.zeromq", ("request-reply", "request-64k", "one-way")),
    Contestant("pykka", "benchmarks.peers.pykka_threads", _PEER_ROWS, "pykka"),
    Contestant("xoscar", "benchmarks.peers.xoscar_pool", (*_PEER_ROWS, "restart"), "xoscar"),
    Contestant("Thespian", "benchmarks.peers.thespian_tcp", _PEER_ROWS, "thespian"),
    Contestant("aiohttp", "benchmarks.peers.aiohttp_server", ("http-rate", "http-latency")),
    Contestant("uvicorn", "benchmarks.peers.uvicorn_app", ("http-rate", "http-latency"), "uvicorn"),
    Contestant("Ray", "benchmarks.peers.ray_actors", (*_PEER_ROWS, "restart"), "ray"),
)

PEERS = tuple(contestant.name for contestant in CONTESTANTS if contestant.name != THEATER)
