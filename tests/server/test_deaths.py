"""Deaths of processes by signals from outside: who notices, who goes on, and that nobody is left."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest
from house import RESTLESS, House, descriptors, eventually, is_running, outcome, process

from theater.client import Client

Name = Callable[[], str]


# ---- workers


def test_a_killed_worker_is_seen_with_its_signal_and_restarted(house: House, name: Name) -> None:
    row = house.start(name())
    house.kill_worker(row.id)
    after = house.row(row.id)
    assert (after.state, after.incarnation, after.restarts) == ("running", 2, 1)
    assert after.last_exit is not None
    assert (after.last_exit.reason, after.last_exit.signal, after.last_exit.commanded) == ("signal", 9, False)
    assert not house.zombies()


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGXCPU, signal.SIGQUIT])
def test_any_deadly_signal_is_named(house: House, name: Name, number: int) -> None:
    row = house.start(name())
    house.kill_worker(row.id, number)
    last = house.row(row.id).last_exit
    assert last is not None
    assert (last.reason, last.signal) == ("signal", number)


def test_the_state_of_the_last_call_outlives_a_kill(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS)
    for life in range(1, 5):
        assert house.count(row.id) == 2 * life - 1
        assert house.count(row.id) == 2 * life
        house.kill_worker(row.id)
    assert house.count(row.id) == 9


def test_a_state_that_was_told_by_init_alone_outlives_a_kill(house: House, name: Name) -> None:
    row = house.start(name(), init_state=b"\x07\0\0\0")
    house.kill_worker(row.id)
    assert house.count(row.id) == 8


def test_a_fresh_actor_begins_anew(house: House, name: Name) -> None:
    row = house.start(name(), init_state=b"\x10\0\0\0", supervision={"state": "fresh"})
    assert house.count(row.id) == 17
    house.kill_worker(row.id)
    assert house.count(row.id) == 17


def test_sigterm_is_a_shutdown(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"restart": "transient"})
    house.kill(row.pid or 0, signal.SIGTERM)
    stopped = house.await_row(row.id, lambda row: row.state == "stopped")
    assert stopped.last_exit is not None
    assert (stopped.last_exit.reason, stopped.last_exit.commanded) == ("shutdown", False)
    assert house.history(row.id)[-1][0] == "ended"


def test_sigterm_ends_a_wait_for_an_answer(house: House, name: Name) -> None:
    """The one who waits for the asker is told, and the end is in the record; nobody waits for a timeout."""
    asked, asker = house.start(name()), house.start(name(), supervision={"restart": "temporary"})
    link = house.connect()._link
    body = b"a" + asked.name.ljust(8).encode() + b"n"
    number = link.submit("message", {"actor": asker.id, "body": body, "request": True, "timeout_ms": 20_000}, 20.0)
    eventually(lambda: house.row(asked.id).entries > 4)
    begun = time.monotonic()
    house.kill(asker.pid or 0, signal.SIGTERM)
    error = link.outcome({number}).error
    assert type(error).__name__ in ("ActorDown", "ActorFailed")
    house.await_row(asker.id, lambda row: row.state == "stopped")
    assert time.monotonic() - begun < 3.0  # its own request timeout is 5 s
    assert house.history(asker.id)[-1][1]["reason"] == "shutdown"


def test_a_death_is_in_the_supervisors_chain_with_what_the_kernel_knows(house: House, name: Name) -> None:
    row = house.start(name())
    house.kill_worker(row.id)
    exited = [facts for event, facts in house.history() if event == "exited" and facts["actor"] == row.id]
    assert len(exited) == 1
    assert exited[0]["pid"] == row.pid
    assert exited[0]["signal"] == 9
    assert exited[0]["max_rss"] > 1 << 20


def test_the_head_at_death_is_in_a_checkpoint(house: House, name: Name) -> None:
    row = house.start(name())
    house.count(row.id)
    head = house.row(row.id).head
    house.kill_worker(row.id)
    marks = [event.data["marks"].get(row.id) for event in house.client.read_events("supervisor", types=["checkpoint"])]
    assert head in [mark[1].hex() for mark in marks if mark is not None]


def test_an_actor_beside_a_dead_one_notices_nothing(house: House, name: Name) -> None:
    dead, beside = house.start(name()), house.start(name())
    house.count(beside.id)
    house.kill_worker(dead.id)
    assert house.row(beside.id).pid == beside.pid
    assert house.count(beside.id) == 2


def test_whoever_waits_for_a_killed_worker_is_told_at_once(house: House, name: Name) -> None:
    row = house.start(name())
    link = house.connect()._link
    number = link.submit("message", {"actor": row.id, "body": b"n", "request": True, "timeout_ms": 60_000}, 60.0)
    eventually(lambda: house.row(row.id).entries > 4)
    house.kill_worker(row.id)
    error = link.outcome({number}).error
    assert type(error).__name__ == "ActorDown"
    assert "signal 9" in str(error)


def test_a_kill_at_any_moment_of_a_beginning_breaks_no_chain(house: House, name: Name) -> None:
    """Before the assignment, between it and the first entry, between an entry and its announcement."""
    row = house.start(name(), supervision=RESTLESS)
    chance = random.Random(11)
    counted = 0
    for _ in range(60):
        pid = eventually(lambda: house.row(row.id).pid)
        until = time.perf_counter() + chance.uniform(0, 0.008)
        while time.perf_counter() < until:
            pass
        house.kill(pid)
        house.await_row(row.id, lambda now, pid=pid: now.pid != pid)
        if chance.random() < 0.2:
            counted += 1
            house.await_row(row.id, lambda row: row.state == "running")
            assert house.count(row.id) == counted
    house.await_row(row.id, lambda row: row.state == "running")
    house.verify()


def test_a_durable_actor_loses_nothing_either(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS, more='[chain]\ndurability = "host"')
    for life in range(1, 4):
        assert house.count(row.id) == life
        house.kill_worker(row.id)
    house.verify()


# ---- spares, templates, the spawner


def spare(house: House) -> int:
    """The process id of a spare of the house's one template."""
    found: list[int] = eventually(house.spares, "there is a spare")
    for template in house.templates():
        rested(house, template)
    return found[0]


def rested(house: House, template: int) -> None:
    """Waits until the template has told the server of its newest child, and waits for orders again."""
    eventually(lambda: (found := process(template)) is not None and found.state == "S", "the template waits")
    for _ in range(2):
        house.client.hello()  # The server has heard what was said before.


def test_a_killed_spare_is_not_handed_out(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS)
    for _ in range(5):
        house.kill(spare(house))
        house.kill_worker(row.id)
        assert house.count(row.id)
    assert not house.zombies()


def test_a_restart_takes_the_spare(house: House, name: Name) -> None:
    row = house.start(name())
    waiting = spare(house)
    house.kill_worker(row.id)
    assert house.row(row.id).pid == waiting


def test_a_killed_template_takes_no_actor_with_it_and_is_replaced(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS)
    house.count(row.id)
    (template,) = house.templates()
    house.kill(template)
    eventually(lambda: not is_running(template) and process(template) is None, "the template is reaped")
    assert house.row(row.id).pid == row.pid
    assert house.count(row.id) == 2
    house.kill_worker(row.id)
    assert house.count(row.id) == 3
    house.start(name())
    (successor,) = house.templates()
    assert successor != template


def test_a_spare_that_outlived_its_template_may_die_too(house: House, name: Name) -> None:
    """It has passed to the next template; its death must not be lost between the two."""
    row = house.start(name(), supervision=RESTLESS)
    orphan = spare(house)
    (template,) = house.templates()
    house.kill(template)
    eventually(lambda: house.templates() not in ([], [template]), "the template is replaced")
    house.kill(orphan)
    eventually(lambda: process(orphan) is None, "the spare is reaped")
    for _ in range(3):
        house.kill_worker(row.id)
    assert house.count(row.id)


def test_a_killed_spawner_is_replaced_and_actors_go_on(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS)
    spawner = house.spawner()
    house.kill(spawner)
    eventually(lambda: house.client.call("hello", {})["processes"]["spawner"] not in (None, spawner))
    assert house.row(row.id).pid == row.pid
    assert house.count(row.id) == 1
    house.kill_worker(row.id)
    assert house.count(row.id) == 2
    assert house.start(name()).state == "running"


def test_spawner_and_template_may_be_killed_at_once(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS)
    victims = (house.spawner(), *house.templates(), *house.spares())
    for pid in victims:
        house.kill(pid)
    eventually(lambda: not any(process(pid) for pid in victims), "all are reaped")
    assert house.count(row.id) == 1
    assert house.start(name()).state == "running"
    house.kill_worker(row.id)
    assert house.count(row.id) == 2
    assert not house.zombies()


def test_everything_but_the_server_may_be_killed_at_once(house: House, name: Name) -> None:
    rows = [house.start(name(), supervision=RESTLESS) for _ in range(3)]
    for row in rows:
        house.count(row.id)
    for pid in set(house.processes()) - {house.pid}:
        house.kill(pid)
    for row in rows:
        house.await_incarnation(row.id, 2)
        assert house.count(row.id) == 2
    assert not house.zombies()


def test_a_template_killed_while_it_loads_is_replaced(own_house: House) -> None:
    """Its actor waits for the worker that it has ordered, and comes up from the successor."""
    house = own_house
    house.start("first")
    house.kill(house.templates()[0], signal.SIGSTOP)
    path = house.write("second")
    link = house.connect()._link
    for pid in house.spares():
        house.kill(pid)
    eventually(lambda: not house.spares())
    house.client.put((house.folder / "probe.wasm").read_bytes())
    first = house.row("first")
    house.kill(first.pid or 0)
    house.await_row("first", lambda row: row.state == "restarting")
    house.kill(house.templates()[0])
    assert house.await_incarnation("first", 2).state == "running"
    assert house.client.start(path).state == "running"
    link.close()


# ---- clients


def test_clients_that_go_away_leave_nothing_behind(house: House, name: Name) -> None:
    row = house.start(name())
    house.client.hello()
    before = descriptors(house.pid)
    for _ in range(5):
        clients = [Client(home=house.home) for _ in range(10)]
        for client in clients:
            for body in (b"n", b"c"):
                args = {"actor": row.id, "body": body, "request": True, "timeout_ms": 500}
                client._link.submit("message", args, 1.0)
            client._link.submit("events", {"actor": row.id, "since": 10**6, "wait_ms": 500}, 1.0)
            client.close()
    assert house.count(row.id)
    eventually(lambda: descriptors(house.pid) <= before + 2, lambda: f"{descriptors(house.pid)}, {before} before")


# ---- the census


def test_all_processes_are_the_servers_own_children(house: House, name: Name) -> None:
    row = house.start(name())
    for pid in set(house.processes()) - {house.pid}:
        found = process(pid)
        assert found is not None
        assert found.parent == house.pid
    assert row.pid in house.processes()


def test_starts_and_ends_leave_no_process_and_no_descriptor(house: House, name: Name) -> None:
    house.start(name())
    before_fds, before = descriptors(house.pid), len(house.processes())
    for _ in range(10):
        row = house.start(name())
        house.kill_worker(row.id)
        house.client.stop(row.id, remove=True)
    assert outcome(lambda: house.start(name(), init_state=b"fail")) == "StartFailed"
    eventually(lambda: len(house.processes()) <= before + 1)
    eventually(lambda: descriptors(house.pid) <= before_fds + 2, f"{descriptors(house.pid)}, before {before_fds}")
    assert not house.zombies()
