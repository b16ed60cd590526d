"""The quick start and what follows it, with a real server and real actors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commandline import Theater
from ready_commands import Command

from theater.client import Client
from theater.errors import ActorDown, ChainBroken, ComponentError, NameTaken, NoServer, UnknownActor

PATIENCE = 60.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A counter, built."""
    folder = tmp_path_factory.mktemp("p")
    theater = Theater(folder)
    assert theater("create", "counter", "--language", "wat").code == 0
    assert theater("build", "counter").code == 0
    return folder / "counter"


def cache(theater: Theater) -> str:
    """Where the servers of these tests have compiled components: the counter is compiled for all of them once."""
    return str(theater.home.parent / "cache")


@contextmanager
def serving(theater: Theater, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A server that answers; if it still runs in the end, it is interrupted and must end in order."""
    environment = theater.environment(THEATER_CACHE=cache(theater))
    with Command[str](["server", *options], stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            assert any("serving" in line for line in process.stderr)
            yield process
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


@pytest.fixture
def live(theater: Theater) -> Iterator[Theater]:
    """The command line with a real server."""
    with serving(theater):
        yield theater


def test_the_quick_start(live: Theater, project: Path) -> None:
    started = live("start", str(project / "manifest.toml"))
    assert started.text.startswith("started counter ")
    assert [row["state"] for row in json.loads(live("list", "--json").out)] == ["running"]
    assert live("message", "counter", '{"add": 2}', "--request").out == b'{"count":2}'
    assert live("state", "counter").out == b'{"count":2}'
    assert "started" in live("logs", "counter").text
    assert live("verify").code == 0


def test_start_piped_into_subscribe_shows_what_was_recorded(live: Theater, project: Path) -> None:
    started = live("start", str(project), "--id-only")
    with live.running("subscribe", "-", "--json", "--since", "0") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(started.text)
        process.stdin.close()
        assert json.loads(process.stdout.readline())["type"] == "genesis"
        live("message", "counter", '{"add": 2}', "--request")
        while (event := json.loads(process.stdout.readline()))["data"].get("function") != "handle-request":
            assert event["actor"] == started.text.strip()
        assert event["data"]["args"][1] == '{"add": 2}'


def test_a_crash_is_an_error_to_the_sender_and_a_new_incarnation(live: Theater, project: Path) -> None:
    live("start", str(project))
    live("message", "counter", '{"add": 2}', "--request")
    with live.running("subscribe", "counter", "--since", "0", "--json") as process:
        assert process.stdout is not None
        assert live("message", "counter", '{"crash": true}', "--request").code == ActorDown.exit_code
        while json.loads(process.stdout.readline())["data"].get("event") != "incarnation":
            pass
    assert live("message", "counter", '{"add": 1}', "--request").out == b'{"count":3}'
    row = json.loads(live("inspect", "counter", "--json").out)
    assert (row["incarnation"], row["restarts"], row["last_exit"]["reason"]) == (2, 1, "trap")
    assert live("verify", "counter").code == 0


def test_a_chain_is_replayed_with_the_server_up_and_down(theater: Theater, project: Path) -> None:
    with serving(theater):
        actor = theater("start", str(project), "--id-only").text.strip()
        theater("message", "counter", '{"add": 2}', "--request")
        theater("message", "counter", '{"crash": true}', "--request")
        theater("message", "counter", '{"add": 1}', "--request")
        done = theater("replay", "counter", "--json", THEATER_CACHE=cache(theater))
        assert (done.code, json.loads(done.out)["ok"]) == (0, True)
    done = theater("replay", "--all", "--json", THEATER_CACHE=str(theater.home / "other-cache"))
    (found,) = json.loads(done.out)["actors"]
    assert (done.code, found["id"], found["error"]) == (0, actor, None)
    (verified,) = json.loads(theater("verify", "--json").out)["actors"]
    assert found.items() <= verified.items()


def test_a_checkpoint_that_was_kept_finds_what_the_home_does_not_know_any_more(theater: Theater, project: Path) -> None:
    kept = theater.home / "kept"
    with serving(theater):
        actor = theater("start", str(project), "--id-only").text.strip()
        theater("message", "counter", '{"add": 2}', "--request")
        assert theater("checkpoint", "-o", str(kept)).code == 0
        assert theater("verify", "--checkpoint", str(kept)).code == 0
    assert theater("checkpoint").code == NoServer.exit_code
    assert theater("verify", "--checkpoint", str(kept)).code == 0
    (theater.home / "supervisor.chain").unlink()
    chain = theater.home / "actors" / actor / "chain"
    chain.write_bytes(b"")
    assert theater("verify").code == 0
    done = theater("verify", "--checkpoint", str(kept), "--json")
    assert done.code == ChainBroken.exit_code
    assert "found the end of the chain after 0 entries" in json.loads(done.out)["actors"][0]["error"]


def test_names_stop_restart_and_remove(live: Theater, project: Path) -> None:
    live("start", str(project), "--name", "one")
    actor = live("start", str(project), "--name", "two", "--id-only").text.strip()
    assert live("restart", "one").text.startswith("restarted one ")
    assert live("stop", actor).text == f"stopped two {actor}\n"
    assert live("restart", actor[:8]).code == 0
    assert live("stop", "two", "--remove").code == 0
    assert live("inspect", "two").code == UnknownActor.exit_code
    assert [row["name"] for row in json.loads(live("list", "--json").out)] == ["one"]
    assert live("verify", actor).code == 0


def test_the_initial_state_may_be_given(live: Theater, project: Path) -> None:
    live("start", str(project), "--init-state", "-", stdin=b'{"count":40}')
    assert live("message", "counter", '{"add": 2}', "--request").out == b'{"count":42}'


def test_a_component_that_does_not_fit_names_what_the_manifest_lacks(live: Theater, project: Path) -> None:
    manifest = (project / "manifest.toml").read_text().replace("[build]", "[ignored]").split("[ignored]")[0]
    lacking = project / "lacking.toml"
    lacking.write_text(f'{manifest}component = "build/counter.wasm"\n[[handler]]\ntype = "nothing"\n')
    assert live("start", str(lacking)).code == 3
    (project / "core.wasm").write_bytes(b"\0asm\1\0\0\0")
    lacking.write_text(f'{manifest}component = "core.wasm"\n')
    done = live("start", str(lacking))
    assert done.code == ComponentError.exit_code
    assert live("validate", str(lacking)).code == ComponentError.exit_code


def test_what_is_older_than_its_source_is_built_again(live: Theater, project: Path) -> None:
    made = project / "build" / "counter.wasm"
    before = made.stat()
    os.utime(project / "actor.wat", ns=(before.st_mtime_ns + 10**9, before.st_mtime_ns + 10**9))
    live("start", str(project))
    assert made.stat().st_mtime_ns > before.st_mtime_ns
    os.utime(project / "actor.wat", ns=(before.st_mtime_ns, before.st_mtime_ns))


def test_gc_spares_what_actors_and_chains_need(live: Theater, project: Path) -> None:
    live("start", str(project))
    actor = live("start", str(project), "--name", "gone", "--id-only").text.strip()
    live("stop", actor, "--remove")
    junk = live("store", "put", "-", stdin=b"junk").text.strip()
    assert json.loads(live("store", "gc", "--grace", "0", "--json").out) == {"count": 1, "size": 4}
    assert live("store", "get", junk).code == 4
    assert live("verify").code == 0
    assert live("restart", "counter").code == 0


def test_the_servers_own_chain_can_be_read(live: Theater, project: Path) -> None:
    live("start", str(project))
    events = json.loads(live("events", "supervisor", "--json").out)
    assert events[0]["type"] == "genesis"
    assert any(event["data"].get("event") == "started" for event in events)
    with live.running("subscribe", "supervisor", "--since", "-1", "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["seq"] >= events[-1]["seq"]


def test_a_server_that_starts_again_has_its_actors_with_their_state(theater: Theater, project: Path) -> None:
    with serving(theater):
        theater("start", str(project))
        theater("message", "counter", '{"add": 5}', "--request")
    assert theater("list").code == NoServer.exit_code
    assert theater("verify").code == 0
    with serving(theater) as server:
        assert theater("message", "counter", '{"add": 1}', "--request").out == b'{"count":6}'
        assert theater("stop", "--server").code == 0
        assert server.wait(0) == 0


def test_a_tree_file_starts_with_the_server(theater: Theater, project: Path) -> None:
    tree = project / "theater.toml"
    tree.write_text(
        '[[supervisor]]\nname = "pool"\nstrategy = "one_for_all"\n'
        '[[child]]\nname = "a"\nunder = "pool"\nmanifest = "manifest.toml"\n'
        '[[child]]\nname = "b"\nunder = "pool"\nmanifest = "manifest.toml"\nrestart = "transient"\n'
    )
    with serving(theater, "--tree", str(tree), "--log-format", "json") as server:
        assert server.stderr is not None
        logged = map(json.loads, server.stderr)
        assert any(entry["event"] == "running" and entry["name"] == "b" for entry in logged)
        assert theater("message", "b", '{"add": 5}', "--request").out == b'{"count":5}'
        (pool,) = json.loads(theater("tree", "--json").out)["children"]
        assert (pool["name"], pool["strategy"]) == ("pool", "one_for_all")
        assert [child["name"] for child in pool["children"]] == ["a", "b"]
        assert theater("stop", "--server").code == 0
        assert list(logged)[-1]["event"] == "stopped"


def test_a_tree_file_that_is_wrong_ends_the_server_before_it_begins(theater: Theater) -> None:
    (theater.home / "tree.toml").write_text('[[child]]\nname = "a"\nmanifest = "nowhere.toml"\n')
    done = theater("server", "--tree", "tree.toml")
    assert done.code == 3
    assert "nowhere.toml" in done.err
    assert not (theater.home / "supervisor.chain").exists()


def test_a_second_server_on_a_home_is_refused(live: Theater) -> None:
    done = live("server")
    assert done.code == 12
    assert done.err.startswith("theater: a server (pid ")


def test_a_registered_name_is_taken_once(live: Theater, project: Path) -> None:
    registered = project / "registered.toml"
    registered.write_text((project / "manifest.toml").read_text() + "[actor]\nregister = true\n")
    assert live("start", str(registered)).code == 0
    done = live("start", str(registered))
    assert (done.code, NameTaken.exit_code) == (12, 12)


def test_the_client_library_alone_is_enough(live: Theater, project: Path) -> None:
    with Client(live.address) as client:
        row = client.start(project / "manifest.toml")
        assert client.request(row.id, b'{"add": 2}') == b'{"count":2}'
        assert [event.type for event in client.read_events(row.id)][:2] == ["genesis", "call"]
        client.stop(row.id, remove=True)
        assert client.list() == ()
