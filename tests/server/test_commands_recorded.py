"""What the supervisor's chain says of commands: all of them, before they are carried out, and who gave them."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import ready_commands
from elsewhere import Elsewhere, public_key
from house import House, eventually, make_house

from theater.core.codec import content_digest
from theater.core.curve import fingerprint
from theater.core.roles import Role
from theater.errors import NotAuthorised, RoleRequired, StartFailed
from theater.server.commands import REFUSALS_AT_ONCE


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


def commands(elsewhere: Elsewhere, op: str) -> list[dict[str, Any]]:
    return [entry for entry in elsewhere.entries("command") if entry["op"] == op]


def test_a_command_of_this_machine_has_user_and_process(elsewhere: Elsewhere) -> None:
    actor = elsewhere.house.start("local").id
    elsewhere.house.client.restart(actor)
    entry = commands(elsewhere, "restart")[-1]
    assert entry["who"] == {"by": "local", "name": getpass.getuser(), "uid": os.getuid(), "pid": os.getpid()}
    assert entry["args"] == {"actor": actor}
    (end,) = [each for each in elsewhere.entries("command-ended") if each["number"] == entry["number"]]
    assert (end["op"], end["error"]) == ("restart", None)


def test_a_command_from_elsewhere_has_key_and_address(elsewhere: Elsewhere) -> None:
    actor = elsewhere.house.start("far").id
    name, operator = elsewhere.admit(Role.OPERATE)
    operator.restart(actor)
    key = fingerprint(public_key(elsewhere.house.folder / f"{name}.key"))
    assert commands(elsewhere, "restart")[-1]["who"] == {"by": "key", "name": name, "key": key, "address": "127.0.0.1"}


def test_it_stands_before_what_it_causes_and_its_end_behind(elsewhere: Elsewhere) -> None:
    elsewhere.house.start("order")
    story = [
        (event, details.get("op"))
        for event, details in elsewhere.house.history()
        if details.get("op") == "start" or event == "started"
    ][-3:]
    assert story == [("command", "start"), ("started", None), ("command-ended", "start")]


def test_what_fails_says_so(elsewhere: Elsewhere) -> None:
    with pytest.raises(StartFailed):
        elsewhere.house.start("failing", init_state=b"fail")
    assert elsewhere.entries("command-ended")[-1]["error"] == "StartFailed"


def test_bodies_are_not_copied_but_can_be_found(elsewhere: Elsewhere) -> None:
    actor = elsewhere.house.start("quiet").id
    elsewhere.house.client.request(actor, b"c")
    entry = commands(elsewhere, "message")[-1]
    assert entry["args"]["body"] == {"size": 1, "digest": content_digest(b"c").hex()}
    assert entry["number"] not in [each["number"] for each in elsewhere.entries("command-ended")]


def test_reading_leaves_nothing_until_it_is_summed_up(own: Elsewhere) -> None:
    own.open()
    name, reader = own.admit(Role.READ)
    before = own.house.client.events("supervisor", -1).next
    for _ in range(200):
        reader.list()
    assert own.house.client.events("supervisor", -1).next - before < 10
    own.house.client.stop_server()
    own.house.await_end()
    own.open()
    (entry,) = [each for each in own.entries("commands-read") if each["who"]["name"] == name]
    assert entry["counts"] == {"list": 200}


def test_who_may_not_is_recorded_and_cannot_fill_the_disk(own: Elsewhere) -> None:
    own.open()
    name, reader = own.admit(Role.READ)
    for _ in range(100):
        with pytest.raises(RoleRequired):
            reader.stop_server()
    refused = own.entries("command-refused")
    assert len(refused) == REFUSALS_AT_ONCE
    assert {(entry["who"]["name"], entry["op"], entry["times"]) for entry in refused} == {(name, "stop_server", 1)}
    own.house.client.stop_server()
    own.house.await_end()
    own.open()
    assert own.entries("command-refused")[-1]["times"] == 100 - REFUSALS_AT_ONCE


def test_a_stranger_who_knocks_is_recorded(own: Elsewhere) -> None:
    own.open()
    key = own.make_key("stranger", None)
    with pytest.raises(NotAuthorised):
        own.client(key).hello()
    entry = own.entries("command-refused")[-1]
    assert fingerprint(public_key(key)) in entry["who"]["by"]
    assert entry["op"] is None


def test_an_audit_shows_who_did_what(elsewhere: Elsewhere) -> None:
    actor = elsewhere.house.start("audited").id
    name, operator = elsewhere.admit(Role.OPERATE)
    operator.restart(actor)
    with pytest.raises(RoleRequired):
        operator.stop_server()

    def audit(*options: str) -> str:
        arguments = ["--home", str(elsewhere.house.home), "audit", "--who", name, *options]
        done = ready_commands.run(arguments, timeout=60, env=dict(os.environ), cwd=elsewhere.house.folder)
        return str(done.stdout.decode())

    begun, ended, refused = audit().splitlines()
    assert "127.0.0.1" in begun
    assert f"restart actor={actor}" in begun
    assert "restart: done" in ended
    assert "refused stop_server: " in refused
    (found, *_) = json.loads(audit("--json", "--limit", "1"))
    assert (found["event"], found["op"], found["who"]["name"]) == ("command", "restart", name)
    assert audit("--since", "-1").count("\n") <= 1


def test_the_chain_with_all_of_it_verifies(own: Elsewhere) -> None:
    own.open()
    _, admin = own.admit(Role.ADMIN)
    actor = admin.start(own.house.write("kept")).id
    admin.restart(actor)
    admin.stop_server()
    own.house.await_end()
    own.house.verify()


# ---- whom the path socket lets in


SCRIPT = """
import os, sys
from theater.client import Client
from theater.errors import TheaterError
os.setuid(int(sys.argv[2]))
try:
    with Client(home=sys.argv[1]) as client:
        print(client.hello(timeout=10).pid)
except TheaterError as error:
    print(type(error).__name__)
"""


def ask(house: House, uid: int) -> str:
    """What another process is answered, of this user."""
    command = [sys.executable, "-c", SCRIPT, str(house.home), str(uid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout.strip() or done.stderr


def test_another_process_of_the_user_is_let_in(elsewhere: Elsewhere) -> None:
    assert ask(elsewhere.house, os.getuid()) == str(elsewhere.house.pid)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_is_not_let_in_even_where_files_would_allow_it(own: Elsewhere) -> None:
    own.house.open()
    for folder in (own.house.folder, own.house.home, own.house.home / "run"):
        folder.chmod(0o755)
    (own.house.home / "run" / "control").chmod(0o666)
    assert ask(own.house, 65534) == "NotAuthorised"
    eventually(lambda: any("user 65534" in each["why"] for each in own.entries("command-refused")), "it is recorded")


def test_a_server_that_ends_in_the_middle_has_said_what_it_was_about_to_do(own: Elsewhere) -> None:
    own.open()
    actor = own.house.start("slow").id
    number = own.house.client._link.submit("message", {"actor": actor, "body": b"c", "request": True}, 10.0)
    eventually(lambda: commands(own, "message"), "it is recorded")
    own.house.kill(own.house.pid)
    assert own.house.server is not None
    own.house.server.wait()
    own.house.client._link.forget({number})
    own.open()
    assert commands(own, "message")[-1]["args"]["actor"] == actor
