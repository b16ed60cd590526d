"""The example chat: what is said is heard in the same room, also by those whom a crash of the actor has overtaken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse
from house import PATIENCE, House, make_house
from test_example_readmes import Copy


@pytest.fixture(scope="module")
def chat() -> Iterator[Copy]:
    house = make_house(b"")
    try:
        copy = Copy(house, "chat")
        house.open()
        copy.run("theater build && theater start manifest.toml")
        yield copy
    finally:
        house.close()


def url(chat: Copy, name: str, room: str) -> str:
    return f"http://127.0.0.1:{chat.ports['8081']}/talk?name={name}&room={room}"


async def hears(socket: ClientWebSocketResponse, who: str, text: str) -> None:
    """Reads until it is said."""
    async with asyncio.timeout(PATIENCE):
        while json.loads(await socket.receive_str()) != {"from": who, "text": text}:
            pass


def test_a_room_hears_what_is_said_in_it_and_not_what_is_said_elsewhere(chat: Copy) -> None:
    async def act() -> None:
        async with (
            ClientSession() as session,
            session.ws_connect(url(chat, "ada", "one")) as ada,
            session.ws_connect(url(chat, "bob", "one")) as bob,
            session.ws_connect(url(chat, "eve", "two")) as eve,
        ):
            await hears(eve, "*", "eve has come")
            await ada.send_str("a secret")
            await hears(bob, "ada", "a secret")
            await eve.send_str("did I miss something?")
            async with asyncio.timeout(PATIENCE):
                assert json.loads(await eve.receive_str())["from"] == "eve"

    asyncio.run(act())


def test_a_conversation_goes_on_when_the_actor_is_killed_in_the_middle_of_it(chat: Copy) -> None:
    house: House = chat.house

    async def act() -> None:
        async with (
            ClientSession() as session,
            session.ws_connect(url(chat, "ada", "three")) as ada,
            session.ws_connect(url(chat, "bob", "three")) as bob,
        ):
            # What a call has done counts when it is over: the next one sees it.
            async with session.get(f"http://127.0.0.1:{chat.ports['8081']}/rooms") as rooms:
                assert (await rooms.json())["three"] == ["ada", "bob"]
            incarnation = house.row("chat").incarnation
            house.kill_worker("chat")
            house.await_incarnation("chat", incarnation + 1)
            await ada.send_str("still there?")
            await hears(bob, "ada", "still there?")

    asyncio.run(act())
    house.verify()


def test_everybody_hears_of_one_who_has_gone(chat: Copy) -> None:
    async def act() -> None:
        async with ClientSession() as session, session.ws_connect(url(chat, "ada", "four")) as ada:
            async with session.ws_connect(url(chat, "bob", "four")):
                await hears(ada, "*", "bob has come")
            await hears(ada, "*", "bob has gone")

    asyncio.run(act())
