"""Uvicorn with httptools and uvloop, and the smallest application there is."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from benchmarks.effort import Effort
from benchmarks.figures import Figure
from benchmarks.web import BODY, measured, serving


async def application(scope: Any, receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    headers = [(b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def run(port: int) -> None:
    import uvicorn

    uvicorn.run(application, port=port, log_level="error", access_log=False, lifespan="off", loop="uvloop")


def measure(effort: Effort) -> Iterator[Figure]:
    with serving(__name__) as url:
        yield from measured(url, effort)


if __name__ == "__main__":
    run(int(sys.argv[1]))
