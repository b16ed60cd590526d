"""What a server is given that it cannot use: refused with a sentence, counted, and survived."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import ready_commands
import wasmtime
from house import House, descriptors, eventually, outcome

from theater.bus.sockets import Context, Dealer
from theater.core.codec import pack
from theater.core.wire import Request, Send, Stop, encode
from theater.errors import ComponentError, ManifestError

Name = Callable[[], str]


@pytest.fixture
def dealer(house: House) -> Dealer:
    """A socket that speaks ZeroMQ with the control socket, and says what a test likes."""
    context = Context()
    house.on_close.append(context.end)
    made = context.dealer(f"ipc://{house.home}/run/control")
    house.kept.append(made)
    return made


def refused(house: House) -> int:
    return house.client.hello().refused


def refuses(house: House, dealer: Dealer, frame: bytes) -> None:
    """Sends a frame; the server counts it and goes on."""
    before = refused(house)
    dealer.send(frame)
    eventually(lambda: refused(house) == before + 1, f"{frame[:40]!r} is counted")


# ---- bytes on the control socket


def test_a_thousand_random_bytes_on_the_bare_socket_are_survived(house: House) -> None:
    noise = random.Random(2)
    for length in (1000, 1, 10, 64, 100_000):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(house.home / "run" / "control"))
            try:
                raw.sendall(noise.randbytes(length))
                raw.settimeout(0.05)
                raw.recv(1000)
            except OSError:
                pass  # hung up on, as it should be
    assert house.client.hello().pid == house.pid


def test_a_connection_that_says_nothing_holds_up_nobody(house: House, name: Name) -> None:
    before = descriptors(house.pid)
    silent = [socket.socket(socket.AF_UNIX) for _ in range(50)]
    for connection in silent:
        connection.connect(str(house.home / "run" / "control"))
    assert house.client.hello().pid == house.pid
    for connection in silent:
        connection.close()
    eventually(lambda: descriptors(house.pid) <= before + 5, "the connections are forgotten")


def test_a_thousand_random_bytes_in_a_frame_are_counted(house: House, dealer: Dealer) -> None:
    noise = random.Random(1)
    for length in (1000, 0, 1, 3, 4, 5, 100, 1000, 10_000):
        refuses(house, dealer, noise.randbytes(length))


def test_random_bytes_behind_a_good_head_are_counted(house: House, dealer: Dealer) -> None:
    noise = random.Random(3)
    for row in (1, 2, 16, 48, 255):
        refuses(house, dealer, b"TH\x01" + bytes([row]) + noise.randbytes(1000))


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"TH\x02\x01" + pack([1, "hello", {}, 1000]), id="another version"),
        pytest.param(b"TH\x01\xfe" + pack([1]), id="an unknown row"),
        pytest.param(b"TH\x01\x01" + pack([1, "hello", {}]), id="too few fields"),
        pytest.param(b"TH\x01\x01" + pack([1, "hello", {}, 1000, 0]), id="too many fields"),
        pytest.param(b"TH\x01\x01" + pack(["1", "hello", {}, 1000]), id="a wrong type"),
        pytest.param(b"TH\x01\x01" + pack([True, "hello", {}, 1000]), id="a bool for a number"),
        pytest.param(b"TH\x01\x01" + pack([1, "hello", [], 1000]), id="a list for a map"),
        pytest.param(b"TH\x01\x01" + pack([1, "hello", {}, 1000]) + b"\xc0", id="more behind it"),
        pytest.param(encode(Stop()), id="a signal"),
        pytest.param(encode(Send(1, [[bytes(32), b""]])), id="mail"),
    ],
)
def test_what_is_no_request_is_counted(house: House, dealer: Dealer, frame: bytes) -> None:
    refuses(house, dealer, frame)


def test_a_frame_that_is_too_large_ends_its_connection_alone(house: House) -> None:
    import zmq

    context = zmq.Context()
    large = context.socket(zmq.DEALER)
    large.set(zmq.LINGER, 0)
    monitor = large.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    try:
        large.connect(f"ipc://{house.home}/run/control")
        large.send(bytes((96 << 20) + 1))
        assert monitor.poll(20_000), "the server hangs up"
    finally:
        large.disable_monitor()
        context.destroy(0)
    assert house.client.hello().pid == house.pid


def test_several_frames_where_one_is_due_are_counted(house: House) -> None:
    import zmq

    context = zmq.Context()
    odd = context.socket(zmq.DEALER)
    try:
        odd.connect(f"ipc://{house.home}/run/control")
        before = refused(house)
        odd.send_multipart([b"", encode(Request(1, "hello", {}, 1000))])
        odd.send_multipart([b"a", b"b", b"c"])
        eventually(lambda: refused(house) == before + 2)
    finally:
        context.destroy(0)


def test_clients_alone_have_a_socket_to_connect_to(house: House, name: Name) -> None:
    """Actors, services and the server reach each other over links that were handed to them."""
    house.count(house.start(name()).id)
    files = [path for path in house.home.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]
    assert files == [house.home / "run" / "control"]


# ---- requests that make no sense


@pytest.mark.parametrize(
    ("op", "args", "words"),
    [
        ("dance", {}, "does not know the request 'dance'"),
        ("__init__", {}, "does not know"),
        ("inspect", {}, "actor of the request 'inspect' must be str"),
        ("inspect", {"actor": 7}, "must be str, not int"),
        ("list", {"surplus": 1}, None),
        ("stop", {"actor": "x", "remove": "yes"}, None),
        ("message", {"actor": "x", "body": "text", "request": True, "timeout_ms": 1}, None),
        ("events", {"actor": "supervisor", "since": "0"}, "since of the request 'events' must be int"),
        ("events", {"actor": "supervisor", "types": "call"}, "must be list"),
        ("events", {"actor": "supervisor", "types": [1]}, "list of str"),
        ("events", {"actor": "supervisor", "since": -(2**63), "limit": -1}, None),
        ("events", {"actor": "supervisor", "since": 2**63, "limit": 2**63, "wait_ms": -5}, None),
        ("events", {"actor": "supervisor", "since": 2**64 - 1}, None),
        ("have", {"digests": ["../../etc/passwd"]}, None),
        ("have", {"digests": [b"x"]}, "list of str"),
        ("put", {"content": "text"}, "must be bytes"),
        ("dead_letters", {"action": "burn"}, "listed, resent or dropped, not 'burn'"),
        ("dead_letters", {"action": "drop", "numbers": ["1"]}, "list of int"),
        ("dead_letters", {"action": "drop", "numbers": [2**63]}, "no dead letter"),
        ("dead_letters", {"action": "resend", "numbers": [-1]}, "no dead letter"),
        ("start", {"manifest": "", "where": "x"}, None),
        ("start", {"manifest": 'name = "x"\ncomponent = "x"', "where": "x", "component": "../../x"}, "is not a digest"),
    ],
)
def test_a_request_with_wrong_arguments_is_answered_with_what_is_wrong(
    house: House, op: str, args: dict[str, object], words: str | None
) -> None:
    link = house.client._link
    ended = link.outcome({link.submit(op, args, 10.0)})
    if words is not None:
        assert ended.error is not None
        assert words in ended.error.message
    if ended.error is not None:
        assert "defect" not in ended.error.message


def test_a_log_can_be_asked_for_from_anywhere(house: House, name: Name) -> None:
    row = house.start(name())
    house.client.request(row.id, b"lhello")
    for since in (0, 5, 10**9, 2**63, 2**64 - 1, -1, -5, -(2**63)):
        for limit in (1, 0, -1, 2**63):
            page = house.client.call("logs", {"actor": row.id, "since": since, "limit": limit}, 10.0)
            assert page["id"] == row.id


# ---- components that cannot be used


def component(house: House, name: str, content: bytes) -> str:
    (house.folder / f"{name}.wasm").write_bytes(content)
    return f"{name}.wasm"


CORE = bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1))'))
EMPTY = bytes(wasmtime.wat2wasm("(component)"))
UNGRANTED = bytes(
    wasmtime.wat2wasm(
        '(component (import "theater:simple/http-client" (instance (export "send" (func (result string))))))'
    )
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"not wasm at all", "is text, not a compiled component", id="text"),
        pytest.param(bytes(range(256)), "is not WebAssembly", id="noise"),
        pytest.param(b"", "is empty", id="nothing"),
        pytest.param(CORE, "core WebAssembly module, not a component", id="core module"),
        pytest.param(EMPTY, "theater:simple/actor", id="no export"),
        pytest.param(UNGRANTED, "theater:simple/http-client", id="an import that is not granted"),
    ],
)
def test_a_component_that_cannot_be_used_is_refused_and_the_sentence_says_why(
    house: House, name: Name, content: bytes, words: str
) -> None:
    actor = name()
    with pytest.raises(ComponentError, match=words):
        house.start(actor, component=component(house, actor, content))
    assert actor not in {row.name for row in house.client.list()}


def test_a_component_cut_off_anywhere_is_refused(house: House, name: Name, probe: bytes) -> None:
    for length in (4, 8, 9, 100, len(probe) // 2, len(probe) - 1):
        with pytest.raises(ComponentError):
            house.start(name(), component=component(house, f"cut{length}", probe[:length]))


def test_an_import_that_the_manifest_does_not_grant_is_named(house: House, name: Name) -> None:
    with pytest.raises(ComponentError, match="theater:simple/message-server-host") as refusal:
        house.start(name(), handlers=())
    assert "message-server" in str(refusal.value.details["problems"])


# ---- manifests


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('name = "x"\nsurprise = 1\n', id="an unknown key"),
        pytest.param("name = 7\n", id="a wrong type"),
        pytest.param(f'name = "{"x" * 5000}"\n', id="an over-long line"),
        pytest.param("a = " + "[" * 100_000 + "]" * 100_000, id="200 KB of nesting"),
        pytest.param("\0", id="a NUL"),
        pytest.param('name = "x"', id="no component"),
        pytest.param('name = "x"\ncomponent = "x.wasm"\n[[handler]]\ntype = "teleport"\n', id="an unknown handler"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_by_the_server(house: House, text: str, probe: bytes) -> None:
    digest = house.client.put(probe)
    with pytest.raises(ManifestError, match=r"bad\.toml"):
        house.client.call("start", {"manifest": text, "where": "bad.toml", "component": digest}, 20.0)


# ---- homes and addresses


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THEATER_HOME")}
    return ready_commands.run(arguments, text=True, timeout=30, env=kept | environment)


def test_a_second_server_on_one_home_is_refused_and_harms_nothing(house: House, name: Name) -> None:
    row = house.start(name())
    done = run("--home", str(house.home), "server")
    assert done.returncode == 12
    assert f"a server (pid {house.pid}) runs on {house.home} already" in done.stderr
    assert "Traceback" not in done.stderr
    assert house.count(row.id) == 1


def test_a_home_whose_sockets_have_too_long_paths_is_refused(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 80)
    done = run("--home", str(home), "server")
    assert done.returncode == 3
    assert "107" in done.stderr
    assert not home.exists()


def test_an_address_that_is_too_long_is_refused() -> None:
    done = run("--address", f"ipc:///{'x' * 120}", "list")
    assert done.returncode == 3
    assert "107" in done.stderr


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("--home", str(tmp_path / "file" / "home"), "server")
    assert done.returncode == 3
    assert "cannot use the directory" in done.stderr


def test_a_damaged_row_is_left_alone_and_named(own_house: House) -> None:
    house = own_house
    good, bad = house.start("good"), house.start("bad")
    house.client.stop_server()
    house.await_end()
    row = house.home / "actors" / bad.id / "actor"
    row.write_bytes(b"\xc1 not a row")
    house.open()
    house.await_row(good.id, lambda row: row.state == "running")
    assert [found.id for found in house.client.list()] == [good.id]
    assert row.read_bytes() == b"\xc1 not a row"
    assert f"{house.home}/actors/{bad.id}" in house.log_text()


def test_a_damaged_chain_fails_its_actor_alone(own_house: House) -> None:
    house = own_house
    good, bad = house.start("good"), house.start("bad")
    for id in (good.id, bad.id):
        house.count(id)
    house.client.stop_server()
    house.await_end()
    chain = house.home / "actors" / bad.id / "chain"
    content = bytearray(chain.read_bytes())
    content[-1] ^= 1
    chain.write_bytes(content)
    house.open()
    house.await_row(good.id, lambda row: row.state == "running")
    failed = house.await_row(bad.id, lambda row: row.state == "failed")
    assert failed.last_exit is not None
    assert "expected digest" in (failed.last_exit.detail or "")
    assert house.count(good.id) == 2
    assert bytes(content) == chain.read_bytes()


def test_damage_before_what_was_verified_is_found_by_verify(own_house: House) -> None:
    """A start reads what lies behind the last checkpoint; the whole is verified when somebody asks for it."""
    house = own_house
    row = house.start("count")
    for _ in range(5):
        house.count(row.id)
    house.client.stop_server()
    house.await_end()
    chain = house.home / "actors" / row.id / "chain"
    content = bytearray(chain.read_bytes())
    content[len(content) // 2] ^= 1
    chain.write_bytes(content)
    with pytest.raises(AssertionError, match=row.id):
        house.verify()


def test_a_shortened_chain_is_caught_by_the_checkpoint(own_house: House) -> None:
    house = own_house
    row = house.start("count")
    for _ in range(3):
        house.count(row.id)
    house.client.stop_server()
    house.await_end()
    chain = house.home / "actors" / row.id / "chain"
    whole = chain.read_bytes()
    chain.write_bytes(whole[: len(whole) // 2])
    house.open()
    failed = house.await_row(row.id, lambda row: row.state == "failed")
    assert failed.last_exit is not None
    assert "expected" in (failed.last_exit.detail or "")
    chain.write_bytes(whole)
    assert house.client.restart(row.id).state == "running"
    assert house.count(row.id) == 4


def test_a_torn_tail_is_cut_and_told(own_house: House) -> None:
    house = own_house
    row = house.start("count")
    house.count(row.id)
    house.send_signal(signal.SIGKILL)
    house.await_end()
    chain = house.home / "actors" / row.id / "chain"
    with chain.open("ab") as file:
        file.write(chain.read_bytes()[-60:-20])
    house.open()
    house.await_row(row.id, lambda row: row.state in ("running", "failed"))
    if house.row(row.id).state == "running":
        assert house.count(row.id) == 2
        assert any("torn" in line.text for line in house.client.read_logs(row.id))


# ---- too little of everything


def test_a_server_that_runs_out_of_descriptors_starts_nothing_more_and_lives(own_house: House) -> None:
    """The last ones are kept for connections: ZeroMQ would end the process if it could not accept one."""
    house = own_house
    first = house.start("first")
    resource.prlimit(house.pid, resource.RLIMIT_NOFILE, (descriptors(house.pid) + 64 + 6, 4096))
    paths = [house.write(f"n{number}") for number in range(12)]
    ends = [outcome(lambda path=path: house.client.start(path, timeout=20.0)) for path in paths]
    # Not all twelve: which of them depends on whose descriptors are free again at that moment.
    assert set(ends) == {"reply", "StartFailed"}
    assert house.count(first.id) == 1
    resource.prlimit(house.pid, resource.RLIMIT_NOFILE, (4096, 4096))
    assert house.start("last").state == "running"


def test_a_server_uses_all_descriptors_that_it_may_have(own_house: House) -> None:
    soft, hard = resource.prlimit(own_house.pid, resource.RLIMIT_NOFILE)
    assert soft == hard
