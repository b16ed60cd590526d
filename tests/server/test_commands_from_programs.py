"""A program of an actor has the server's user, or could have its group, and still commands nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from textwrap import dedent

from elsewhere import Elsewhere
from house import House, eventually

from theater.build import build
from theater.core.manifest import parse

ACTOR = """
    import theater
    from theater import process

    class Runner(theater.Actor):
        initial = {"said": ""}

        def handle_request(self, message):
            if message:
                process.spawn("python3", "-c", *message)
            return self.state["said"]

        def handle_stdout(self, program, data):
            self.state["said"] += data.decode()
"""
MANIFEST = """
name = "runner"
[build]
language = "python"
source = "actor.py"
[[handler]]
type = "message-server"
[[handler]]
type = "process"
programs = ["python3"]
cwd = ["work"]
"""
KNOCK = """
    import os, socket, sys, time
    {before}
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(sys.argv[1])
        line.settimeout(20)
        line.sendall(b"\\xff" + bytes(8) + b"\\x7f\\x03\\x00" + b"NULL".ljust(52, b"\\0"))
        ready = b"\\x05READY\\x0bSocket-Type\\x00\\x00\\x00\\x06DEALER\\x08Identity\\x00\\x00\\x00\\x00"
        line.sendall(bytes([4, len(ready)]) + ready)
        heard = b""
        while b"READY" not in heard and b"ERROR" not in heard and (more := line.recv(1000)):
            heard += more
        print("let in" if b"READY" in heard else "kept out", flush=True)
    except OSError as error:
        print("kept out", flush=True)
"""
AT_ONCE = ""
AS_A_DAEMON = """
    for _ in range(2):
        if os.fork():
            time.sleep(5)
            os._exit(0)
        os.setsid()
"""


def script(before: str) -> str:
    return dedent(KNOCK).replace("{before}", dedent(before))


def knock(house: House, before: str) -> str:
    """What a program hears at the path socket."""
    said = json.loads(house.client.request("runner", b"[]"))
    house.client.request("runner", json.dumps([script(before), str(house.home / "run" / "control")]).encode())
    return str(
        eventually(lambda: json.loads(house.client.request("runner", b"[]"))[len(said) :], "the program has knocked")
    ).strip()


def test_a_program_of_an_actor_is_kept_out_whatever_it_does_to_be_forgotten(closed_house: House) -> None:
    house = Elsewhere(closed_house).open().house
    folder = house.folder / "runner"
    (folder / "work").mkdir(parents=True)
    (folder / "actor.py").write_text(dedent(ACTOR))
    (folder / "manifest.toml").write_text(MANIFEST)
    build(folder, parse(MANIFEST, "runner"))
    house.client.start(folder / "manifest.toml")
    assert knock(house, AT_ONCE) == "kept out"
    assert knock(house, AS_A_DAEMON) == "kept out"


def test_somebody_else_who_says_the_same_is_let_in(own_house: House) -> None:
    """So it is no mistake in what the program says that keeps it out."""
    command = [sys.executable, "-c", script(AT_ONCE), str(own_house.home / "run" / "control")]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip() == "let in"
