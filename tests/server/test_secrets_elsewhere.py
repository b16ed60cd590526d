"""What leaves a home of actors with secrets, by the command line: bundles, copies, what people are shown."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import ready_commands
from house import RESTLESS, House, make_house
from keepers import keeper

from theater.build import build
from theater.core.manifest import parse

VALUE = "correct horse battery staple"
VERIFIER = Path(__file__).parents[2] / "examples" / "verifier" / "verify_chain.py"
SECRETS = '[secrets]\npassword = { env = "TEST_PASSWORD" }\n'


@pytest.fixture
def house() -> Iterator[House]:
    own = make_house(keeper())
    own.server = own.popen(TEST_PASSWORD=VALUE)
    try:
        own.await_server()
        yield own
    finally:
        own.close()


def theater(home: Path, *args: str, code: int = 0) -> str:
    """What a command says."""
    arguments, environment = ["--home", str(home), *args], {**os.environ, "COLUMNS": "200"}
    done = ready_commands.run(arguments, text=True, timeout=120, env=environment)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def recorded(house: House) -> str:
    """An actor that has made its secret its state, and is down; returns its id."""
    path = house.write("a", handlers=("message-server", "secrets"), supervision=RESTLESS)
    path.write_text(path.read_text() + SECRETS)
    actor = house.client.start(path).id
    house.client.request(actor, b"kpassword")
    house.client.request(actor, b"S{" + VALUE.encode() + b"}")
    house.client.stop(actor)
    return actor


def test_a_bundle_has_no_secret_and_replays_with_one(house: House, tmp_path: Path) -> None:
    actor = recorded(house)
    bundle = tmp_path / "a.theater"
    theater(house.home, "export", actor, "-o", str(bundle))
    assert VALUE.encode() not in bundle.read_bytes()

    elsewhere = tmp_path / "h"
    theater(elsewhere, "verify", str(bundle))
    assert "needs the secret 'password'" in theater(elsewhere, "replay", str(bundle), code=9)
    kept = house.home / "secrets" / actor / "password.1"
    assert "reproduced" in theater(elsewhere, "replay", str(bundle), "--secret", f"password={kept}")
    wrong = tmp_path / "wrong"
    wrong.write_text(VALUE)
    said = theater(elsewhere, "replay", str(bundle), "--secret", f"password={wrong}", code=9)
    assert "what was given for the secret 'password' is not the value" in said
    assert "NAME=FILE" in theater(elsewhere, "replay", str(bundle), "--secret", "password", code=2)


def test_people_see_the_name_in_all_that_shows_a_chain(house: House, tmp_path: Path) -> None:
    actor = recorded(house)
    shown = [
        theater(house.home, "state", actor),
        theater(house.home, "state", f"{actor}@-1"),
        theater(house.home, "events", actor),
        theater(house.home, "events", actor, "--json"),
        theater(house.home, "diff", f"{actor}@7", f"{actor}@-1", code=1),
        theater(house.home, "events", actor, "--around", "8"),
    ]
    assert all(VALUE not in text for text in shown)
    assert all("[secret password]" in text for text in shown), shown
    assert theater(house.home, "inspect", actor, "--json").count(VALUE) == 0


def test_a_second_verifier_accepts_a_chain_with_secrets(house: House) -> None:
    actor = recorded(house)
    chain = house.home / "actors" / actor / "chain"
    done = subprocess.run([sys.executable, str(VERIFIER), str(chain)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done


ACTOR = """
    import base64
    import theater

    class Keeper(theater.Actor):
        initial = {"seen": []}

        def handle_request(self, message):
            password = theater.secret("password").decode()
            print("print:", password)
            theater.log("Basic " + base64.b64encode(b"me:" + password.encode()).decode())
            if message == "crash":
                raise ValueError("it is " + password)
            self.state["seen"].append({"password": password, "hex": password.encode().hex()})
            return len(self.state["seen"])
"""


def test_an_actor_in_python_that_is_careless_everywhere(house: House) -> None:
    """It prints and logs its secret, keeps it, and tells it in a traceback."""
    folder = house.folder
    (folder / "keeper.py").write_text(dedent(ACTOR))
    text = (
        'name = "keeper"\n[build]\nlanguage = "python"\nsource = "keeper.py"\n'
        '[[handler]]\ntype = "message-server"\n[[handler]]\ntype = "secrets"\n'
        f"[supervision]\nintensity = 1000\n{SECRETS}"
    )
    (folder / "keeper.toml").write_text(text)
    build(folder, parse(text, "keeper.toml"))
    actor = house.client.start(folder / "keeper.toml").id

    def ask(message: object) -> object:
        return json.loads(house.client.request(actor, json.dumps(message).encode()))

    assert ask("look") == 1
    with pytest.raises(Exception, match="went down"):
        ask("crash")
    house.await_incarnation(actor, 2)
    assert ask("look") == 2
    house.kill_worker(actor)
    assert ask("look") == 3
    house.client.stop(actor)
    assert "reproduced" in theater(house.home, "replay", actor)
    shutil.rmtree(house.home / "secrets")
    for path in (house.log, *(path for path in house.home.rglob("*") if path.is_file())):
        assert VALUE.encode() not in path.read_bytes(), path
        assert VALUE.encode().hex().encode() not in path.read_bytes(), path
        assert VALUE.encode()[3:-3] not in path.read_bytes(), path
    lines = [line.text for line in house.client.read_logs(actor)]
    assert "print: [secret password]" in lines
    assert any(line.endswith("ValueError: it is [secret password]") for line in lines), lines
    theater(house.home, "verify")
