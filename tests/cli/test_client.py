"""What a client promises whatever its server does."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commandline import Scripted, Theater

from theater.client import Client, Supervisor
from theater.core.codec import content_digest
from theater.errors import ActorFailed, NoServer, SocketPathTooLong, TimedOut, UnknownActor, WireError


@pytest.fixture
def client(theater: Theater, server: Scripted) -> Iterator[Client]:
    with Client(theater.address) as client:
        yield client


def test_a_client_opens_nothing_before_its_first_operation(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with Client(home=tmp_path):
        assert os.listdir("/proc/self/fd") == before


def test_a_client_gives_back_all_descriptors(theater: Theater, server: Scripted) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with Client(theater.address) as client:
        client.hello()
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_a_socket_file_there_is_no_server(tmp_path: Path) -> None:
    with Client(home=tmp_path) as client, pytest.raises(NoServer) as raised:
        client.list()
    assert raised.value.message == f"no server at ipc://{tmp_path}/run/control; start one with `theater server`"


def test_a_socket_file_that_nobody_listens_on_is_no_server(tmp_path: Path) -> None:
    path = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    with Client(f"ipc://{path}") as client, pytest.raises(NoServer, match="start one with `theater server`"):
        client.list()


def test_an_address_no_kernel_accepts_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SocketPathTooLong):
        Client(home=tmp_path / ("x" * 120))


def test_rows_come_in_start_order_with_their_last_exit(client: Client) -> None:
    counter, pinger = client.list()
    assert (counter.name, counter.last_exit) == ("counter", None)
    assert pinger.last_exit is not None
    assert pinger.last_exit.signal == 9


def test_plain_gives_back_what_the_server_sent(client: Client) -> None:
    assert [row.plain() for row in client.list()] == client.call("list", {})
    assert client.tree().plain() == client.call("tree", {})
    assert client.inspect("counter").plain() == client.call("inspect", {"actor": "counter"})


def test_a_tree_holds_supervisors_and_rows(client: Client) -> None:
    counter, pool = client.tree().children
    assert counter.name == "counter"
    assert isinstance(pool, Supervisor)


def test_a_reply_is_the_bytes_of_the_actor(client: Client) -> None:
    assert client.request("counter", b"\x00\xff") == b"\x00\xff"


def test_an_error_arrives_as_the_class_it_left_as(client: Client) -> None:
    with pytest.raises(ActorFailed, match="cannot count") as raised:
        client.request("counter", b"fail")
    assert raised.value.details["actor"] == client.list()[0].id


def test_content_is_uploaded_under_its_digest(client: Client) -> None:
    digest = content_digest(b"abc").hex()
    assert client.have([digest]) == {digest}
    assert client.put(b"abc") == digest
    assert client.have([digest]) == frozenset()


def test_a_request_without_an_answer_ends_at_its_deadline(client: Client) -> None:
    with pytest.raises(TimedOut, match=r"to 'message' within 0\.2 s"):
        client.call("message", {"actor": "counter", "body": b"say nothing", "request": True}, timeout=0.2)


def test_a_late_reply_is_not_taken_for_the_next_one(client: Client) -> None:
    with pytest.raises(TimedOut):
        client.call("message", {"actor": "counter", "body": b"answer late", "request": True}, timeout=0.1)
    assert client.request("counter", b"second") == b"second"
    assert client.request("counter", b"third") == b"third"


def test_a_server_that_dies_while_it_is_waited_for_is_no_server(client: Client) -> None:
    began = time.monotonic()
    with pytest.raises(NoServer, match="start one with `theater server`"):
        client.request("counter", b"die", timeout=20)
    assert time.monotonic() - began < 5


def test_a_server_that_is_killed_while_it_is_waited_for_is_no_server(client: Client, server: Scripted) -> None:
    killer = threading.Timer(0.2, server.kill)
    killer.start()
    with pytest.raises(NoServer):
        client.request("counter", b"say nothing", timeout=20)
    killer.join()


def test_a_client_finds_the_next_server_at_the_same_address(
    theater: Theater, serve: Callable[[], Scripted], client: Client
) -> None:
    with pytest.raises(NoServer):
        client.request("counter", b"die")
    with pytest.raises(NoServer):
        client.list()
    serve()
    assert client.request("counter", b"again") == b"again"


def test_a_new_server_is_noticed_even_if_the_death_of_the_old_one_was_not(
    serve: Callable[[], Scripted], client: Client, server: Scripted
) -> None:
    client.hello()
    server.kill()
    serve()
    assert client.request("counter", b"again") == b"again"


def test_what_is_no_message_of_the_protocol_is_said_to_be_so(client: Client) -> None:
    with pytest.raises(WireError):
        client.request("counter", b"speak in tongues")


def test_stopping_the_server_returns_when_its_process_is_gone(client: Client, server: Scripted) -> None:
    client.stop_server()
    assert server.process.wait(0) == 0


def test_progress_is_passed_on(client: Client, tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text('name = "a"\ncomponent = "a.wasm"\n')
    (tmp_path / "a.wasm").write_bytes(b"\0asm")
    said: list[str] = []
    assert client.start(tmp_path, name="x", on_progress=said.append).name == "x"
    assert "compiling" in said


def test_reading_events_goes_to_the_end_and_no_further(client: Client) -> None:
    client.send("counter", b"one")
    assert [event.type for event in client.read_events("counter")] == ["genesis", "call"]
    assert [event.seq for event in client.read_events("counter", types=["call"])] == [1]


def test_followed_events_of_several_actors_arrive_as_they_happen(client: Client, theater: Theater) -> None:
    counter, pinger = (row.id for row in client.list())
    followed = client.follow_events({counter: 1, pinger: 1})
    with Client(theater.address) as other:
        other.send(pinger, b"one")
        assert next(followed)[0] == pinger
        other.send(counter, b"two")
        actor, event = next(followed)
    assert (actor, event.data["args"]) == (counter, [b"two"])


def test_other_operations_may_stand_between_followed_events(client: Client) -> None:
    followed = client.follow_events("counter")
    for number in range(3):
        assert next(followed)[1].seq == number
        client.send("counter", b"next")


def test_following_ends_with_the_server(client: Client, server: Scripted) -> None:
    followed = client.follow_events("counter")
    next(followed)
    server.kill()
    assert list(followed) == []


def test_following_ends_when_the_actor_is_removed(client: Client) -> None:
    followed = client.follow_events("counter", since=1)
    client.send("counter", b"one")
    next(followed)
    client.send("counter", b"remove")
    assert list(followed) == []


def test_following_nobody_is_an_error_from_the_start(client: Client, server: Scripted) -> None:
    with pytest.raises(UnknownActor):
        next(client.follow_logs("nobody"))
    server.kill()
    with pytest.raises(NoServer):
        next(client.follow_logs("counter"))


def test_a_followed_log_begins_with_its_last_lines(client: Client) -> None:
    assert [line.text for line in client.read_logs("counter", -1)] == ["t\x1b[2Jwo"]
    _, line = next(client.follow_logs("counter", -2))
    assert line.text == "one"
