"""aiohttp, in which the gateway is written: the same library, answering from a plain function of Python."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import uvloop
from aiohttp import web

from benchmarks.effort import Effort
from benchmarks.figures import Figure
from benchmarks.web import BODY, measured, serving


async def _answer(request: web.BaseRequest) -> web.Response:
    return web.Response(body=BODY)


async def _serve(port: int) -> None:
    runner = web.ServerRunner(web.Server(_answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def run(port: int) -> None:
    uvloop.run(_serve(port))


def measure(effort: Effort) -> Iterator[Figure]:
    with serving(__name__) as url:
        yield from measured(url, effort)


if __name__ == "__main__":
    run(int(sys.argv[1]))
