"""Monitors and links between real processes (OTP 1.13), as tests/actors/parent.wat and heir.wat use them."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import wasmtime
from house import RESTLESS, House, eventually, make_house, outcome

from theater.client import Client, Row

Name = Callable[[], str]
ACTORS = Path(__file__).parents[1] / "actors"
WATCHER = ("message-server", "supervisor", "monitors")
HEIR = ("message-server", "registry", "monitors")
MORTAL = {"restart": "temporary"}
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A server whose actors monitor and link on order, and note what they hear."""
    shared = make_house(bytes(wasmtime.wat2wasm((ACTORS / "parent.wat").read_text())))
    (shared.folder / "heir.wasm").write_bytes(wasmtime.wat2wasm((ACTORS / "heir.wat").read_text()))
    try:
        yield shared.open()
    finally:
        shared.close()


class Heard(NamedTuple):
    """A line that a watcher has noted of an end."""

    what: str
    monitor: int | None
    actor: str
    kind: str
    signal: str
    commanded: bool
    detail: str


def start(house: House, name: str, **facts: Any) -> Row:
    return house.start(name, handlers=WATCHER, **facts)


def heir(house: House, name: str, **facts: Any) -> Row:
    return house.start(name, component="heir.wasm", handlers=HEIR, **facts)


def monitor(house: House, watcher: Row, words: str) -> int:
    return int.from_bytes(house.client.request(watcher.id, b"m" + words.encode()), "little")


def link(house: House, one: Row, words: str) -> None:
    house.client.request(one.id, b"l" + words.encode())


def trap_exits(house: House, actor: Row, trap: bool = True) -> None:
    house.client.request(actor.id, b"t1" if trap else b"t0")


def notes(house: House, actor: Row) -> list[str]:
    state = house.client.state(actor.id).state
    return (state or b"").decode(errors="replace").split("\n")[:-1]


def heard(house: House, actor: Row) -> list[Heard]:
    """What an actor has heard of ends so far."""
    found = []
    for line in notes(house, actor):
        what, _, rest = line.partition(" ")
        number: int | None = None
        if what == "down":
            words, _, rest = rest.partition(" ")
            number = int(words)
        if what in ("down", "exit"):
            of, kind, by, commanded, detail = rest.split(" ", 4)
            found.append(Heard(what, number, of, kind, by, commanded == "1", detail))
    return found


def hears(house: House, actor: Row, count: int = 1) -> list[Heard]:
    """What an actor has heard, once it is so much, and no more."""
    found: list[Heard] = eventually(
        lambda: ends if len(ends := heard(house, actor)) >= count else None,
        lambda: f"{actor.name} heard {heard(house, actor)}, {count} ends are wanted",
    )
    assert len(found) == count
    return found


def hears_no_more(house: House, actor: Row, count: int) -> None:
    """Everything that the supervisor had to say by now has been heard, and it is no more than `count` ends."""
    house.client.request(actor.id, b"e")
    assert len(heard(house, actor)) == count


def submit(house: House, actor: Row, body: bytes, timeout: float = 20.0, client: Client | None = None) -> int:
    args = {"actor": actor.id, "body": body, "request": True, "timeout_ms": int(timeout * 1000)}
    return (client or house.client)._link.submit("message", args, timeout + 5)


def in_a_call(house: House, actor: Row) -> None:
    eventually(lambda: house.client.inspect(actor.id).facts["call"] is not None, "a call runs")


# ---- monitors


def test_a_monitor_goes_down_after_a_kill(house: House, name: Name) -> None:
    """(1.13.2)"""
    watcher, watched = start(house, name()), start(house, name())
    ref = monitor(house, watcher, watched.name)
    house.kill(watched.pid or 0)
    (end,) = hears(house, watcher)
    assert end == Heard("down", ref, watched.id, "signal", "9", False, "-")


def test_a_monitor_goes_down_after_a_trap_and_says_which(house: House, name: Name) -> None:
    """(1.13.2) (1.13.6): the reason is `{Error, Stack}`."""
    watcher, watched = start(house, name()), start(house, name())
    monitor(house, watcher, watched.id)
    outcome(lambda: house.client.request(watched.id, b"u"))
    (end,) = hears(house, watcher)
    assert (end.actor, end.kind, end.commanded) == (watched.id, "trap", False)
    assert end.detail.startswith("unreachable: ")


def test_a_monitor_goes_down_after_a_normal_end(house: House, name: Name) -> None:
    """(1.13.2)"""
    watcher, watched = start(house, name()), start(house, name(), supervision=MORTAL)
    monitor(house, watcher, watched.id)
    house.client.request(watched.id, b"qthat was it")
    (end,) = hears(house, watcher)
    assert (end.kind, end.commanded, end.detail) == ("normal", False, "that was it")


def test_a_monitor_goes_down_after_a_commanded_stop(house: House, name: Name) -> None:
    """(1.13.2)"""
    watcher, watched = start(house, name()), start(house, name())
    monitor(house, watcher, watched.id)
    house.client.stop(watched.id)
    (end,) = hears(house, watcher)
    assert (end.kind, end.commanded) == ("shutdown", True)


def test_a_monitor_goes_down_after_a_deadline(house: House, name: Name) -> None:
    """(1.13.2)"""
    watcher, watched = start(house, name()), start(house, name(), limits={"call_timeout": "200ms"})
    monitor(house, watcher, watched.id)
    outcome(lambda: house.client.request(watched.id, b"b"))
    (end,) = hears(house, watcher)
    assert end.kind == "deadline"
    assert "call_timeout" in end.detail


def test_a_monitor_of_the_dead_goes_down_at_once_with_what_ended_it(house: House, name: Name) -> None:
    """(1.13.2)"""
    watcher, watched = start(house, name()), start(house, name(), supervision=MORTAL)
    house.kill(watched.pid or 0, signal.SIGABRT)
    house.await_row(watched.id, lambda row: row.state == "stopped")
    begun = time.monotonic()
    ref = monitor(house, watcher, watched.id)
    (end,) = hears(house, watcher)
    assert time.monotonic() - begun < 2.0
    assert end == Heard("down", ref, watched.id, "signal", "6", False, "-")


@pytest.mark.parametrize("words", ["nobody", NOBODY])
def test_a_monitor_of_nobody_goes_down_at_once(house: House, name: Name, words: str) -> None:
    """(1.13.2) (1.13.6): OTP's `noproc`."""
    watcher = start(house, name())
    ref = monitor(house, watcher, words)
    assert hears(house, watcher) == [Heard("down", ref, words, "no-process", "-", False, "-")]


def test_after_demonitor_nothing_is_heard(house: House, name: Name) -> None:
    """(1.13.2)"""
    watcher, watched = start(house, name()), start(house, name())
    first, second = (monitor(house, watcher, watched.id) for _ in range(2))
    assert house.client.request(watcher.id, b"d" + first.to_bytes(8, "little")) == b"\x01"
    assert house.client.request(watcher.id, b"d" + first.to_bytes(8, "little")) == b"\x00"
    house.kill_worker(watched.id)
    (end,) = hears(house, watcher)
    assert end.monitor == second
    assert house.client.request(watcher.id, b"d" + second.to_bytes(8, "little")) == b"\x00"


def test_many_monitors_of_one_actor_go_down_once_each(house: House, name: Name) -> None:
    """(1.13.2): they stack."""
    watched = start(house, name())
    watchers = [start(house, name()) for _ in range(4)]
    refs = {watcher.id: [monitor(house, watcher, watched.id) for _ in range(25)] for watcher in watchers}
    house.kill(watched.pid or 0)
    for watcher in watchers:
        assert [end.monitor for end in hears(house, watcher, 25)] == refs[watcher.id]


def test_a_monitor_is_of_one_life_and_says_nothing_of_its_successor(house: House, name: Name) -> None:
    """(1.13.2) (1.25)"""
    watcher, watched = start(house, name()), start(house, name(), supervision=RESTLESS)
    monitor(house, watcher, watched.id)
    for _ in range(3):
        house.kill_worker(watched.id)
    hears(house, watcher)
    hears_no_more(house, watcher, 1)
    ref = monitor(house, watcher, watched.id)
    house.kill_worker(watched.id)
    assert hears(house, watcher, 2)[1].monitor == ref


def test_monitors_end_with_the_life_that_made_them(house: House, name: Name) -> None:
    """(1.13.2)"""
    watcher, watched = start(house, name()), start(house, name())
    monitor(house, watcher, watched.id)
    house.kill_worker(watcher.id)
    house.kill_worker(watched.id)
    hears_no_more(house, watcher, 0)


def test_a_watcher_whose_queue_is_full_hears_of_it_when_it_reads_again(house: House, name: Name) -> None:
    """(1.13.2): exactly one, whatever else waits for it."""
    watcher, watched = start(house, name(), limits={"mailbox": 100_000}), start(house, name(), supervision=MORTAL)
    ref = monitor(house, watcher, watched.id)
    trap_exits(house, watcher)
    link(house, watcher, watched.id)
    house.kill(watcher.pid or 0, signal.SIGSTOP)
    flood = house.connect()  # Whose answers are read by nobody: they must not stand in the way of others.

    def is_full() -> bool:
        for _ in range(500):
            submit(house, watcher, b"e", client=flood)
        return outcome(lambda: house.client.request(watcher.id, b"e", timeout=0.1)) == "MailboxFull"

    eventually(is_full, "the queue to the watcher takes no more")
    house.kill(watched.pid or 0)
    ended(house, watched)
    house.kill(watcher.pid or 0, signal.SIGCONT)
    assert {(end.what, end.monitor) for end in hears(house, watcher, 2)} == {("down", ref), ("exit", None)}


def test_a_monitor_made_in_init_holds(house: House, name: Name) -> None:
    """(1.13.2)"""
    watched = start(house, name(), supervision=MORTAL)
    watcher = heir(house, name(), init_state=b"m" + watched.name.encode())
    house.kill(watched.pid or 0)
    eventually(lambda: watched.name in house.client.inspect(watcher.id).facts["registered"])


def pausing(house: House, name: str, pause: str) -> Row:
    """An actor that comes back only after a while."""
    backoff = {"initial": pause, "max": pause, "jitter": 0.0}
    return start(house, name, supervision={**RESTLESS, "backoff": backoff})


def test_a_monitor_of_one_in_a_pause_before_its_restart_is_of_the_life_that_comes(house: House, name: Name) -> None:
    watcher, watched = start(house, name()), pausing(house, name(), "500ms")
    house.kill(watched.pid or 0)
    house.await_row(watched.id, lambda row: row.state == "restarting")
    monitor(house, watcher, watched.id)
    house.await_incarnation(watched.id, 2)
    hears_no_more(house, watcher, 0)
    house.kill(house.row(watched.id).pid or 0, signal.SIGABRT)
    (end,) = hears(house, watcher)
    assert end.signal == "6"


def test_a_monitor_of_one_that_does_not_come_back_after_all_goes_down_with_its_last_reason(
    house: House, name: Name
) -> None:
    watcher, watched = start(house, name()), pausing(house, name(), "20s")
    house.kill(watched.pid or 0)
    house.await_row(watched.id, lambda row: row.state == "restarting")
    ref = monitor(house, watcher, watched.id)
    hears_no_more(house, watcher, 0)
    house.client.stop(watched.id)
    assert hears(house, watcher) == [Heard("down", ref, watched.id, "signal", "9", False, "-")]


def test_a_monitor_of_one_that_has_given_up_says_so(house: House, name: Name) -> None:
    """(1.5.6)"""
    watcher, watched = start(house, name()), start(house, name(), supervision={"intensity": 0})
    house.kill(watched.pid or 0)
    house.await_row(watched.id, lambda row: row.state == "failed")
    monitor(house, watcher, watched.id)
    (end,) = hears(house, watcher)
    assert (end.kind, end.detail) == ("gave-up", "was killed by signal 9")


# ---- links


def ended(house: House, actor: Row) -> Row:
    return house.await_row(actor.id, lambda row: row.state == "stopped")


def test_a_link_ends_the_other_with_the_reason(house: House, name: Name) -> None:
    """(1.13.1) (1.13.3)"""
    one, other = start(house, name(), supervision=MORTAL), start(house, name(), supervision=MORTAL)
    link(house, one, other.name)
    house.kill(other.pid or 0, signal.SIGABRT)
    last = ended(house, one).last_exit
    assert last is not None
    assert (last.reason, last.signal, last.commanded) == ("signal", 6, False)
    assert last.detail == f"linked to {other.name} ({other.id}), which was killed by signal 6"


def test_a_link_goes_both_ways(house: House, name: Name) -> None:
    """(1.13.1)"""
    one, other = start(house, name(), supervision=MORTAL), start(house, name(), supervision=MORTAL)
    link(house, one, other.name)
    outcome(lambda: house.client.request(one.id, b"u"))
    last = ended(house, other).last_exit
    assert last is not None
    assert last.reason == "trap"
    assert last.detail is not None
    assert last.detail.startswith(f"unreachable: linked to {one.name} ({one.id}), which trapped (unreachable: ")


def test_a_link_ends_the_other_in_the_middle_of_a_call_too(house: House, name: Name) -> None:
    """(1.13.3): and its message is not to blame."""
    one = start(house, name(), supervision={**MORTAL, "poison": 1}, limits={"call_timeout": "20s"})
    other = start(house, name(), supervision=MORTAL)
    link(house, one, other.name)
    number = submit(house, one, b"b")
    in_a_call(house, one)
    begun = time.monotonic()
    outcome(lambda: house.client.request(other.id, b"u"))
    error = house.client._link.outcome({number}).error
    assert type(error).__name__ == "ActorDown"
    assert "linked to" in str(error)
    assert time.monotonic() - begun < 3.0
    ended(house, one)
    house.client.restart(one.id)
    again = submit(house, one, b"b")
    in_a_call(house, one)
    house.kill(house.row(one.id).pid or 0)
    house.client._link.outcome({again})


def test_a_normal_end_does_not_end_the_other(house: House, name: Name) -> None:
    """(1.13.3)"""
    one, other = start(house, name()), start(house, name(), supervision=MORTAL)
    link(house, one, other.id)
    house.client.request(other.id, b"q")
    ended(house, other)
    assert house.client.request(one.id, b"e still here") == b"e still here"
    assert house.row(one.id).incarnation == 1


def test_a_commanded_stop_is_a_shutdown_which_ends_the_other(house: House, name: Name) -> None:
    """(1.13.3): `shutdown` is not `normal`; for a transient child it is an end in order (1.4)."""
    one = start(house, name(), supervision={"restart": "transient"})
    other = start(house, name())
    link(house, one, other.id)
    house.client.stop(other.id)
    last = ended(house, one).last_exit
    assert last is not None
    assert (last.reason, last.commanded) == ("shutdown", False)


@pytest.mark.parametrize("how", ["kill", "trap", "normal", "stop"])
def test_who_traps_exits_is_told_of_every_end_and_lives(house: House, name: Name, how: str) -> None:
    """(1.13.4) (1.13.5)"""
    one, other = start(house, name()), start(house, name(), supervision=MORTAL)
    trap_exits(house, one)
    link(house, one, other.id)
    ways: dict[str, Callable[[], object]] = {
        "kill": lambda: house.kill(other.pid or 0),
        "trap": lambda: outcome(lambda: house.client.request(other.id, b"u")),
        "normal": lambda: house.client.request(other.id, b"q"),
        "stop": lambda: house.client.stop(other.id),
    }
    ways[how]()
    (end,) = hears(house, one)
    kind = {"kill": "signal", "trap": "trap", "normal": "normal", "stop": "shutdown"}[how]
    assert (end.what, end.actor, end.kind) == ("exit", other.id, kind)
    assert house.row(one.id).incarnation == 1


def test_a_kill_cannot_be_trapped(house: House, name: Name) -> None:
    """(1.13.5)"""
    one, other = start(house, name(), supervision=MORTAL), start(house, name(), supervision=MORTAL)
    trap_exits(house, one)
    link(house, one, other.id)
    house.kill(one.pid or 0)
    for row in (one, other):
        last = ended(house, row).last_exit
        assert last is not None
        assert (last.reason, last.signal) == ("signal", 9)


def test_trapping_ends_when_the_actor_says_so_and_with_its_life(house: House, name: Name) -> None:
    """(1.13.4)"""
    one, other = start(house, name(), supervision=RESTLESS), start(house, name(), supervision=RESTLESS)
    trap_exits(house, one)
    trap_exits(house, one, False)
    link(house, one, other.id)
    house.kill_worker(other.id)
    house.await_incarnation(one.id, 2)
    trap_exits(house, one)
    house.kill_worker(one.id)
    link(house, one, other.id)
    house.kill_worker(other.id)
    house.await_incarnation(one.id, 4)
    hears_no_more(house, one, 0)


def test_a_link_to_the_dead_and_to_nobody_is_an_exit_signal(house: House, name: Name) -> None:
    """(1.13.6)"""
    dead = start(house, name(), supervision=MORTAL)
    house.kill(dead.pid or 0)
    ended(house, dead)
    trapping = start(house, name())
    trap_exits(house, trapping)
    for words in (dead.id, NOBODY):
        link(house, trapping, words)
    first, second = hears(house, trapping, 2)
    assert (first.actor, first.kind, first.signal) == (dead.id, "signal", "9")
    assert (second.actor, second.kind) == (NOBODY, "no-process")
    one = start(house, name(), supervision=MORTAL)
    assert outcome(lambda: link(house, one, "nobody")) in ("reply", "ActorDown")  # it may answer before it dies
    last = ended(house, one).last_exit
    assert last is not None
    assert (last.reason, last.detail) == ("no_process", "linked to 'nobody', which does not exist")


def test_unlink_undoes_a_link(house: House, name: Name) -> None:
    """(1.13.1)"""
    one, other = start(house, name()), start(house, name(), supervision=RESTLESS)
    for asker, asked in ((one, other), (other, one)):
        link(house, one, other.id)
        link(house, one, other.id)
        house.client.request(asker.id, b"k" + asked.id.encode())
        house.kill_worker(other.id)
        house.client.request(one.id, b"e")
    assert house.row(one.id).incarnation == 1


def test_links_and_monitors_are_told_side_by_side(house: House, name: Name) -> None:
    one, other = start(house, name()), start(house, name(), supervision=MORTAL)
    trap_exits(house, one)
    link(house, one, other.id)
    monitor(house, one, other.id)
    house.kill(other.pid or 0)
    assert {end.what for end in hears(house, one, 2)} == {"down", "exit"}


def test_a_circle_of_three_ends_once_each(house: House, name: Name) -> None:
    """(1.13.3)"""
    ring = [start(house, name(), supervision=MORTAL) for _ in range(3)]
    for place in range(3):
        link(house, ring[place], ring[(place + 1) % 3].id)
    outcome(lambda: house.client.request(ring[0].id, b"u"))
    for row in ring:
        last = ended(house, row).last_exit
        assert last is not None
        assert last.reason == "trap"
        deaths = [facts for event, facts in house.history() if event == "exited" and facts["actor"] == row.id]
        assert len(deaths) == 1
    assert not house.zombies()


def test_linked_actors_are_each_restarted_by_their_own_policy(house: House, name: Name) -> None:
    """(1.13.3) (1.4)"""
    permanent, transient = start(house, name()), start(house, name(), supervision={"restart": "transient"})
    temporary = start(house, name(), supervision=MORTAL)
    for other in (transient, temporary):
        link(house, permanent, other.id)
    house.kill(permanent.pid or 0)
    house.await_incarnation(permanent.id, 2)
    house.await_incarnation(transient.id, 2)
    ended(house, temporary)
    # The links ended with those lives.
    house.kill_worker(permanent.id)
    house.client.request(transient.id, b"e")
    assert house.row(transient.id).incarnation == 2


def test_a_circle_of_restarted_actors_does_not_end_them_for_ever(house: House, name: Name) -> None:
    ring = [start(house, name(), supervision=RESTLESS) for _ in range(3)]
    for life in range(1, 6):
        for place in range(3):
            link(house, ring[place], ring[(place + 1) % 3].id)
        house.kill(house.row(ring[life % 3].id).pid or 0)
        for row in ring:
            house.await_incarnation(row.id, life + 1)
    assert {house.row(row.id).incarnation for row in ring} == {6}


def test_a_link_made_in_init_binds_from_then_on(house: House, name: Name) -> None:
    """(1.13.1): there is no moment in which a child that has linked itself can die unnoticed."""
    one = start(house, name())
    trap_exits(house, one)
    assert outcome(lambda: heir(house, name(), init_state=b"f" + one.name.encode())) == "StartFailed"
    (end,) = hears(house, one)
    assert end.kind == "trap"


def test_a_link_ends_a_start_too(house: House, name: Name) -> None:
    """(1.13.3)"""
    one, late = start(house, name(), supervision=MORTAL), name()
    path = house.write(late, component="heir.wasm", handlers=HEIR, limits={"call_timeout": "20s"})
    ends: list[str] = []
    client = house.connect()
    thread = threading.Thread(
        target=lambda: ends.append(outcome(lambda: client.start(path, init_state=b"w" + one.name.encode())))
    )
    thread.start()
    eventually(lambda: late in {row.name for row in house.client.list()})
    in_a_call(house, house.row(late))
    begun = time.monotonic()
    house.kill(one.pid or 0)
    thread.join()
    assert ends == ["StartFailed"]
    assert time.monotonic() - begun < 3.0


def test_a_stopping_server_ends_linked_actors_in_order(closed_house: House) -> None:
    """Each by its own rule and at its turn: none is killed because another one was stopped before it."""
    house = closed_house
    (house.folder / "probe.wasm").write_bytes(wasmtime.wat2wasm((ACTORS / "parent.wat").read_text()))
    house.open()
    rows = [start(house, name) for name in ("one", "two", "three")]
    for one, other in ((0, 1), (1, 2), (2, 0)):
        link(house, rows[one], rows[other].id)
    house.send_signal(signal.SIGTERM)
    assert house.await_end() == 0
    house.open()
    for row in rows:
        assert house.await_incarnation(row.id, 2).incarnation == 2
        last = house.row(row.id).last_exit
        assert last is not None
        assert (last.reason, last.commanded, last.detail) == ("shutdown", True, None)


# ---- names


def test_names_are_free_before_a_death_is_announced(house: House, name: Name) -> None:
    """(1.13.7): 100 rounds, in each of which the one who hears of a death takes over the name of the dead."""
    taker = heir(house, name())
    for _ in range(100):
        victim = start(house, name(), supervision=MORTAL)
        house.client.request(taker.id, b"m" + victim.name.encode())
        house.kill(victim.pid or 0)
        eventually(lambda victim=victim: house.row(victim.name).id == taker.id)
    results = [event.data["value"] for event in house.client.read_events(taker.id, types=["host-result"])]
    assert sum("err" in value for value in results if isinstance(value, dict)) == 0
    assert len(house.client.inspect(taker.id).facts["registered"]) == 101


def test_the_name_of_one_that_comes_back_stays_its_own(house: House, name: Name) -> None:
    """A listed deviation: names belong to an actor, not to one life of it."""
    victim = start(house, name())
    taker = heir(house, name())
    house.client.request(taker.id, b"m" + victim.name.encode())
    house.kill_worker(victim.id)
    refusals = eventually(
        lambda: [
            event.data["value"]
            for event in house.client.read_events(taker.id, types=["host-result"])
            if isinstance(event.data["value"], dict) and "err" in event.data["value"]
        ]
    )
    assert victim.id in str(refusals[0])
    assert house.row(victim.name).id == victim.id


# ---- order


def test_the_last_message_comes_before_the_news_of_the_end(house: House, name: Name) -> None:
    """(1.13.8): 80 rounds; the sender is killed behind a burst, or in the middle of one. What had left it arrives,
    from the first on and in order; then comes the news, and then nothing."""
    watcher = start(house, name(), limits={"mailbox": 10_000})
    sender = start(house, name(), supervision=RESTLESS)
    short, long = 40, 300
    arrived: list[tuple[bool, int]] = []
    for life in range(1, 81):
        whole = life % 2 == 1
        house.client.request(watcher.id, b"w")
        monitor(house, watcher, sender.id)
        times = (short if whole else long).to_bytes(4, "little")
        number = submit(house, sender, b"f" + watcher.name.ljust(8).encode() + times + b"n")
        if whole:
            house.client._link.outcome({number})
        else:
            eventually(lambda: notes(house, watcher), "the burst has begun")
        house.kill(house.row(sender.id).pid or 0)
        if not whole:
            house.client._link.outcome({number})
        hears(house, watcher)
        house.await_incarnation(sender.id, life + 1)
        house.client.request(watcher.id, b"e")
        before, _, after = (house.client.state(watcher.id).state or b"").partition(b"down ")
        assert b"note" not in after, f"life {life}"
        numbers = [int.from_bytes(found, "little") for found in re.findall(rb"note (.{4})\n", before, re.DOTALL)]
        assert numbers == list(range(len(numbers)))
        arrived.append((whole, len(numbers)))
    assert any(count == short for whole, count in arrived if whole)
    assert any(count < long for whole, count in arrived if not whole)
