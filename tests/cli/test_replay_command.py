"""`theater replay`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from commandline import Theater

from theater.chainlog.writer import ChainWriter
from theater.core.chain import Call, Genesis, Kind, Lifecycle, outcome_ok
from theater.core.codec import pack
from theater.core.manifest import canonical, parse
from theater.errors import Diverged, NotFound, UnknownActor
from theater.store.content import ContentStore
from theater.wasm.engine import engine_identity

ONE = "10000000-0000-4000-8000-000000000001"
TWO = "20000000-0000-4000-8000-000000000002"
MANIFEST = 'name = "a"\ncomponent = "a.wasm"\n'
KEEPS_ITS_STATE = """
(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "init") (param i32 i32 i32 i32 i32) (result i32) (i32.const 64)))
  (core instance $m (instantiate $m))
  (alias core export $m "memory" (core memory $memory))
  (alias core export $m "realloc" (core func $realloc))
  (type $state (option (list u8)))
  (func $init (param "state" $state) (param "params" (tuple string)) (result (result (tuple $state) (error string)))
    (canon lift (core func $m "init") (memory $memory) (realloc $realloc) string-encoding=utf8))
  (instance $actor (export "init" (func $init)))
  (export "theater:simple/actor" (instance $actor)))
"""
"""Its init answers with no state."""


def chain(home: Path, actor: str, name: str, **facts: Any) -> None:
    """The chain of an actor that was initialised: `outcome` says with what, `engine` where."""
    store = ContentStore(home / "content")
    component = store.put(bytes(wasmtime.wat2wasm(KEEPS_ITS_STATE)))
    manifest = store.put(pack(canonical(parse(MANIFEST, "manifest.toml"))))
    engine = {**engine_identity(False), "program": None, **facts.get("engine", {})}
    made_of = bytes.fromhex(manifest), bytes.fromhex(component), facts.get("wrapper")
    path = home / "actors" / actor / "chain"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, Genesis(actor, name, *made_of, engine))
        writer.append(Kind.CALL, Call("theater:simple/actor", "init", [actor]))
        writer.append(Kind.OUTCOME, facts.get("outcome", outcome_ok([], None, None)))
        writer.append(Kind.LIFECYCLE, Lifecycle("ended", {"reason": "shutdown"}))


@pytest.fixture(scope="session")
def wrapper(tmp_path_factory: pytest.TempPathFactory) -> bytes | None:
    """The digest of what the component is wrapped into."""
    from theater.build.compiled import ensure_compiled

    folder = tmp_path_factory.mktemp("w")
    (folder / "a.wasm").write_bytes(bytes(wasmtime.wat2wasm(KEEPS_ITS_STATE)))
    made = ensure_compiled(folder / "artefacts", folder / "a.wasm").meta.wrapper
    return bytes.fromhex(made) if made else None


@pytest.fixture
def home(theater: Theater, wrapper: bytes | None) -> Path:
    chain(theater.home, ONE, "a", wrapper=wrapper)
    chain(theater.home, TWO, "b", wrapper=wrapper)
    return theater.home


def test_what_is_reproduced_ends_with_0(theater: Theater, home: Path) -> None:
    done = theater("replay", "--all")
    assert done.code == 0, done
    assert [row.split()[::2] for row in done.text.splitlines()[1:]] == [
        ["10000000", "4", "reproduced"],
        ["20000000", "4", "reproduced"],
    ]
    found = json.loads(theater("replay", ONE, "--json").out)
    assert found["ok"] is True
    (actor,) = found["actors"]
    assert list(actor) == ["id", "name", "entries", "head", "ok", "error"]
    (verified,) = json.loads(theater("verify", ONE, "--json").out)["actors"]
    assert actor.items() <= verified.items()


def test_what_is_not_ends_with_9_and_shows_the_difference(theater: Theater, home: Path, wrapper: bytes | None) -> None:
    chain(home, TWO, "b", wrapper=wrapper, outcome=outcome_ok([], b'{"count": 1}', None))
    done = theater("replay", "--all")
    assert done.code == Diverged.exit_code
    rows = done.text.splitlines()
    assert rows[2].split()[::2] == ["20000000", "2", "DIVERGED"]
    assert rows[3] == (
        f'{TWO}: entry 2: recorded was an outcome ok [] with the new state {{"count": 1}}; in the replay it was an '
        "outcome ok []"
    )
    assert '    -        "count": 1' in rows
    found = json.loads(theater("replay", "--all", "--json").out)
    assert (found["ok"], [actor["ok"] for actor in found["actors"]]) == (False, [True, False])
    assert '-        "count": 1' in found["actors"][1]["error"].splitlines()


def test_a_chain_that_does_not_verify_is_not_executed(theater: Theater, home: Path) -> None:
    path = home / "actors" / ONE / "chain"
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    done = theater("replay", ONE)
    assert done.code == Diverged.exit_code
    assert f"{ONE}: entry 3 at byte" in done.text


def test_another_engine_is_one_sentence(theater: Theater, home: Path, wrapper: bytes | None) -> None:
    chain(home, ONE, "a", wrapper=wrapper, engine={"version": "1.0"})
    done = theater("replay", ONE)
    assert done.code == Diverged.exit_code
    assert f"{ONE}: entry 0: this life ran on wasmtime 1.0, and wasmtime " in done.text


def test_actors_are_named_or_all_are_meant(theater: Theater, home: Path) -> None:
    assert theater("replay").code == 2
    assert theater("replay", "--all", ONE).code == 2
    assert theater("replay", "10").code == 0
    assert theater("replay", "-", stdin=f"{ONE}\n{TWO}\n".encode()).code == 0
    assert theater("replay", "nobody").code == UnknownActor.exit_code
    assert theater("replay", "--all", "--home", str(home / "nothing")).code == NotFound.exit_code


def test_progress_is_shown_on_a_terminal_only(theater: Theater, home: Path) -> None:
    assert theater("replay", "--all").err == ""
    assert "reproduced" in theater.on_terminal("replay", "--all").text


def test_the_command_itself_loads_no_wasmtime() -> None:
    """What a guest may do to a process, it does to that of its replay."""
    probe = "import sys, theater.replay.home; print('wasmtime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
