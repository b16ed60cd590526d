"""`theater keys`, and what says where a server elsewhere is."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from commandline import Theater

from theater.core.authorized_key import read
from theater.core.curve import fingerprint, public_of
from theater.core.roles import Role
from theater.errors import InvalidInput, NotFound, SocketPathTooLong, WrongState

SERVER_KEY = public_of(bytes(range(32))).hex()


@pytest.fixture
def config(theater: Theater, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's keys are."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(theater.home / "config"))
    return theater.home / "config" / "theater"


def test_a_new_key_is_secret_and_its_file_for_the_server_is_not(theater: Theater, config: Path) -> None:
    done = theater("keys", "new", "alice", "--role", "operate", "--expires", "2999-01-01", "--comment", 'her "laptop"')
    assert done.code == 0, done.err
    secret, public = config / "keys" / "alice.key", config / "keys" / "alice.toml"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
    found = read(public.read_text(), "")
    assert found.key == public_of(bytes.fromhex(secret.read_text().strip()))
    assert (found.name, found.role, found.comment) == ("alice", Role.OPERATE, 'her "laptop"')
    assert found.is_over(40e9)
    assert not found.is_over(2e9)
    assert fingerprint(found.key) in done.text
    assert secret.read_text().strip() not in public.read_text() + done.text


def test_a_key_is_never_written_over(theater: Theater, config: Path) -> None:
    theater("keys", "new", "alice")
    before = (config / "keys" / "alice.key").read_text()
    assert theater("keys", "new", "alice").code == WrongState.exit_code
    assert (config / "keys" / "alice.key").read_text() == before


@pytest.mark.parametrize(
    "options",
    [("../alice",), ("",), ("x" * 65,), ("alice", "--expires", "tomorrow"), ("alice", "--expires", '"2027-01-01"'),
     ("alice", "--comment", "two\nlines"), ("alice", "--expires", '2027-01-01\nrole = "admin"')],
)  # fmt: skip
def test_what_a_server_would_refuse_is_not_made(theater: Theater, config: Path, options: tuple[str, ...]) -> None:
    assert theater("keys", "new", *options).code == InvalidInput.exit_code
    assert list(config.rglob("*.key")) == []


def test_keys_are_listed_and_wrong_ones_said(theater: Theater, config: Path) -> None:
    theater("keys", "new", "alice", "--role", "admin")
    theater("keys", "new", "bob")
    (found, other) = json.loads(theater("keys", "list", "--json").out)
    assert (found["name"], found["role"], found["expires"], found["expired"]) == ("alice", "admin", None, False)
    assert other["role"] == "read"
    (config / "keys" / "wrong.toml").write_text('name = "x"\n')
    done = theater("keys", "list", "--authorized-keys", str(config / "keys"))
    assert done.code == InvalidInput.exit_code
    assert "alice" in done.text
    assert "key is missing" in done.err
    assert theater("keys", "list", "--authorized-keys", "nowhere").code == NotFound.exit_code


def test_a_server_that_was_never_told_to_listen_has_no_key(theater: Theater) -> None:
    done = theater("keys", "show")
    assert (done.code, "--listen" in done.err) == (NotFound.exit_code, True)
    (theater.home / "control-key.pub").write_text(SERVER_KEY + "\n")
    assert theater("keys", "show").text == SERVER_KEY + "\n"


def test_a_server_is_trusted_by_its_key_and_known_by_its_name(theater: Theater, config: Path) -> None:
    assert theater("keys", "trust", "prod", "tcp://127.0.0.1:9").code == 2
    theater("keys", "new", "alice")
    trust = ("keys", "trust", "prod", "tcp://127.0.0.1:9", "--server-key", SERVER_KEY, "--client-key", "alice")
    assert theater(*trust).code == 0
    assert theater(*trust).code == WrongState.exit_code
    done = theater("list", "--address", "prod")
    assert (done.code, "tcp://127.0.0.1:9" in done.err) == (5, True)
    assert theater("list", "--address", "other").code == NotFound.exit_code


@pytest.mark.parametrize("text", ["x", "[prod]\n", '[prod]\naddress = 1\nserver_key = "x"\n', 'prod = "x"\n'])
def test_a_file_of_servers_that_is_wrong_says_so(theater: Theater, config: Path, text: str) -> None:
    config.mkdir(parents=True)
    (config / "servers.toml").write_text(text)
    done = theater("list", "--address", "prod")
    assert (done.code, "servers.toml" in done.err) == (InvalidInput.exit_code, True)


def test_an_address_without_a_key_is_refused_before_anything_is_said(theater: Theater, config: Path) -> None:
    done = theater("list", "--address", "tcp://127.0.0.1:9")
    assert (done.code, "theater keys show" in done.err) == (InvalidInput.exit_code, True)
    done = theater("list", "--address", "tcp://127.0.0.1:9", "--server-key", SERVER_KEY)
    assert (done.code, "theater keys new" in done.err) == (NotFound.exit_code, True)


@pytest.mark.parametrize("address", ["tcp://", "tcp://x", "tcp://x:99999", "udp://x:1", "tcp://a b:1"])
def test_what_is_no_address_says_what_one_is(theater: Theater, config: Path, address: str) -> None:
    done = theater("list", "--address", address)
    assert (done.code, "tcp://HOST:PORT" in done.err) == (InvalidInput.exit_code, True)
    assert theater("list", "--address", "ipc:///" + "x" * 200).code == SocketPathTooLong.exit_code


def test_what_reads_the_files_of_a_home_says_that_it_is_not_here(theater: Theater, config: Path) -> None:
    theater("keys", "new", "alice")
    environment = {"THEATER_ADDRESS": "tcp://127.0.0.1:9", "THEATER_SERVER_KEY": SERVER_KEY, "THEATER_HOME": ""}
    done = theater("verify", **environment)
    assert (done.code, "on its machine" in done.err) == (InvalidInput.exit_code, True)


def test_where_to_listen_and_who_may_go_together(theater: Theater) -> None:
    assert theater("server", "--listen", "tcp://127.0.0.1:0").code == 2
    assert theater("server", "--authorized-keys", ".").code == 2
    assert theater("server", "--listen", "127.0.0.1:0", "--authorized-keys", ".").code == InvalidInput.exit_code
    done = theater("server", "--listen", "tcp://127.0.0.1:0", "--authorized-keys", "nowhere")
    assert (done.code, "nowhere" in done.err) == (InvalidInput.exit_code, True)
    theater.home.chmod(0o700)
    loose = theater.home / "loose"
    loose.mkdir()
    loose.chmod(0o777)
    done = theater("server", "--listen", "tcp://127.0.0.1:0", "--authorized-keys", str(loose))
    assert (done.code, "chmod go-w" in done.err) == (InvalidInput.exit_code, True)
