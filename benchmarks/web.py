"""Load for web servers, from a generator that is not ours: wrk, with keep-alive; and where its figures are read."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.effort import Effort
from benchmarks.figures import Figure

CONNECTIONS = 16
BODY = b"e" * 100
ROWS = ("http-rate", "http-latency")

_SECONDS = 6.0
_LEAST_S = 2.0
_PATIENCE_S = 30.0
_PAUSE_S = 0.02
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk says: requests per second, and the 50th and 99th percentile of a request's seconds."""

    rate: float
    p50: float
    p99: float
    requests: int


def load(url: str, seconds: float, connections: int = CONNECTIONS) -> Load:
    """Asks for `url` again and again on so many connections.

    Raises:
        RuntimeError: wrk is not installed, or some request failed.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed; Debian has it in the package wrk")
    command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "10s", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if failed := re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", text):
        raise RuntimeError(f"wrk: {failed[0]}")
    requests = int(_number(text, r"(\d+) requests in"))
    return Load(_number(text, r"Requests/sec:\s+([\d.]+)"), _time(text, 50), _time(text, 99), requests)


def _number(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, text
    return float(found[1])


def _time(text: str, percentile: int) -> float:
    found = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1]) * _UNITS[found[2]]


def measured(url: str, effort: Effort) -> Iterator[Figure]:
    """The figures of one server, once it is warm."""
    load(url, 1)
    seconds = max(_LEAST_S, _SECONDS * effort.share)
    found = load(url, seconds)
    yield Figure("http-rate", found.rate, samples=found.requests)
    yield Figure("http-latency", found.p50, found.p99, found.requests)


@contextlib.contextmanager
def serving(module: str) -> Iterator[str]:
    """A server in a process of its own, `python -m MODULE PORT`; gives its URL."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", module, str(port)], stdin=subprocess.DEVNULL)
    try:
        _await_listener(port)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_listener(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(_PAUSE_S)
    raise TimeoutError(f"nobody listens on port {port}")
