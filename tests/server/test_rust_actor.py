"""An actor that another toolchain has made from the WIT of theater:simple alone: Rust's, with wit-bindgen."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from house import House, eventually
from replays import reproduced

from theater.core.chain import Call, HostCall
from theater.errors import ActorFailed

PROJECT = Path(__file__).parents[1] / "rust"
TARGET = "wasm32-wasip2"


@pytest.fixture(scope="module")
def component() -> bytes:
    """The component; built in seconds, and in a minute the first time."""
    if shutil.which("cargo") is None or shutil.which("rustc") is None:
        pytest.skip("there is no cargo on this machine")
    library = subprocess.run(["rustc", "--print", "target-libdir", "--target", TARGET], capture_output=True, text=True)
    if library.returncode != 0 or not Path(library.stdout.strip()).is_dir():
        pytest.skip(f"cargo has no library for {TARGET}; rustup target add {TARGET}")
    target = Path(tempfile.gettempdir()) / f"theater-rust-{os.getuid()}"
    command = ["cargo", "build", "--locked", "--release", "--target", TARGET, "--target-dir", str(target)]
    made = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=500)
    if made.returncode != 0 and ("download" in made.stderr or "network" in made.stderr):
        pytest.skip(f"the crates cannot be had here: {made.stderr.splitlines()[-1]}")
    assert made.returncode == 0, made.stderr
    return (target / TARGET / "release" / "rust_actor.wasm").read_bytes()


def test_it_is_an_actor_like_any_other(house: House, component: bytes) -> None:
    (house.folder / "rust.wasm").write_bytes(component)
    friend = house.start("friend")
    row = house.start("clerk", component="rust.wasm", handlers=("message-server", "store"))
    assert house.client.request(row.id, b"bread") == b"bread"
    with pytest.raises(ActorFailed, match="say something"):
        house.client.request(row.id, b"")
    house.client.send(row.id, b"c")
    eventually(lambda: house.client.state(friend.id).state == b"\x01\0\0\0")
    house.kill_worker(row.id)
    house.await_incarnation(row.id, 2)
    assert house.client.request(row.id, b"salt") == b"salt"
    asked = [payload for payload in reproduced(house, row.id) if isinstance(payload, Call | HostCall)]
    functions = {payload.function for payload in asked}
    assert {"init", "log", "new", "handle-request", "store-at-label", "get-by-label", "get", "send"} <= functions
