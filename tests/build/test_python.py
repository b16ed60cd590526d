"""A Python actor's build: what is read, what is refused and with which words, what is written."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from theater import config
from theater.build import python, trial
from theater.build.compiled import ensure_compiled
from theater.build.runner import runner
from theater.core.codec import unpack
from theater.core.manifest import Manifest, parse
from theater.errors import BuildFailed
from theater.store.programs import find_runner
from theater.wasm.guest import Guest

ACTOR = "import theater\n\n\nclass A(theater.Actor):\n    pass\n"


def manifest(source: str = "actor.py", more: str = "") -> Manifest:
    text = (
        f'name = "a"\n{more}\n[build]\nlanguage = "python"\nsource = "{source}"\n[[handler]]\ntype = "message-server"\n'
    )
    return parse(text, "manifest.toml")


def project(folder: Path, **modules: str) -> Path:
    """A folder with modules; `_` in a name stands for `/`."""
    for name, text in modules.items():
        path = folder / f"{name.replace('_', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def refused(folder: Path, source: str = "actor.py") -> str:
    with pytest.raises(BuildFailed) as failed:
        python.read_program(folder, manifest(source))
    return failed.value.message


# ---- reading


def test_a_file_is_a_program_of_one_module(tmp_path):
    program = python.read_program(project(tmp_path, actor=ACTOR, other="x = 1"), manifest())
    assert program == python.Program("actor", {"actor.py": ACTOR.encode()})


def test_a_file_may_have_any_name_of_a_module(tmp_path):
    assert python.read_program(project(tmp_path, pinger=ACTOR), manifest("pinger.py")).entry == "pinger"


def test_a_folder_is_a_program_of_all_its_modules(tmp_path):
    project(tmp_path / "src", actor=ACTOR, shop_till="x = 1")
    (tmp_path / "src" / "notes.txt").write_text("not a module")
    (tmp_path / "src" / ".hidden").mkdir()
    (tmp_path / "src" / ".hidden" / "x.py").write_text("")
    program = python.read_program(tmp_path, manifest("src"))
    assert program.entry == "actor"
    assert sorted(program.modules) == ["actor.py", "shop/till.py"]


@pytest.mark.parametrize(
    "source",
    [
        "class MessageServerClient:\n    pass\n",
        "from theater import Actor as Base\n\n\nclass A(Base):\n    pass\n",
        "import theater as t\n\n\nclass A(t.Actor):\n    pass\n",
        "import theater\n\nif True:\n    class A(theater.Actor):\n        pass\n",
    ],
)
def test_an_actor_may_be_written_in_several_ways(tmp_path, source):
    python.read_program(project(tmp_path, actor=source), manifest())


def test_an_actor_may_come_from_a_module_of_the_program(tmp_path):
    project(tmp_path / "src", actor="from shop import A\n", shop=ACTOR)
    python.read_program(tmp_path, manifest("src"))


# ---- refusing


def test_a_syntax_error_is_shown_with_file_line_and_text(tmp_path):
    message = refused(project(tmp_path, actor="import theater\n\nif True:\n    x = (1,\n    y = 2)\n"))
    assert re.match(r"actor\.py:[45]: .*\n    \S.*\n    +\^$", message), message


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", "actor.py defines no actor; write a class that derives from theater.Actor"),
        ("class A:\n    pass\n", "actor.py defines no actor"),
        ("import enum\n\n\nclass A(Exception):\n    pass\n", "actor.py defines no actor"),
        ("x = '\0'\n", "actor.py"),
        ("x = " + "-" * 100_000 + "1\n", "actor.py cannot be read as Python: "),
        ("x = " + "(" * 1000 + "\n", "actor.py:1: too many nested parentheses"),
        ("# " + "x" * python.MAX_MODULE, "actor.py has 1048578 bytes; a module may have 1048576"),
    ],
)
def test_what_is_no_actor_is_refused(tmp_path, source, message):
    assert refused(project(tmp_path, actor=source)).startswith(message)


def test_a_missing_source_is_named(tmp_path):
    assert refused(tmp_path) == f"there is no file or folder {tmp_path / 'actor.py'}, which [build] source names"
    (tmp_path / "src").mkdir()
    assert "has no actor.py" in refused(tmp_path, "src")


def test_a_module_that_hides_one_of_python_is_refused(tmp_path):
    project(tmp_path / "src", actor=ACTOR, queue="x = 1")
    assert refused(tmp_path, "src").startswith("queue.py would hide the module queue")


def test_a_file_that_cannot_be_imported_is_refused(tmp_path):
    project(tmp_path / "src", actor=ACTOR)
    (tmp_path / "src" / "my-module.py").write_text("")
    assert refused(tmp_path, "src").startswith("my-module.py cannot be imported: my-module is no name of a module")


def test_a_neighbour_of_a_single_file_is_not_part_of_the_program(tmp_path):
    message = refused(project(tmp_path, actor="import theater\nimport prices\n" + ACTOR, prices="x = 1\n"))
    assert message.startswith("actor.py:2: prices is not part of the program, which is one file")


def test_a_program_that_is_too_large_is_refused(tmp_path):
    large = "# " + "x" * (python.MAX_MODULE - 2)
    project(tmp_path / "src", actor=ACTOR, **{f"m{number}": large for number in range(8)})
    assert "a program may have 8388608" in refused(tmp_path, "src")


# ---- writing


def test_a_build_writes_a_program_for_the_runner(tmp_path):
    made = python.build(project(tmp_path, actor=ACTOR), manifest())
    assert made == tmp_path / "build" / "a.program"
    magic, _, packed = made.read_bytes().partition(b"\n")
    assert magic == b"theater-program 1"
    made_for = runner(config.cache())
    assert unpack(packed, max_len=len(packed)) == {
        "runner": made_for.stem,
        "entry": "actor",
        "modules": {"actor.py": ACTOR.encode()},
    }
    assert find_runner(config.cache(), made_for.stem) == made_for
    assert find_runner(config.cache(), "0" * 64) is None


def test_a_build_is_the_same_every_time_and_takes_less_than_a_second(tmp_path):
    project(tmp_path, actor=ACTOR)
    first = python.build(tmp_path, manifest()).read_bytes()
    began = time.monotonic()
    again = python.build(tmp_path, manifest()).read_bytes()
    assert time.monotonic() - began < 1
    assert again == first


def test_a_build_goes_where_the_manifest_says_and_leaves_one_result(tmp_path):
    project(tmp_path, actor=ACTOR)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "a.wasm").write_bytes(b"of a standalone build")
    python.build(tmp_path, manifest())
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["a.program"]
    assert python.build(tmp_path, manifest(more='component = "here/it.is"')) == tmp_path / "here" / "it.is"


def test_what_the_runner_cannot_load_is_a_failed_build(tmp_path):
    with pytest.raises(BuildFailed, match="ModuleNotFoundError: No module named 'requests'"):
        python.build(project(tmp_path, actor=f"import requests\n{ACTOR}"), manifest())
    with pytest.raises(BuildFailed, match="calls log of theater:simple/runtime while it is loaded"):
        python.build(project(tmp_path, actor=f'{ACTOR}\n\ntheater.log("x")\n'), manifest())
    with pytest.raises(BuildFailed, match=r'File "actor.py", line 3, in <module>'):
        python.build(project(tmp_path, actor="import theater\n\nraise ValueError\n" + ACTOR), manifest())
    assert not (tmp_path / "build").exists()


def test_a_program_that_never_ends_loading_is_a_failed_build():
    component = runner(config.cache())
    artefact = ensure_compiled(config.cache() / "artefacts", component)
    with pytest.raises(BuildFailed, match=r"was not loaded within 0\.5 s"):
        trial.load(artefact, {"actor.py": b"while True:\n    pass\n"}, "actor", timeout=0.5)


# ---- the runner


def test_two_processes_make_one_runner(tmp_path):
    """Both find it missing; the second waits for the first and makes none of its own."""
    program = (
        "import sys; from pathlib import Path; from theater.build.runner import runner\n"
        f"print(runner(Path({str(tmp_path)!r}), lambda text: print(text, file=sys.stderr)))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = [process.communicate(timeout=300) for process in both]
    assert results[0][0] == results[1][0] == f"{next((tmp_path / 'runners').glob('*.wasm'))}\n"
    assert sorted("waiting for another process" in said for _, said in results) == [False, True]
    assert sorted(path.suffix for path in (tmp_path / "runners").iterdir()) == ["", ".made", ".wasm"]


# ---- standalone


def test_a_standalone_build_is_a_component_that_acts_alike(tmp_path):
    """It imports what the manifest grants, and no more."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "guest"))
    from recording_host import RecordingHost

    counter = Path(__file__).parents[2] / "examples" / "counter" / "actor.py"
    more = '[[handler]]\ntype = "supervisor"\n[[handler]]\ntype = "monitors"'
    made = python.build(project(tmp_path, actor=counter.read_text()), manifest(more=more), standalone=True)
    assert made == tmp_path / "build" / "a.wasm"
    artefact = ensure_compiled(config.cache() / "artefacts", made)
    assert {name for name, _ in artefact.meta.imports if name.startswith("theater:")} == {
        "theater:simple/runtime",
        "theater:simple/message-server-host",
        "theater:simple/supervisor",
        "theater:otp/identity@0.1.0",
        "theater:otp/links@0.1.0",
        "theater:otp/monitors@0.1.0",
        "theater:otp/requests@0.1.0",
    }
    guest = Guest(artefact, RecordingHost())
    state = guest.call("theater:simple/actor", "init", (None, ("id",))).value[0]
    client = "theater:simple/message-server-client"
    answer = guest.call(client, "handle-request", (state, ("r1", b'{"add": 2}'))).value
    assert answer == (b'{"count":2}', (b'{"count":2}',))
    gone = {"kind": "no-process", "detail": None, "signal": None, "status": None, "commanded": False}
    assert guest.call("theater:otp/monitor-handlers@0.1.0", "handle-down", (b"1", (1, "a", gone))).value == (b"1",)
    assert guest.call("theater:simple/supervisor-handlers", "handle-child-exit", (b"1", ("a", None))).value == (b"1",)


def test_a_standalone_build_answers_http_if_its_manifest_grants_it(tmp_path):
    sys.path.insert(0, str(Path(__file__).parents[1] / "guest"))
    from recording_host import HTTP_FRAMEWORK, RecordingHost

    source = """
import theater
from theater import http


class Site(theater.Actor):
    @http.get("/users/{name}")
    def user(self, request, name):
        return {"name": name}
"""
    more = '[[handler]]\ntype = "http-framework"'
    made = python.build(project(tmp_path, actor=source), manifest(more=more), standalone=True)
    artefact = ensure_compiled(config.cache() / "artefacts", made)
    guest = Guest(artefact, RecordingHost({(HTTP_FRAMEWORK, "register-handler"): lambda name: 5}))
    request = {"method": "GET", "uri": "/users/ann", "headers": [], "body": None}
    answer = guest.call("theater:simple/http-handlers", "handle-request", (None, (5, request)))
    assert answer.value[1][0]["body"] == b'{"name":"ann"}'
