"""What becomes of an actor whose guest fails: the reason that is told, and what its supervisor does about it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import pytest
from house import RESTLESS, House, eventually, outcome

from theater.client import LastExit, Row
from theater.errors import ActorDown, ActorFailed, PoisonMessage

Name = Callable[[], str]


def fail(house: House, actor: str, message: bytes, timeout: float = 20.0) -> str:
    """Sends what the actor dies of; returns what the caller was told."""
    with pytest.raises(ActorDown) as down:
        house.client.request(actor, message, timeout)
    return down.value.message


def last_exit(house: House, actor: str, incarnation: int = 1) -> LastExit:
    """How an incarnation ended, once its successor is up."""
    house.await_row(actor, lambda row: row.incarnation > incarnation or row.state in ("failed", "stopped"))
    found = house.row(actor).last_exit
    assert found is not None
    return found


# ---- reasons


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        (b"u", "unreachable", "unreachable"),
        (b"o", "stack-overflow", "call stack exhausted"),
        (b"d", "divide-by-zero", "divide by zero"),
    ],
)
def test_a_trap_is_told_with_its_kind_and_its_frames(
    house: House, name: Name, message: bytes, kind: str, words: str
) -> None:
    row = house.start(name())
    assert kind in fail(house, row.id, message)
    reason = last_exit(house, row.id)
    assert (reason.reason, reason.signal, reason.commanded) == ("trap", None, False)
    assert reason.detail is not None
    headline, *frames = reason.detail.splitlines()
    assert headline.startswith(f"{kind}: ")
    assert words in headline
    assert frames


def test_a_trap_is_the_outcome_of_its_call_in_the_chain(house: House, name: Name) -> None:
    row = house.start(name())
    house.count(row.id)
    fail(house, row.id, b"u")
    last_exit(house, row.id)
    events = list(house.client.read_events(row.id))
    trapped = next(event for event in events if event.type == "outcome" and event.data["ending"] == "trap")
    assert trapped.data["value"][0] == "unreachable"
    ended = [event.data["details"] for event in events if event.type == "lifecycle" and event.data["event"] == "ended"]
    assert [details["reason"] for details in ended] == ["trap"]
    house.verify()


def test_the_state_before_a_trap_is_the_state_after_it(house: House, name: Name) -> None:
    row = house.start(name())
    house.count(row.id)
    fail(house, row.id, b"u")
    assert house.count(row.id) == 2


def test_a_busy_loop_ends_when_its_time_is_over(house: House, name: Name) -> None:
    row = house.start(name(), limits={"call_timeout": "200ms"})
    begun = time.monotonic()
    fail(house, row.id, b"b")
    assert 0.15 < time.monotonic() - begun < 5.0
    reason = last_exit(house, row.id)
    assert reason.reason == "deadline"
    assert reason.signal is None  # the epoch did it, not the supervisor
    assert "0.2 s" in (reason.detail or "")
    assert house.count(row.id) == 1


def test_a_call_that_burns_all_its_fuel_ends(house: House, name: Name) -> None:
    row = house.start(name(), limits={"fuel": 1_000_000})
    fail(house, row.id, b"b")
    reason = last_exit(house, row.id)
    assert (reason.reason, (reason.detail or "").partition(":")[0]) == ("trap", "fuel")
    assert house.count(row.id) == 1
    outcomes = [event.data["fuel"] for event in house.client.read_events(row.id, types=["outcome"])]
    assert all(0 < fuel <= 1_000_000 for fuel in outcomes)


def test_a_worker_that_the_epoch_cannot_reach_is_killed_by_the_supervisor(house: House, name: Name) -> None:
    """A stopped process in the middle of a call, which nothing but SIGKILL moves."""
    row = house.start(name(), limits={"call_timeout": "300ms"})
    link = house.connect()._link
    number = link.submit("message", {"actor": row.id, "body": b"b", "request": True, "timeout_ms": 20_000}, 20.0)
    eventually(lambda: house.client.inspect(row.id).facts["call"] is not None)
    house.kill(row.pid or 0, signal.SIGSTOP)
    begun = time.monotonic()
    error = link.outcome({number}).error
    assert isinstance(error, ActorDown)
    assert time.monotonic() - begun < 6.0
    reason = last_exit(house, row.id)
    assert reason.reason == "deadline"
    assert "a call lasted" in (reason.detail or "")
    assert house.count(row.id) == 1


def test_growth_of_memory_is_refused_at_the_limit(house: House, name: Name) -> None:
    limits = {"memory": "8MiB", "message": "64KiB", "state": "64KiB"}
    row = house.start(name(), limits=limits)
    pages = int.from_bytes(house.client.request(row.id, b"m"), "little")
    assert 16 < pages <= 8 * 16
    assert house.row(row.id).incarnation == 1
    assert house.client.request(row.id, b"e still here") == b"e still here"


def test_a_message_for_which_there_is_no_memory_is_out_of_memory(house: House, name: Name) -> None:
    row = house.start(name(), limits={"memory": "2MiB", "message": "1500KiB", "state": "64KiB"})
    fail(house, row.id, b"e" + bytes(1_500_000))
    reason = last_exit(house, row.id)
    assert reason.reason in ("out_of_memory", "trap")
    assert house.client.request(row.id, b"e") == b"e"


def test_a_flood_of_log_lines_ends_with_the_limit_in_the_reason(house: House, name: Name) -> None:
    row = house.start(name(), limits={"record": "256KiB", "log": "64KiB"})
    fail(house, row.id, b"L" + b"x" * 1000)
    reason = last_exit(house, row.id)
    assert "[limits] record" in (reason.detail or "")
    assert "262144" in (reason.detail or "")
    chain = house.home / "actors" / row.id / "chain"
    assert chain.stat().st_size < 400_000
    logs = sum(path.stat().st_size for path in chain.parent.glob("log*"))
    assert logs < 2 * 65536
    house.verify()


def test_a_state_over_its_limit_is_not_taken(house: House, name: Name) -> None:
    row = house.start(name(), limits={"state": 3})
    with pytest.raises(ActorFailed, match=r"\[limits\] state is 3"):
        house.client.request(row.id, b"c")
    assert house.client.state(row.id).state is None if house.row(row.id).entries > 5 else True
    assert house.row(row.id).incarnation == 1


def test_runtime_shutdown_is_a_normal_end_with_words(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"restart": "transient"})
    assert house.client.request(row.id, b"qgood bye") == b"qgood bye"
    stopped = house.await_row(row.id, lambda row: row.state == "stopped")
    assert stopped.last_exit == LastExit("normal", "good bye", None, None, False)
    assert stopped.pid is None


def test_the_answer_of_a_call_that_ends_the_actor_arrives(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS)
    for life in range(1, 31):
        assert house.client.request(row.id, b"q%d" % life) == b"q%d" % life
        house.await_incarnation(row.id, life + 1)


def test_an_exit_is_told_in_the_actors_log(house: House, name: Name) -> None:
    row = house.start(name())
    fail(house, row.id, b"u")
    last_exit(house, row.id)
    house.await_incarnation(row.id, 2)
    lines = eventually(
        lambda: (
            [line.text for line in house.client.read_logs(row.id) if line.stream == "system"][1:]
            and list(house.client.read_logs(row.id))
        )
    )
    texts = [line.text for line in lines if line.stream == "system"]
    assert any(text.startswith("ended: trapped (unreachable") for text in texts)
    assert "restarted, incarnation 2" in texts


# ---- what the supervisor does


@pytest.mark.parametrize(
    ("restart", "message", "state"),
    [
        ("permanent", b"q", "running"),
        ("permanent", b"u", "running"),
        ("transient", b"q", "stopped"),
        ("transient", b"u", "running"),
        ("temporary", b"q", "stopped"),
        ("temporary", b"u", "stopped"),
    ],
)
def test_restart_types(house: House, name: Name, restart: str, message: bytes, state: str) -> None:
    row = house.start(name(), supervision={"restart": restart})
    outcome(lambda: house.client.request(row.id, message))
    expected = 2 if state == "running" else 1
    after = house.await_row(row.id, lambda row: row.state == state and row.incarnation == expected)
    assert after.last_exit is not None
    assert after.last_exit.reason == ("normal" if message == b"q" else "trap")


def test_an_actor_that_stays_down_frees_its_name_and_refuses_mail(house: House, name: Name) -> None:
    actor = name()
    row = house.start(actor, supervision={"restart": "temporary"})
    outcome(lambda: house.client.request(row.id, b"u"))
    house.await_row(row.id, lambda row: row.state == "stopped")
    with pytest.raises(ActorDown, match="stopped: it trapped"):
        house.client.request(row.id, b"e")
    assert house.start(actor).id != row.id


def test_an_actor_that_stays_down_can_be_restarted(house: House, name: Name) -> None:
    for restart in ("temporary", "transient"):
        row = house.start(name(), supervision={"restart": restart})
        house.count(row.id)
        outcome(lambda row=row: house.client.request(row.id, b"q"))
        house.await_row(row.id, lambda row: row.state == "stopped")
        assert house.client.restart(row.id).state == "running"
        assert house.count(row.id) == 2


def give_up(house: House, actor: str) -> Row:
    """Kills an actor until its supervisor gives up."""
    while (row := house.row(actor)).state != "failed":
        if row.pid is not None:
            house.kill(row.pid)
        house.await_row(actor, lambda now, row=row: now.pid != row.pid or now.state == "failed")
    return row


def test_one_death_too_many_is_a_failure_that_concerns_nobody_else(house: House, name: Name) -> None:
    weak, beside = house.start(name(), supervision={"intensity": 2, "period": 60}), house.start(name())
    failed = give_up(house, weak.id)
    assert failed.incarnation == 3
    assert failed.last_exit is not None
    assert failed.last_exit.reason == "gave_up"
    assert "signal 9" in (failed.last_exit.detail or "")
    with pytest.raises(ActorDown, match="failed: it gave up"):
        house.client.request(weak.id, b"e")
    assert house.row(beside.id).pid == beside.pid
    gave_up = [facts for event, facts in house.history() if event == "gave-up" and facts["actor"] == weak.id]
    assert len(gave_up) == 1


def test_a_failed_actor_can_be_restarted_with_its_state(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"intensity": 1, "period": 60})
    house.count(row.id)
    give_up(house, row.id)
    again = house.client.restart(row.id)
    assert (again.state, again.incarnation) == ("running", 3)
    assert house.count(row.id) == 2
    house.kill_worker(row.id)  # its intensity is counted anew


def test_whoever_waits_for_an_actor_that_fails_is_told(house: House, name: Name) -> None:
    """Requests that arrive while it is being restarted wait for it, and are told when nobody restarts it any more."""
    row = house.start(name(), supervision={"intensity": 0})
    link = house.connect()._link
    args = {"actor": row.id, "body": b"n", "request": True, "timeout_ms": 20_000}
    numbers = {link.submit("message", args, 20.0) for _ in range(10)}
    eventually(lambda: house.row(row.id).entries > 10)
    house.kill(row.pid or 0)
    numbers |= {link.submit("message", args, 20.0) for _ in range(10)}
    for _ in range(20):
        ended = link.outcome(numbers)
        numbers.discard(ended.number)
        assert isinstance(ended.error, ActorDown)


# ---- poison


def test_a_message_that_ends_the_actor_twice_is_set_aside(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"intensity": 3, "period": 60, "poison": 2})
    house.count(row.id)
    for life in (1, 2):
        fail(house, row.id, b"u poison")
        house.await_incarnation(row.id, life + 1)
    with pytest.raises(PoisonMessage, match="ended by this very message"):
        house.client.request(row.id, b"u poison")
    after = house.row(row.id)
    assert (after.state, after.incarnation) == ("running", 3)
    assert house.count(row.id) == 2
    assert house.client.request(row.id, b"e other") == b"e other"
    letter = eventually(lambda: [dead for dead in house.client.dead_letters() if dead.receiver == row.id])[0]
    assert (letter.body, letter.sender, letter.size) == (b"u poison", None, 8)
    assert house.client.inspect(row.id).facts["dead_letters"] == 1


def test_poison_that_was_sent_and_not_asked_is_set_aside_too(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"intensity": 3, "period": 60})
    for life in (1, 2):
        outcome(lambda: house.client.send(row.id, b"d poison"))
        house.await_incarnation(row.id, life + 1)
    assert outcome(lambda: house.client.send(row.id, b"d poison")) == "PoisonMessage"
    letters = eventually(lambda: [dead for dead in house.client.dead_letters() if dead.receiver == row.id])
    assert [letter.body for letter in letters] == [b"d poison"]
    assert house.row(row.id).incarnation == 3


def test_a_call_that_floods_the_record_is_poison_too(house: House, name: Name) -> None:
    row = house.start(name(), limits={"record": "64KiB"}, supervision={"intensity": 3, "period": 60})
    for life in (1, 2):
        fail(house, row.id, b"Lflood")
        house.await_incarnation(row.id, life + 1)
    with pytest.raises(PoisonMessage):
        house.client.request(row.id, b"Lflood")


def test_a_kill_from_outside_is_nobodys_poison(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS)
    for _ in range(4):
        assert house.count(row.id)
        house.kill_worker(row.id)
    assert house.count(row.id) == 5


def test_a_dead_letter_can_be_sent_again_while_the_actor_is_up(house: House, name: Name) -> None:
    """What was poison then may be handled now: the author has repaired the actor, or its state is another one."""
    row = house.start(name(), supervision={"intensity": 10, "period": 60})
    for life in (1, 2):
        fail(house, row.id, b"u again")
        house.await_incarnation(row.id, life + 1)
    assert outcome(lambda: house.client.request(row.id, b"u again")) == "PoisonMessage"
    (letter,) = eventually(lambda: [dead for dead in house.client.dead_letters() if dead.receiver == row.id])
    assert house.client.resend_dead_letters([letter.number]) == (letter.number,)
    house.await_incarnation(row.id, 4)  # it was handled, and ended the actor as it does
    assert not [dead for dead in house.client.dead_letters() if dead.receiver == row.id]


def test_a_dead_letter_can_be_dropped(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"intensity": 10, "period": 60, "poison": 1})
    fail(house, row.id, b"u drop")
    assert outcome(lambda: house.client.request(row.id, b"u drop")) == "PoisonMessage"
    (letter,) = eventually(lambda: [dead for dead in house.client.dead_letters() if dead.receiver == row.id])
    assert house.client.drop_dead_letters([letter.number]) == (letter.number,)
    assert outcome(lambda: house.client.drop_dead_letters([letter.number])) == "UnknownDeadLetter"
    assert outcome(lambda: house.client.resend_dead_letters([letter.number])) == "UnknownDeadLetter"


# ---- deadlines of those who wait


def test_a_request_that_is_not_answered_in_time_says_so(house: House, name: Name) -> None:
    row = house.start(name())
    begun = time.monotonic()
    assert outcome(lambda: house.client.request(row.id, b"n", timeout=0.1)) == "TimedOut"
    assert time.monotonic() - begun < 3.0
    assert house.count(row.id) == 1


@pytest.mark.parametrize("timeout_ms", [0, -1, -(2**63), 2**63 - 1, 2**64 - 1])
def test_any_timeout_of_a_message_is_survived(house: House, name: Name, timeout_ms: int) -> None:
    row = house.start(name(), supervision=RESTLESS)
    link = house.connect()._link
    args = {"actor": row.id, "body": b"e", "request": True, "timeout_ms": timeout_ms}
    for life in (1, 2):
        ended = link.outcome({link.submit("message", args, 10.0)})
        assert ended.error is None or type(ended.error).__name__ == "TimedOut"
        house.kill(house.row(row.id).pid or 0)
        link.outcome({link.submit("message", args, 10.0)})  # It meets a death, or waits for a birth.
        house.await_incarnation(row.id, life + 1)
    assert house.client.hello().pid == house.pid


def test_many_clients_at_once_are_all_answered(house: House, name: Name) -> None:
    row = house.start(name())
    answers: list[int] = []

    def ask() -> None:
        client = house.connect()
        answers.extend(int.from_bytes(client.request(row.id, b"c"), "little") for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(1, 401))
