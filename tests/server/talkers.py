"""What the actor of tests/actors/talker.wat does, and what its chain says it was told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wasmtime
from house import House

from theater.client import Row

WAT = Path(__file__).parents[1] / "actors" / "talker.wat"
CHANNEL = 36


def add_talker(house: House) -> House:
    """Puts the component into a house."""
    (house.folder / "talker.wasm").write_bytes(bytes(wasmtime.wat2wasm(WAT.read_text())))
    return house


def start(house: House, name: str, **facts: Any) -> Row:
    return house.start(name, component="talker.wasm", **facts)


def opening(name: str, first: bytes) -> bytes:
    """Makes a talker open a channel to the actor `name`; it answers the channel's id."""
    return b"o" + name.ljust(8).encode() + first


def writing(channel: str, body: bytes) -> bytes:
    """Makes a talker say `body` on a channel."""
    return b"w" + channel.encode() + body


def flooding(channel: str, times: int) -> bytes:
    """Makes a talker say so many numbers on a channel within one call."""
    return b"f" + channel.encode() + times.to_bytes(4, "little")


def closing(channel: str) -> bytes:
    return b"k" + channel.encode()


def open_channel(house: House, opener: str, other: str, first: bytes = b"y") -> str:
    return house.client.request(opener, opening(other, first)).decode()


def told(house: House, actor: str, channel: str | None = None) -> list[tuple[str, bytes | None]]:
    """What an actor was told of channels, or of one: (open | message | close, body)."""
    found = []
    for event in house.client.read_events(actor, types=["call"]):
        function, args = event.data["function"], event.data["args"]
        if function.startswith("handle-channel-") and channel in (None, args[0]):
            found.append((function.removeprefix("handle-channel-"), args[1] if len(args) > 1 else None))
    return found


def numbers(house: House, actor: str, channel: str) -> list[int]:
    """The numbers that an actor was told on a channel."""
    return [
        int.from_bytes(body[1:], "little")
        for what, body in told(house, actor, channel)
        if what == "message" and body is not None and body[:1] == b"#"
    ]
