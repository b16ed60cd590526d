"""Files, programs, the clock, chance and variables in the guest library."""

from __future__ import annotations

import json

import pytest
from recording_host import ENVIRONMENT, FILES, MORE_FILES, PROCESS, RANDOM, TIMING

from theater.core.values import Case, Err

EVALUATE = """
    import theater
    from theater import env, files, process, random, time

    class Evaluate(theater.Actor):
        initial = []

        def handle_request(self, message):
            return eval(message)

        def handle_stdout(self, process, data):
            self.state.append(["out", process, data.decode()])

        def handle_stderr(self, process, data):
            self.state.append(["err", process, data.decode()])

        def handle_process_exit(self, process, status):
            self.state.append(["exit", process, status])
"""


@pytest.mark.parametrize(
    ("call", "interface", "function", "args", "answer", "value"),
    [
        ("files.read('a').decode()", FILES, "read-file", ("a",), b"x", "x"),
        ("files.read_text('a')", FILES, "read-file", ("a",), "ä".encode(), "ä"),
        ("files.write('a', 'b')", FILES, "write-file", ("a", "b"), None, None),
        ("files.names('.')", FILES, "list-files", (".",), ["a"], ["a"]),
        ("files.exists('a')", FILES, "path-exists", ("a",), True, True),
        ("files.delete('a')", FILES, "delete-file", ("a",), None, None),
        ("files.make_folder('a')", FILES, "create-dir", ("a",), None, None),
        ("files.delete_folder('a')", FILES, "delete-dir", ("a",), None, None),
        ("files.write('a', b'b')", MORE_FILES, "write-bytes", ("a", b"b"), None, None),
        ("files.append('a', 'ä')", MORE_FILES, "append", ("a", "ä".encode()), None, None),
        ("files.read_part('a', 2, 3).decode()", MORE_FILES, "read-part", ("a", 2, 3), b"x", "x"),
        ("files.rename('a', 'b')", MORE_FILES, "rename", ("a", "b"), None, None),
        ("files.info('a')", MORE_FILES, "stat", ("a",), None, None),
        (
            "str(files.info('a'))",
            MORE_FILES,
            "stat",
            ("a",),
            {"kind": "folder", "size": 0, "modified": 1500},
            "Info(kind='folder', size=0, modified=1.5)",
        ),
        ("process.write(1, 'ab')", PROCESS, "os-write-stdin", (1, b"ab"), 2, 2),
        ("process.end_input(1)", PROCESS, "os-write-stdin", (1, b""), 0, None),
        ("process.signal(1)", PROCESS, "os-signal", (1, 15), None, None),
        ("process.kill(1)", PROCESS, "os-kill", (1,), None, None),
        ("time.now()", TIMING, "now", (), 1500, 1.5),
        ("theater.sleep(0.25)", TIMING, "sleep", (250,), None, None),
        ("time.sleep_until(2.5)", TIMING, "deadline", (2500,), None, None),
        ("list(random.random_bytes(2))", RANDOM, "random-bytes", (2,), b"\x01\x02", [1, 2]),
        ("random.between(1, 6)", RANDOM, "random-range", (1, 6), 4, 4),
        ("random.number()", RANDOM, "random-float", (), 0.5, 0.5),
        ("random.uuid()", RANDOM, "generate-uuid", (), "u", "u"),
        ("env.get('A')", ENVIRONMENT, "get-var", ("A",), "1", "1"),
        ("env.get('A', '2')", ENVIRONMENT, "get-var", ("A",), None, "2"),
        ("env.exists('A')", ENVIRONMENT, "exists", ("A",), True, True),
        ("env.all()", ENVIRONMENT, "list-vars", (), [("A", "1")], {"A": "1"}),
    ],
)
def test_a_function_is_one_of_the_host(load, call, interface, function, args, answer, value):
    actor = load(EVALUATE, {(interface, function): lambda *_: answer})
    assert actor.ask(call) == value
    assert actor.host.calls == [(interface, function, args)]


@pytest.mark.parametrize("call", ["files.read('a')", "process.spawn('a')", "theater.sleep(1)", "random.number()"])
def test_what_is_refused_is_a_call_that_failed(load, call):
    answer = load(EVALUATE).request(call)
    assert isinstance(answer, Err)
    assert answer.value.endswith("is not granted")


def test_a_command_that_ran_leaves_its_status_and_words(load):
    ran = Case("success", {"stdout": "out", "stderr": "err", "exit-code": 3})
    actor = load(EVALUATE, {(FILES, "execute-command"): lambda *_: ran, (FILES, "execute-nix-command"): lambda *_: ran})
    assert actor.ask("str(files.run('ls', '-l', folder='x'))") == "Ran(status=3, stdout='out', stderr='err')"
    assert actor.ask("files.run_nix('make', 'x').ok") is False
    assert [args for _, _, args in actor.host.calls] == [("x", "ls", ["-l"]), ("x", "make")]


def test_a_command_that_did_not_run_is_a_call_that_failed(load):
    actor = load(EVALUATE, {(FILES, "execute-command"): lambda *_: Case("error", {"message": "it took too long"})})
    assert actor.request("files.run('ls')") == Err("it took too long")


def test_a_program_is_started_with_its_modes_and_limits(load):
    actor = load(EVALUATE, {(PROCESS, "os-spawn"): lambda _: 5})
    assert actor.ask("process.spawn('sort', '-n', cwd='x', env={'A': '1'}, stdout='chunks', chunk=9, timeout=0.2)") == 5
    ((_, _, (config,)),) = actor.host.calls
    assert config == {
        "program": "sort",
        "args": ["-n"],
        "cwd": "x",
        "env": [("A", "1")],
        "buffer-size": 65536,
        "stdout-mode": Case("chunked"),
        "stderr-mode": Case("line-by-line"),
        "chunk-size": 9,
        "execution-timeout": 1,
    }


def test_a_programs_status_is_in_seconds(load):
    found = {"pid": 5, "running": False, "exit-code": 0, "start-time": 2500}
    actor = load(EVALUATE, {(PROCESS, "os-status"): lambda _: found})
    assert actor.ask("str(process.status(5))") == "Status(process=5, running=False, status=0, started=2.5)"


def test_what_programs_say_arrives_at_the_handlers(load):
    actor = load(EVALUATE)
    actor.program("handle-stdout", 5, b"a")
    actor.program("handle-stderr", 5, b"b")
    actor.program("handle-exit", 5, -9)
    assert json.loads(actor.state) == [["out", 5, "a"], ["err", 5, "b"], ["exit", 5, -9]]
