"""Commands from elsewhere: who may give them, and what becomes of them."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import talkers
from elsewhere import Elsewhere, public_key
from house import House, count, eventually, make_house

from theater.client import Client
from theater.core.curve import public_of
from theater.core.roles import Role
from theater.errors import (
    ActorFailed,
    InvalidInput,
    MessageTooLarge,
    NoServer,
    NotAuthorised,
    NotFound,
    RoleRequired,
    UnknownActor,
    WrongServerKey,
)

Name = Callable[[], str]


@pytest.fixture(scope="module")
def elsewhere(probe: bytes) -> Iterator[Elsewhere]:
    """A server for all tests of this module."""
    house = make_house(probe)
    try:
        yield Elsewhere(house).open()
    finally:
        house.close()


@pytest.fixture
def own(closed_house: House) -> Elsewhere:
    """A server for one test, not started yet."""
    return Elsewhere(closed_house)


# ---- what holds without it, and of the server's key


def test_a_server_listens_nowhere_unless_it_is_told_to(own_house: House) -> None:
    assert own_house.client.call("hello", {})["remote"] is None
    assert not (own_house.home / "control-key").exists()


def test_the_key_of_a_server_is_made_once_and_nobody_else_reads_it(own: Elsewhere) -> None:
    own.open()
    key, home = own.remote["key"], own.house.home
    assert stat.S_IMODE((home / "control-key").stat().st_mode) == 0o600
    assert (home / "control-key.pub").read_text() == f"{key}\n"
    assert public_key(home / "control-key").hex() == key
    assert key in own.house.log_text()
    own.house.client.stop_server()
    own.house.await_end()
    own.open()
    assert own.remote["key"] == key


def test_it_listens_at_ipv6_too(own: Elsewhere) -> None:
    own.open("tcp://[::1]:0")
    _, admin = own.admit(Role.ADMIN)
    assert admin.hello().pid == own.house.pid


# ---- what an admin does over the network


def test_an_admin_does_all_that_can_be_done_at_the_machine(elsewhere: Elsewhere, name: Name) -> None:
    house = elsewhere.house
    _, admin = elsewhere.admit(Role.ADMIN)
    actor = admin.start(house.write(name())).id
    assert count(admin.request(actor, b"c")) == 1
    assert house.count(actor) == 2
    assert actor in [row.id for row in admin.list()]
    assert admin.inspect(actor).row.incarnation == 0 or admin.restart(actor).id == actor
    assert admin.tree().children
    assert next(admin.read_events(actor)).type == "genesis"
    assert admin.state(actor).id == actor
    assert admin.stop(actor, remove=True).id == actor
    with pytest.raises(UnknownActor):
        house.row(actor)


def test_a_stream_goes_on_over_the_network(elsewhere: Elsewhere, name: Name) -> None:
    actor = elsewhere.house.start(name()).id
    _, reader = elsewhere.admit(Role.READ)
    followed = reader.follow_events(actor)
    assert next(followed)[1].type == "genesis"
    threading.Timer(0.2, _send, (elsewhere.house, actor)).start()
    assert any(event.type == "call" and event.data["function"] != "init" for _, event in followed)


def test_a_channel_goes_over_the_network_and_ends_with_the_right_to_it(elsewhere: Elsewhere, name: Name) -> None:
    actor = talkers.start(talkers.add_talker(elsewhere.house), name()).id
    key_name, operator = elsewhere.admit(Role.OPERATE)
    channel = operator.open_channel(actor, b"r hello")
    assert next(iter(channel))
    assert elsewhere.house.client.channels(actor)
    elsewhere.remove(key_name)
    eventually(lambda: not elsewhere.house.client.channels(actor), "the channel is closed")


def test_content_that_is_longer_than_a_frame_travels_in_parts(elsewhere: Elsewhere) -> None:
    _, admin = elsewhere.admit(Role.ADMIN)
    content = os.urandom(3 << 20)
    digest = admin.put(content)
    assert digest == elsewhere.house.client.put(content)
    assert admin.have([digest]) == frozenset()


def test_a_message_that_is_longer_than_a_frame_is_refused_and_says_so(elsewhere: Elsewhere, name: Name) -> None:
    actor = elsewhere.house.start(name(), limits={"message": "4MB"}).id
    _, operator = elsewhere.admit(Role.OPERATE)
    with pytest.raises(MessageTooLarge, match="over the network"):
        operator.request(actor, bytes(2 << 20))
    assert count(operator.request(actor, b"c")) == 1


def test_the_end_of_a_server_is_the_end_of_what_waits_for_it(own: Elsewhere) -> None:
    own.open()
    _, admin = own.admit(Role.ADMIN)
    admin.stop_server()
    own.house.await_end()
    with pytest.raises(NoServer):
        admin.list()


def _send(house: House, actor: str) -> None:
    with Client(home=house.home) as client:
        client.send(actor, b"c")


# ---- roles


def test_a_reader_reads_and_changes_nothing(elsewhere: Elsewhere, name: Name) -> None:
    actor = elsewhere.house.start(name()).id
    _, reader = elsewhere.admit(Role.READ)
    assert reader.inspect(actor).row.id == actor
    assert list(reader.read_events("supervisor"))
    for attempt in (
        lambda: reader.request(actor, b"c"),
        lambda: reader.restart(actor),
        lambda: reader.open_channel(actor),
        lambda: reader.put(b"x"),
        lambda: reader.stop(actor),
        reader.stop_server,
        reader.checkpoint,
    ):
        with pytest.raises(RoleRequired, match="you have read"):
            attempt()
    assert elsewhere.house.count(actor) == 1


def test_an_operator_uses_actors_and_decides_nothing(elsewhere: Elsewhere, name: Name) -> None:
    actor = elsewhere.house.start(name()).id
    _, operator = elsewhere.admit(Role.OPERATE)
    assert count(operator.request(actor, b"c")) == 1
    with pytest.raises(ActorFailed):
        operator.open_channel(actor)
    with pytest.raises(RoleRequired, match="takes the role admin"):
        operator.stop(actor, remove=True)
    with pytest.raises(RoleRequired):
        operator.start(elsewhere.house.write(name()))
    assert operator.stop(actor).state == "stopped"


def test_another_role_holds_for_the_connections_that_are_there(elsewhere: Elsewhere) -> None:
    key = elsewhere.make_key("grows", Role.READ)
    client = elsewhere.client(key)
    with pytest.raises(RoleRequired):
        client.put(b"x")
    elsewhere.authorize("grows", public_key(key), Role.ADMIN)
    eventually(lambda: _may_put(client), "the new role is known")
    elsewhere.authorize("grows", public_key(key), Role.READ)
    eventually(lambda: not _may_put(client), "the role is the old one again")


def _may_put(client: Client) -> bool:
    try:
        return bool(client.put(b"x"))
    except RoleRequired:
        return False


# ---- keys that open nothing


def test_a_key_that_was_not_added_opens_nothing(elsewhere: Elsewhere) -> None:
    stranger = elsewhere.client(elsewhere.make_key("stranger", None))
    with pytest.raises(NotAuthorised, match="does not authorise the key"):
        stranger.hello()


def test_a_key_that_is_added_opens_at_once(elsewhere: Elsewhere) -> None:
    key = elsewhere.make_key("late", None)
    with pytest.raises(NotAuthorised):
        elsewhere.client(key).hello()
    elsewhere.authorize("late", public_key(key), Role.READ)
    eventually(lambda: _is_let_in(elsewhere.client(key)), "the new key opens")


def test_who_is_taken_out_may_nothing_by_connections_that_are_there(elsewhere: Elsewhere, name: Name) -> None:
    actor = elsewhere.house.start(name()).id
    key_name, operator = elsewhere.admit(Role.OPERATE)
    assert count(operator.request(actor, b"c")) == 1
    elsewhere.remove(key_name)
    eventually(lambda: not _is_let_in(operator), "it is taken out")
    with pytest.raises(NotAuthorised):
        operator.request(actor, b"c")
    assert elsewhere.house.count(actor) == 2


def test_a_long_poll_tells_nothing_to_who_was_taken_out_meanwhile(elsewhere: Elsewhere, name: Name) -> None:
    actor = elsewhere.house.start(name()).id
    key_name, reader = elsewhere.admit(Role.READ)
    since = reader.events(actor).next
    elsewhere.remove(key_name)
    threading.Timer(1.0, _send, (elsewhere.house, actor)).start()
    with pytest.raises(NotAuthorised):
        reader.events(actor, since, wait=30.0)


def test_a_key_that_has_expired_opens_nothing(elsewhere: Elsewhere) -> None:
    with pytest.raises(NotAuthorised):
        elsewhere.client(elsewhere.make_key("over", Role.ADMIN, "2020-01-01")).hello()
    assert _is_let_in(elsewhere.client(elsewhere.make_key("lasts", Role.ADMIN, "2999-01-01T00:00:00Z")))


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        'name = "x"\nkey = "{key}"\n',
        'name = "x"\nkey = "{key}"\nrole = "god"\n',
        'name = "x"\nkey = "{key}"\nrole = "admin"\nexpire = 2020-01-01\n',
        'name = "x"\nkey = "{key}"\nrole = "admin"\nexpires = "2020-01-01"\n',
        'name = "x"\nkey = "{key}"\nrole = "admin"\nexpires = 2099-01-01T00:00:00\n',
    ],
)
def test_a_file_that_cannot_be_understood_lets_nobody_in(elsewhere: Elsewhere, text: str, tmp_path: Path) -> None:
    key = elsewhere.make_key(f"bad{hash(text)}", None)
    file = elsewhere.authorized / "bad.toml"
    file.write_text(text.replace("{key}", public_key(key).hex()))
    try:
        with pytest.raises(NotAuthorised):
            elsewhere.client(key).hello()
    finally:
        file.unlink()


def test_a_file_that_others_can_write_lets_nobody_in(elsewhere: Elsewhere) -> None:
    key = elsewhere.make_key("open", Role.ADMIN)
    (elsewhere.authorized / "open.toml").chmod(0o666)
    with pytest.raises(NotAuthorised):
        elsewhere.client(key).hello()
    eventually(lambda: "can be written by others" in elsewhere.house.log_text(), "the log says why")


# ---- what a client can do wrong


def test_a_server_with_another_key_is_not_spoken_to(elsewhere: Elsewhere) -> None:
    key = elsewhere.make_key("careful", Role.READ)
    with pytest.raises(WrongServerKey, match="theater keys show"):
        elsewhere.client(key, public_of(os.urandom(32)).hex()).hello()


def test_where_nobody_listens_there_is_no_server(elsewhere: Elsewhere) -> None:
    key = elsewhere.make_key("lost", Role.READ)
    with pytest.raises(NoServer, match="does it --listen there"):
        _at("tcp://127.0.0.1:9", elsewhere, key).hello(timeout=10)
    with pytest.raises(NoServer, match="no server answers"):
        _at("tcp://nowhere.invalid:9", elsewhere, key).hello(timeout=10)


def _at(address: str, elsewhere: Elsewhere, key: Path) -> Client:
    made = Client(address, elsewhere.house.home, elsewhere.remote["key"], str(key))
    elsewhere.house.clients.append(made)
    return made


def test_a_secret_key_that_others_can_read_is_not_used(elsewhere: Elsewhere) -> None:
    key = elsewhere.make_key("leaky", Role.READ)
    key.chmod(0o644)
    with pytest.raises(InvalidInput, match="others may read"):
        elsewhere.client(key)


def test_a_key_that_is_not_there_is_not_found(elsewhere: Elsewhere) -> None:
    with pytest.raises(NotFound):
        elsewhere.client(Path("nothing"))


def _is_let_in(client: Client) -> bool:
    try:
        client.hello()
    except NotAuthorised:
        return False
    return True
