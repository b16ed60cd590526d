"""Websockets: what the actor hears and says, in which order, and the end that it is told of once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import aiohttp
import pytest
from house import House, eventually
from web import Web, request

Socket = aiohttp.ClientWebSocketResponse


@contextlib.asynccontextmanager
async def connected(web: Web, path: str = "/chat", count: int = 1, **options: Any) -> AsyncIterator[list[Socket]]:
    async with aiohttp.ClientSession() as session, contextlib.AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{web.port}{path}"
        yield [await stack.enter_async_context(session.ws_connect(url, **options)) for _ in range(count)]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


async def tell(web: Web, do: str, **facts: Any) -> Any:
    return await asyncio.to_thread(web.tell, do, **facts)


def gone(web: Web, count: int) -> list[int]:
    """Who has left, once so many have; nobody more than once."""
    closed = eventually(lambda: len(found := web.tell("state")["closed"]) >= count and found, f"{count} have left")
    assert len(set(closed)) == len(closed)
    return list(closed)


def test_messages_come_back_in_order(house: House) -> None:
    web = Web.started(house, "echo")

    async def talk() -> None:
        async with connected(web) as (socket,):
            for number in range(100):
                await socket.send_str(f"{number}")
                await socket.send_bytes(b"%d" % number)
            for number in range(100):
                assert await socket.receive_str() == f"{number}"
                assert await socket.receive_bytes() == b"%d" % number

    run(talk())
    assert gone(web, 1) == web.tell("state")["open"]


def test_the_actor_sends_to_one_and_to_all_of_a_path(house: House) -> None:
    web = Web.started(house, "sends")

    async def talk() -> None:
        async with connected(web, count=3) as sockets:
            there = await tell(web, "connections", path="/chat")
            assert there == (await tell(web, "state"))["open"]
            await tell(web, "send", to=there[1], body="to you")
            assert await sockets[1].receive_str() == "to you"
            await tell(web, "send", server=0, to=there[1], body="to you again")
            assert await sockets[1].receive_str() == "to you again"
            assert await tell(web, "broadcast", path="/chat", body="to all") == 3
            assert await tell(web, "broadcast-bytes", path="/chat", body="bytes") == 3
            for socket in sockets:
                assert await socket.receive_str() == "to all"
                assert await socket.receive_bytes() == b"bytes"
            await tell(web, "close", to=there[0])
            assert (await sockets[0].receive()).type is aiohttp.WSMsgType.CLOSE
            assert sockets[0].close_code == 1000

    run(talk())
    assert len(gone(web, 3)) == 3
    with pytest.raises(Exception, match="no websocket"):
        web.tell("send", to=1, body="x")


def test_pings_are_answered_without_the_actor(house: House) -> None:
    web = Web.started(house, "pings")

    async def talk() -> None:
        async with connected(web, autoping=False) as (socket,):
            await socket.ping(b"there?")
            answer = await socket.receive()
            assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"there?")

    run(talk())


def test_a_connection_that_the_actor_refuses_is_closed_and_its_end_not_told(house: House) -> None:
    web = Web.started(house, "refuses")

    async def talk() -> None:
        async with connected(web, "/chat?no=1") as (socket,):
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1011
        async with connected(web):
            pass

    run(talk())
    assert gone(web, 1) == web.tell("state")["open"]


def test_a_path_without_websockets_is_404_and_what_is_no_handshake_400(web: Web) -> None:
    upgrade = {"upgrade": "websocket", "connection": "upgrade"}
    key = {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==", "sec_websocket_version": "13"}
    assert web.get("/elsewhere", **upgrade, **key).status == 404
    assert web.get("/chat", **upgrade).status == 400
    assert web.get("/chat", **upgrade, **{**key, "sec_websocket_version": "12"}).status == 400
    assert web.ask("POST", "/chat", b"x", **upgrade, **key).status == 400
    for wrong in (b"\xc3\xa4" * 12, b"\xff" * 24, b"!" * 24, b"YQ=="):
        assert shaken(web, wrong, **upgrade, **{**key, "sec_websocket_key": "WRONG"}) == 400
    for name in (*upgrade, *key):
        assert 400 <= shaken(web, b"websocket 13, \xae", **{**upgrade, **key, name: "WRONG"}) < 500, name


def shaken(web: Web, wrong: bytes, **headers: str) -> int:
    """The status with which a handshake is answered that has these bytes where a header says `WRONG`."""
    with web.line() as line:
        return line.send(request("GET", "/chat", **headers).replace(b"WRONG", wrong)).answer().status


def test_paths_are_enabled_and_disabled_while_they_are_used(house: House) -> None:
    web = Web.started(house, "paths")

    async def talk() -> None:
        web.tell("add-websocket", path="/rooms/{room}")
        async with connected(web, "/rooms/7") as (socket,):
            await socket.send_str("x")
            assert await socket.receive_str() == "x"
            await tell(web, "remove-websocket", path="/rooms/{room}")
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1001

    run(talk())
    assert len(gone(web, 1)) == 1


def test_a_message_that_is_too_long_closes_with_1009(house: House) -> None:
    web = Web.started(house, "toolong", 'websocket_message = "1KiB"')

    async def talk() -> None:
        async with connected(web) as (socket,):
            await socket.send_str("x" * 1024)
            assert len(await socket.receive_str()) == 1024
            await socket.send_str("x" * 1026)
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1009

    run(talk())
    assert len(gone(web, 1)) == 1


def test_text_that_is_not_utf_8_closes_with_1007(house: House) -> None:
    web = Web.started(house, "notutf")

    async def talk() -> None:
        async with connected(web) as (socket,):
            await socket.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1007

    run(talk())
    assert len(gone(web, 1)) == 1


def test_a_flood_is_not_read_faster_than_the_actor_takes_it(house: House) -> None:
    """What a client may send ahead is what buffers on the way hold: the gateway grows by no more than that."""
    web = Web.started(house, "flooded")
    gateway = house.service("gateway")

    async def flood() -> None:
        async with connected(web) as (socket,):
            before = _resident(gateway)
            await socket.send_str("slow")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    for _ in range(1000):
                        await socket.send_str("quiet" + "x" * 200_000)
            assert _resident(gateway) - before < 50 << 20
            async with connected(web) as (other,):
                await other.send_str("me too")
                assert await other.receive_str() == "me too"

    run(flood())
    gone(web, 2)


def test_a_reader_that_is_too_slow_is_cut_off(house: House) -> None:
    web = Web.started(house, "unread", 'websocket_queue = "64KiB"')

    async def stall() -> None:
        async with connected(web) as (socket,):
            transport = socket._response.connection.transport  # type: ignore[union-attr]
            transport.pause_reading()  # type: ignore[union-attr]
            (there,) = await tell(web, "connections", path="/chat")

            async def send_for_ever() -> None:
                while True:
                    await tell(web, "send", to=there, body="x" * 60_000)

            with pytest.raises(Exception, match=r"slow client|no websocket"):
                await send_for_ever()

    run(stall())
    assert len(gone(web, 1)) == 1


def test_connections_outlive_a_life_and_their_ends_are_told_the_next_one(house: House) -> None:
    web = Web.started(house, "outlive")

    async def talk() -> None:
        async with connected(web, count=3) as sockets:
            await asyncio.to_thread(_all_heard_of, web, 3)
            row = await asyncio.to_thread(house.kill_worker, "outlive")
            await sockets[0].close()
            await asyncio.to_thread(house.await_incarnation, "outlive", row.incarnation + 1)
            await sockets[1].send_str("still there")
            assert await sockets[1].receive_str() == "still there"
            assert await tell(web, "broadcast", path="/chat", body="to both") == 2

    run(talk())
    assert sorted(gone(web, 3)) == sorted(web.tell("state")["open"])


def test_the_message_that_an_actor_died_with_closes_its_connection_and_no_other(house: House) -> None:
    web = Web.started(house, "diedwith")

    async def talk() -> None:
        async with connected(web, count=2) as sockets:
            await asyncio.to_thread(_all_heard_of, web, 2)
            await sockets[0].send_str("crash")
            assert (await sockets[0].receive()).type is aiohttp.WSMsgType.CLOSE
            assert sockets[0].close_code == 1011
            await sockets[1].send_str("still there")
            assert await sockets[1].receive_str() == "still there"

    run(talk())
    assert sorted(gone(web, 2)) == sorted(web.tell("state")["open"])


def test_clients_that_vanish_are_each_told_once(house: House) -> None:
    web = Web.started(house, "vanish")

    async def vanish() -> None:
        async with connected(web, count=20) as sockets:
            for socket in sockets:
                socket._response.connection.transport.abort()  # type: ignore[union-attr]

    run(vanish())
    assert sorted(gone(web, 20)) == sorted(web.tell("state")["open"])


def test_a_gateway_that_dies_takes_its_connections_and_their_ends_are_told(own_house: House) -> None:
    web = Web.started(own_house, "dies")

    async def talk() -> None:
        async with connected(web, count=3) as sockets:
            await asyncio.to_thread(_all_heard_of, web, 3)
            own_house.kill(own_house.service("gateway"))
            for socket in sockets:
                assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)

    run(talk())
    assert sorted(gone(web, 3)) == sorted(web.tell("state")["open"])
    eventually(lambda: _answers(web), "it listens again")
    run(_again(web))


def _answers(web: Web) -> bool:
    try:
        return web.get("/hello/x").status == 200
    except OSError:
        return False


async def _again(web: Web) -> None:
    async with connected(web) as (socket,):
        await socket.send_str("again")
        assert await socket.receive_str() == "again"


def _all_heard_of(web: Web, count: int) -> None:
    eventually(lambda: len(web.tell("state")["open"]) == count, "the actor knows of all")


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096
