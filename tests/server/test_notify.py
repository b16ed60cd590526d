"""What a service manager hears of a server, with a socket of the test in its place; real ones are in tests/systemd."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, eventually, is_running

from theater.errors import InvalidInput
from theater.server.cast import State
from theater.server.heartbeat import Health, told
from theater.server.notify import Notifier
from theater.server.reload import Read, Reload, require_success


class Ear:
    """A service manager's socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        """All datagrams so far."""
        try:
            while True:
                self.heard.append(self._socket.recv(65536).decode())
        except BlockingIOError:
            return self.heard

    def await_one(self, beginning: str, after: int = 0) -> str:
        """The first datagram behind the `after`th that begins so."""

        def look() -> str | None:
            return next((said for said in self.listen()[after:] if said.startswith(beginning)), None)

        return str(eventually(look, lambda: f"{beginning} in {self.heard}"))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    found = Ear(str(tmp_path / "n"))
    yield found
    found.close()


# ---- the datagrams


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_messages_reach_a_socket_in_the_file_system_and_an_abstract_one(kind: str, tmp_path: Path) -> None:
    ear = Ear(str(tmp_path / "n") if kind == "path" else f"@theater-test-{os.getpid()}")
    with contextlib.closing(Notifier(ear.address)) as notifier:
        notifier.ready("two\nlines")
    assert ear.listen() == ["READY=1\nSTATUS=two lines"]
    ear.close()


def test_the_variables_are_taken_out_of_the_environment() -> None:
    environment = {"NOTIFY_SOCKET": "/nobody", "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    with contextlib.closing(Notifier.from_environment(environment)) as notifier:
        assert notifier.watchdog_s == 5.0
    assert environment == {"A": "b"}


def test_a_watchdog_for_another_process_is_none_of_ours() -> None:
    environment = {"NOTIFY_SOCKET": "/nobody", "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}
    with contextlib.closing(Notifier.from_environment(environment)) as notifier:
        assert notifier.watchdog_s is None


@pytest.mark.parametrize("address", ["", "@", "relative", "vsock:2:1"])
def test_an_address_that_is_none_means_that_there_is_no_manager(address: str) -> None:
    assert not Notifier.from_environment({"NOTIFY_SOCKET": address}).is_heard


def test_a_manager_that_is_not_there_or_does_not_listen_harms_nobody(ear: Ear, tmp_path: Path) -> None:
    for address in (None, str(tmp_path / "nobody"), ear.address):
        with contextlib.closing(Notifier(address)) as notifier:
            for _ in range(1000):  # More than the queue of a socket holds.
                notifier.alive()


def test_a_reload_carries_the_moment_at_which_it_began(ear: Ear) -> None:
    with contextlib.closing(Notifier(ear.address)) as notifier:
        notifier.reloading()
    first, _, second = ear.listen()[0].partition("\n")
    assert first == "RELOADING=1"
    assert 0 <= time.monotonic() * 1e6 - int(second.removeprefix("MONOTONIC_USEC=")) < 60e6


# ---- what is told


def test_the_status_counts_actors_by_state() -> None:
    states = Counter({State.RUNNING: 10, State.RESTARTING: 1, State.FAILED: 2})
    assert told(states, stopping=False, is_behind=False) == "13 actors: 10 running, 1 restarting, 2 failed"


def test_the_status_names_a_disk_that_refuses() -> None:
    assert told(Counter(), stopping=True, is_behind=True) == "stopping, 0 actors; the disk refuses the record"


@pytest.mark.parametrize(
    ("late", "without", "is_well"),
    [(0.0, 0.0, True), (7.0, 0.0, True), (8.0, 0.0, False), (0.0, 29.0, True), (0.0, 31.0, False)],
)
def test_a_loop_that_is_late_or_without_a_spawner_is_not_well(late: float, without: float, is_well: bool) -> None:
    assert (Health(late, without).fault(watchdog_s=30.0) is None) == is_well


# ---- reading again


def test_every_step_is_carried_out_and_failures_are_told_together() -> None:
    def refuse() -> None:
        raise InvalidInput("it is empty")

    def vanish() -> None:
        raise FileNotFoundError(2, "No such file or directory")

    reload = Reload()
    reload.add("the keys", refuse)
    reload.add("the names", vanish)
    reload.add("the rest", lambda: None)
    done = reload.carry_out()
    assert done == [Read("the keys", "it is empty"), Read("the names", "No such file or directory"), Read("the rest")]
    with pytest.raises(InvalidInput, match="the keys: it is empty; the names: No such file or directory"):
        require_success(done)


# ---- a server


def _open(house: House, ear: Ear, **environment: str) -> None:
    house.server = house.popen(NOTIFY_SOCKET=ear.address, **environment)
    house.await_server()


def test_a_server_says_when_it_serves_how_its_actors_are_and_when_it_ends(closed_house: House, ear: Ear) -> None:
    house = closed_house
    _open(house, ear)
    assert ear.await_one("READY=1").endswith("STATUS=0 actors")
    house.start("counter")
    ear.await_one("STATUS=1 actor: 1 running")
    assert not any("WATCHDOG" in said for said in ear.heard)
    house.send_signal(signal.SIGTERM)
    assert house.await_end() == 0
    ear.await_one("STOPPING=1")


def test_actors_are_up_again_when_or_after_a_server_says_that_it_is_ready(closed_house: House, ear: Ear) -> None:
    house = closed_house
    _open(house, ear)
    house.start("counter")
    house.send_signal(signal.SIGKILL)
    house.await_end()
    before = len(ear.listen())
    _open(house, ear)
    assert "1 actor" in ear.await_one("READY=1", before)


def test_a_reload_begins_and_ends_by_signal_and_by_command(closed_house: House, ear: Ear) -> None:
    house = closed_house
    _open(house, ear)
    ear.await_one("READY=1")
    for reload in (lambda: house.send_signal(signal.SIGHUP), house.client.reload):
        before = len(ear.listen())
        reload()
        ear.await_one("RELOADING=1", before)
        ear.await_one("READY=1", before)


def test_no_process_of_a_server_inherits_the_socket_of_the_manager(closed_house: House, ear: Ear) -> None:
    house = closed_house
    _open(house, ear, WATCHDOG_USEC="60000000")
    house.start("counter")
    others = [pid for pid in house.processes() if pid != house.pid]
    assert others
    for pid in others:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in environment
        assert b"WATCHDOG" not in environment


def test_the_watchdog_is_fed_while_the_loop_runs_and_no_longer(closed_house: House, ear: Ear) -> None:
    house = closed_house
    _open(house, ear, WATCHDOG_USEC="2000000")
    ear.await_one("WATCHDOG=1")
    before = len(ear.listen())
    ear.await_one("WATCHDOG=1", before)
    house.send_signal(signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{house.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    before = len(ear.listen())
    spawner = time.monotonic() + 2.0
    while time.monotonic() < spawner:  # That nothing comes cannot be waited for.
        assert not any(said.startswith("WATCHDOG") for said in ear.listen()[before:])
        time.sleep(0.1)
    house.send_signal(signal.SIGCONT)
    ear.await_one("WATCHDOG=1", before)
    assert is_running(house.pid)
