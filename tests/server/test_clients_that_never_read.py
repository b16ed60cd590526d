"""Clients that ask for much and read nothing: what waits for them is bounded, and nobody else notices."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, eventually

from theater.bus.sockets import Context, Dealer, Full
from theater.core.wire import Request, encode

LINE = b"l" + b"x" * 60_000
LINES = 60
ASKED = 300


def peak_mib(pid: int) -> int:
    """What a process has had in memory at most: VmHWM of proc(5)."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) >> 10


@contextlib.contextmanager
def mute(house: House) -> Iterator[Dealer]:
    """A connection of which nobody reads anything."""
    context = Context()
    dealer = context.dealer(f"ipc://{house.home}/run/control", queue=1)
    try:
        yield dealer
    finally:
        dealer.close()
        context.close()


def ask_for_logs(dealer: Dealer, actor: str, times: int) -> None:
    for number in range(times):
        try:
            dealer.send(encode(Request(number + 1, "logs", {"actor": actor, "limit": 1 << 24}, 60_000)), patience=5.0)
        except Full:
            return  # The server does not read either from who reads nothing.


@pytest.mark.parametrize(("clients", "most_mib"), [(1, 128), (8, 448)])
def test_a_server_keeps_no_more_for_them_than_it_says(own_house: House, clients: int, most_mib: int) -> None:
    """64 MiB for one, 256 MiB for all, and beyond that what is in each connection."""
    house = own_house
    actor = house.start("one").id
    for _ in range(LINES):
        house.client.request("one", LINE)
    answer = house.client.call("logs", {"actor": actor, "limit": 1 << 24})
    size = sum(len(line["text"]) for line in answer["lines"])
    assert size * ASKED > 900 << 20
    before = peak_mib(house.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(clients):
            ask_for_logs(stack.enter_context(mute(house)), actor, ASKED // clients)
        served = most_mib * (1 << 20) // size
        eventually(
            lambda: house.client.hello().refused >= ASKED // clients * clients - served, "the others are refused"
        )
        assert peak_mib(house.pid) - before < most_mib
        assert house.client.request("one", b"e") == b"e"
    assert house.client.request("one", b"e") == b"e"
