"""Services: started when an actor needs them, started again when they die, ended with the server."""

from __future__ import annotations

import os
import signal

import pytest
from house import House, eventually, is_running

NEEDING = {"gateway": "http-client", "launcher": "process"}


def test_a_service_runs_when_an_actor_needs_it_and_no_other_does(closed_house: House) -> None:
    house = closed_house.open()
    house.start("plain")
    assert house.services() == {}
    house.start("web", handlers=("message-server", "http-client"))
    assert is_running(house.service("gateway"))
    assert set(house.services()) == {"gateway"}


@pytest.mark.parametrize("service", ["gateway", "launcher"])
def test_a_service_that_is_killed_comes_back_and_knows_all_lives(house: House, service: str) -> None:
    for name in ("one", "two"):
        house.start(f"{service}-{name}", handlers=("message-server", NEEDING[service]))
    first = house.service(service)
    os.kill(first, signal.SIGKILL)
    assert is_running(house.service(service, other_than=first))
    assert not is_running(first)
    assert house.services()[service]["lives"] == 2


def test_a_service_no_longer_serves_a_life_that_is_over(closed_house: House) -> None:
    house = closed_house.open()
    house.start("web", handlers=("message-server", "http-client"))
    house.service("gateway")
    house.client.stop("web")
    assert house.services()["gateway"]["lives"] == 0


def test_a_service_ends_with_a_server_that_is_killed_and_with_one_that_is_stopped(closed_house: House) -> None:
    house = closed_house.open()
    house.start("web", handlers=("message-server", "http-client"))
    first = house.service("gateway")
    house.send_signal(signal.SIGKILL)
    eventually(lambda: not is_running(first), "the gateway has ended")
    house.await_end()
    house.open()
    second = house.service("gateway")
    house.send_signal(signal.SIGTERM)
    assert house.await_end() == 0
    assert not is_running(second)
