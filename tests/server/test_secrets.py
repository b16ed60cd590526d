"""Secrets of actors under a real server: no file of the home has them, and what was recorded can be replayed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from effort import effort
from house import RESTLESS, House, eventually, make_house, outcome, sending
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keepers import keeper
from replays import endings, reproduced

from theater import config
from theater.config import Home
from theater.core.chain import HostResult, Lifecycle, Outcome
from theater.core.codec import Veiled
from theater.errors import StartFailed
from theater.replay.home import replay_home

Name = Callable[[], str]
TOKEN = "tok-\u00e9n/42 =!"
OTHER = "en/42 =! and more"  # It overlaps the token.
INNER = "n/42 =! a"  # It is a part of the other one.
LINE = b"\x00\xff\x80binary secret\n"
ALL = (TOKEN.encode(), OTHER.encode(), INNER.encode(), LINE)
SECRETS = """[secrets]
token = { env = "TEST_TOKEN" }
other = { env = "TEST_OTHER" }
inner = { file = "inner.secret" }
line = { file = "line.secret" }
"""


def write_secret(house: House, name: str, value: bytes) -> Path:
    path = house.folder / name
    path.touch(0o600)
    path.write_bytes(value + b"\n")
    return path


def open_house(**environment: str) -> House:
    house = make_house(keeper())
    write_secret(house, "inner.secret", INNER.encode())
    write_secret(house, "line.secret", LINE)
    return reopen(house, **{"TEST_TOKEN": TOKEN, "TEST_OTHER": OTHER, **environment})


def reopen(house: House, **environment: str) -> House:
    house.server = house.popen(**environment)
    house.await_server()
    return house


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    shared = open_house()
    try:
        yield shared
    finally:
        shared.close()


@pytest.fixture
def own_house() -> Iterator[House]:
    own = open_house()
    try:
        yield own
    finally:
        own.close()


def start(house: House, name: str, **facts: object) -> str:
    """An actor that knows all of the secrets."""
    supervision, chain = facts.pop("supervision", RESTLESS), facts.pop("chain", "")
    path = house.write(name, handlers=("message-server", "secrets", "timers"), supervision=supervision, **facts)
    path.write_text(f"{path.read_text()}{SECRETS}{chain}")
    return house.client.start(path).id


def files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """All files below a home but the kept secrets, and the server's log beside it."""
    for root, folders, names in os.walk(folder):
        if Path(root) == folder:
            folders.remove("secrets")
        for name in names:
            path = Path(root) / name
            if path.is_file():
                yield path, path.read_bytes()


def found_in(house: House, *values: bytes) -> list[str]:
    """Where secrets stand."""
    texts = [*files(house.home), (house.log, house.log.read_bytes())]
    shown = {form for value in values for form in (value, value.hex().encode(), base64.b64encode(value).rstrip(b"="))}
    return [f"{path}: {form!r}" for path, text in texts for form in shown if form in text]


def send(house: House, actor: str, message: bytes) -> None:
    house.client.send(actor, message)


# ---- one actor


def test_a_secret_reaches_the_actor_and_no_file(house: House, name: Name) -> None:
    actor = start(house, name())
    assert house.client.request(actor, b"ktoken") == TOKEN.encode()
    assert house.client.request(actor, b"kline") == LINE
    assert house.client.request(actor, b"g") == LINE
    payloads = reproduced(house, actor)
    assert endings(payloads) == ["ok"] * 4
    (result, *_) = [payload.value.value for payload in payloads if isinstance(payload, HostResult)]
    assert isinstance(result, Veiled)
    assert found_in(house, *ALL) == []
    house.verify()


def test_a_secret_that_the_manifest_does_not_name_is_refused(house: House, name: Name) -> None:
    actor = start(house, name())
    with pytest.raises(Exception, match="names no secret 'nothing'"):
        house.client.request(actor, b"knothing")
    reproduced(house, actor)


def test_people_see_the_name(house: House, name: Name) -> None:
    actor = start(house, name())
    house.client.request(actor, b"l it is " + TOKEN.encode())
    house.client.request(actor, b"S{" + TOKEN.encode() + b"}")
    assert house.client.state(actor).state == b"{[secret token]}"
    assert [line.text for line in house.client.read_logs(actor)][-1] == " it is [secret token]"
    (event, *_) = house.client.read_events(actor, -1)
    assert "[secret token]" in json.dumps(event.plain(), default=repr)


def test_every_way_in_and_out_of_a_call(house: House, name: Name) -> None:
    actor = start(house, name(), supervision={"restart": "temporary"})
    value = OTHER.encode()
    assert house.client.request(actor, b"e" + value) == b"e" + value
    assert outcome(lambda: house.client.request(actor, b"x no: " + value)) == "ActorFailed"
    house.client.request(actor, b"l" + base64.b64encode(b"user:" + value))
    house.client.request(actor, b"l" + TOKEN.encode().hex().encode())
    house.client.request(actor, b"S" + b"." * 4090 + value + b"." * 70_000 + LINE)
    house.client.request(actor, b"g")
    house.client.request(actor, b"q good bye, " + value)
    house.await_row(actor, lambda row: row.state != "running")
    assert endings(reproduced(house, actor)) == ["ok", "ok", "err", "ok", "ok", "ok", "ok", "ok"]
    assert found_in(house, *ALL) == []


_ANY = st.lists(st.sampled_from(ALL) | st.binary(max_size=5) | st.just(b"." * 4090), max_size=5).map(b"".join)


@settings(max_examples=effort(8, 100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([b"e", b"S", b"x", b"l", b"g", b"c"]), _ANY), max_size=6))
def test_whatever_is_said_around_them_no_file_has_a_secret(house: House, said: list[tuple[bytes, bytes]]) -> None:
    actor = start(house, "anyone")
    for what, rest in said:
        outcome(lambda message=what + rest: house.client.request(actor, message))  # type: ignore[misc]
    reproduced(house, actor)
    house.client.stop(actor, remove=True)
    assert found_in(house, *ALL) == []


# ---- ends, and lives that follow


def test_kills_and_restarts_go_on_with_the_clear_state(house: House, name: Name) -> None:
    actor = start(house, name())
    for turn in range(3):
        state = b"%d:" % turn + TOKEN.encode() + b":" + OTHER.encode()
        house.client.request(actor, b"S" + state)
        house.kill_worker(actor)
        assert house.client.request(actor, b"g") == state
        house.client.request(actor, b"c")
        house.client.request(actor, b"S" + state)
        send(house, actor, b"u" + LINE + b"%d" % turn)
        house.await_incarnation(actor, 3 + 2 * turn)
        assert house.client.request(actor, b"g") == state
    assert set(endings(reproduced(house, actor))) == {"ok", "unreachable"}
    assert found_in(house, *ALL) == []
    house.verify()


def test_a_message_that_is_poison_becomes_a_dead_letter_without_secrets(house: House, name: Name) -> None:
    actor = start(house, name())
    message = b"u" + TOKEN.encode()
    for incarnation in (2, 3):
        send(house, actor, message)
        house.await_incarnation(actor, incarnation)
    assert outcome(lambda: send(house, actor, message)) == "PoisonMessage"
    (letter,) = eventually(lambda: [row for row in house.client.dead_letters() if row.receiver == actor])
    assert letter.body == b"u[secret token]"
    assert found_in(house, *ALL) == []
    house.client.call("dead_letters", {"action": "resend", "numbers": [letter.number]})
    house.await_incarnation(actor, 4)
    assert endings(reproduced(house, actor)).count("unreachable") == 3


def test_a_letter_to_who_is_gone_has_no_secret_in_its_file(house: House, name: Name) -> None:
    one, other = name(), name()
    busy = {"supervision": {"restart": "temporary"}, "limits": {"call_timeout": "100s"}}
    actor, gone = start(house, one), start(house, other, **busy)
    house.client.request(actor, sending(other, b"b"))
    for number in range(3):
        house.client.request(actor, sending(other, b"n%d" % number + TOKEN.encode()))
    house.await_row(gone, lambda row: row.mailbox > 0 or row.entries > 4)
    house.kill(house.row(gone).pid or 0)
    eventually(lambda: [row for row in house.client.dead_letters() if row.receiver == gone and row.sender == actor])
    reproduced(house, actor)
    assert found_in(house, *ALL) == []


def test_a_changed_secret_and_the_old_one_in_the_state(own_house: House) -> None:
    actor = start(own_house, "a")
    own_house.client.request(actor, b"ktoken")
    own_house.client.request(actor, b"S" + TOKEN.encode())
    own_house.send_signal(signal.SIGTERM)
    own_house.await_end()
    fresh = "another value"
    reopen(own_house, TEST_TOKEN=fresh, TEST_OTHER=OTHER)
    own_house.await_row(actor, lambda row: row.state == "running")
    assert own_house.client.request(actor, b"g") == TOKEN.encode()
    own_house.client.request(actor, b"S" + b"old " + TOKEN.encode())
    assert own_house.client.request(actor, b"ktoken") == fresh.encode()
    reproduced(own_house, actor)
    assert found_in(own_house, *ALL, fresh.encode()) == []
    kept = own_house.home / "secrets" / actor
    assert sorted(path.name for path in kept.iterdir()) == ["inner.1", "line.1", "other.1", "token.1", "token.2"]
    assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o600}
    assert kept.stat().st_mode & 0o777 == 0o700


# ---- memory


def test_memory_with_secrets_is_made_again_and_in_no_snapshot(own_house: House) -> None:
    actor = start(
        own_house,
        "a",
        supervision={**RESTLESS, "state": "replay"},
        chain='[chain]\nstate_root = "call"\nsnapshot = { entries = 10 }\n',
    )
    for number in range(12):
        own_house.client.request(actor, b"ktoken" if number % 3 else b"S%d " % number + OTHER.encode())
    own_house.kill_worker(actor)
    assert own_house.client.request(actor, b"g") == TOKEN.encode()
    payloads = reproduced(own_house, actor)
    snapshots = [each.details for each in payloads if isinstance(each, Lifecycle) and each.event == "snapshot"]
    assert snapshots
    assert [each["memory"] for each in snapshots] == [None] * len(snapshots)
    assert all("secrets" in each["why"] and len(each["secrets"]) == len(ALL) for each in snapshots)
    begun = [each.details for each in payloads if isinstance(each, Lifecycle) and each.event == "incarnation"]
    assert [each["state"] for each in begun] == ["replay"]
    assert "from" in begun[0]
    outcomes = [each for each in payloads if isinstance(each, Outcome)]
    assert all(each.root is not None for each in outcomes)
    assert found_in(own_house, *ALL) == []
    own_house.verify()


# ---- elsewhere


def test_who_does_not_have_them_verifies_and_is_told_what_a_replay_needs(own_house: House, tmp_path: Path) -> None:
    actor = start(own_house, "a")
    own_house.client.request(actor, b"ktoken")
    own_house.client.stop(actor)
    elsewhere = Home(tmp_path / "h")
    shutil.copytree(own_house.home, elsewhere.root, ignore=shutil.ignore_patterns("secrets", "run", "*.new"))
    cache = config.cache() / "artefacts"

    (verdict,) = replay_home(elsewhere, cache, [actor])
    assert verdict.error is not None
    assert "needs the secret 'inner'" in verdict.error
    assert "--secret inner=FILE" in verdict.error

    kept = own_house.home / "secrets" / actor
    given = [(path.name.partition(".")[0], path) for path in kept.iterdir()]
    (verdict,) = replay_home(elsewhere, cache, [actor], secrets=given)
    assert verdict.ok, verdict.error
    assert verdict.head == own_house.row(actor).head

    wrong = tmp_path / "wrong"
    wrong.write_bytes(bytes(32) + TOKEN.encode())
    instead = [each if each[0] != "token" else ("token", wrong) for each in given]
    (verdict,) = replay_home(elsewhere, cache, [actor], secrets=instead)
    assert verdict.error is not None
    assert "what was given for the secret 'token' is not the value" in verdict.error
    assert verdict.entries == 1


def test_a_life_that_has_lost_the_secrets_of_its_state_says_so(own_house: House) -> None:
    actor = start(own_house, "a", supervision={"restart": "permanent", "intensity": 1})
    own_house.client.request(actor, b"ktoken")
    own_house.client.stop(actor)
    shutil.rmtree(own_house.home / "secrets" / actor)
    with pytest.raises(StartFailed, match="the secret 'token' stands in the record, with a value that is not here"):
        own_house.client.restart(actor)


# ---- where they come from


def test_what_is_wrong_with_a_secret_is_said_when_the_actor_starts(house: House, name: Name) -> None:
    def refused(row: str) -> str:
        path = house.write(name(), handlers=("message-server", "secrets"))
        path.write_text(f"{path.read_text()}[secrets]\n{row}\n")
        with pytest.raises(StartFailed) as caught:
            house.client.start(path)
        return str(caught.value)

    assert "has no variable TEST_NOTHING" in refused('a = { env = "TEST_NOTHING" }')
    assert "cannot read" in refused('a = { file = "nowhere" }')
    assert "is no file" in refused('a = { file = "/dev/zero" }')
    write_secret(house, "open.secret", b"12345678").chmod(0o644)
    assert "chmod 600" in refused('a = { file = "open.secret" }')
    write_secret(house, "short.secret", b"1234567")
    assert "has 7 bytes; allowed: 8 to 65536" in refused('a = { file = "short.secret" }')
    write_secret(house, "said.secret", b"said.sec")
    assert "is written in the manifest" in refused('a = { file = "said.secret" }')


def test_an_actor_without_secrets_has_no_entry_about_them(house: House, name: Name) -> None:
    actor = house.start(name(), handlers=("message-server", "secrets")).id
    house.client.request(actor, b"eabc")
    payloads = reproduced(house, actor)
    assert not any(isinstance(each, Lifecycle) and each.event == "secrets" for each in payloads)
    assert not (house.home / "secrets" / actor).exists()
