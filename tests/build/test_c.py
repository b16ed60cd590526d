from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from built import (
    HOST,
    IDENTITY,
    LINKS,
    MONITORS,
    OF_CHILDREN,
    OF_ENDS,
    REGISTRY,
    REQUESTS,
    RUNTIME,
    SECRETS,
    STORE,
    SUPERVISOR,
    TIMERS,
    Actor,
    running,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theater.build import build
from theater.build.c import find_compiler
from theater.core.manifest import parse
from theater.core.values import Err, Ok
from theater.errors import BuildFailed, ComponentError
from theater.wasm.traps import Trap, TrapKind

pytest.importorskip("ziglang", reason="building C needs the package ziglang")

HANDLERS = ("message-server", "registry", "timers", "store", "supervisor", "monitors", "secrets")
MANIFEST = 'name = "probe"\n[build]\nlanguage = "c"\nsource = "{source}"\n{flags}\n'


def project(
    folder: Path, source: str = "actor.c", handlers: tuple[str, ...] = HANDLERS, flags: str = "", **files: str
) -> Path:
    """Builds a project of these files (`actor=...` is actor.c) and returns what was written."""
    for name, text in files.items():
        (folder / f"{name}.c").write_text(text)
    rows = "".join(f'[[handler]]\ntype = "{handler}"\n' for handler in handlers)
    return build(folder, parse(MANIFEST.format(source=source, flags=flags) + rows, "manifest.toml"))


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The component of probe.c; the first build on a machine builds the C library too, which takes half a minute."""
    folder = tmp_path_factory.mktemp("probe")
    return project(folder, actor=(Path(__file__).parent / "probe.c").read_text())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def actor(probe: Path, cache: Path) -> Iterator[Actor]:
    with running(probe, cache) as found:
        found.init()
        yield found


def test_the_result_lies_in_the_folder_build_under_the_name_of_the_actor(probe: Path) -> None:
    assert probe.name == "probe.wasm"
    assert probe.parent.name == "build"
    assert sorted(path.name for path in probe.parent.iterdir()) == ["probe.wasm"]
    assert sorted(path.name for path in probe.parents[1].iterdir()) == ["actor.c", "build"]


# ---- values, in both directions


def test_state_and_replies_cross_in_every_form(actor: Actor) -> None:
    assert actor.state is None
    assert actor.request(b"id") == b"request-1"
    assert actor.request(b"echo " + bytes(range(256))) == bytes(range(256))
    assert actor.request(b"later state") is None
    assert actor.state == b"state"
    assert actor.request(b"fail a sentence") == Err("a sentence")
    assert actor.state == b"state", "an err leaves the state as it was"
    assert actor.request(b"echo ") == b""


def test_a_handler_that_is_left_out_answers_with_an_error(actor: Actor) -> None:
    assert actor.send(b"x") == Err("this actor handles no messages but requests")


def test_an_init_that_is_left_out_keeps_the_state(actor: Actor) -> None:
    actor.init(b"given")
    assert actor.state == b"given"


OF_A_STORE = [
    (b"secret key", (SECRETS, "get", "key"), Ok(b"\xffvalue"), b"ok \xffvalue"),
    (b"secret key", (SECRETS, "get", "key"), Err("no such secret"), b"error no such secret"),
    (b"store-new", (STORE, "new"), Ok("s1"), b"ok s1"),
    (b"store-put s1 some content", (STORE, "store", "s1", b"some content"), Ok({"hash": "h1"}), b"ok h1"),
    (b"store-get s1 h1", (STORE, "get", "s1", {"hash": "h1"}), Ok(b"content"), b"ok content"),
    (b"store-get s1 h1", (STORE, "get", "s1", {"hash": "h1"}), Err("no such content"), b"error no such content"),
    (b"store-exists s1 h1", (STORE, "exists", "s1", {"hash": "h1"}), Ok(True), b"ok 1"),
    (b"store-exists s1 h1", (STORE, "exists", "s1", {"hash": "h1"}), Ok(False), b"ok 0"),
    (b"store-exists s1 h1", (STORE, "exists", "s1", {"hash": "h1"}), Err("why"), b"error why"),
    (b"store-label s1 l h1", (STORE, "label", "s1", "l", {"hash": "h1"}), Ok(), b"ok "),
    (b"store-get-by-label s1 l", (STORE, "get-by-label", "s1", "l"), Ok({"hash": "h1"}), b"some h1"),
    (b"store-get-by-label s1 l", (STORE, "get-by-label", "s1", "l"), Ok(None), b"none"),
    (b"store-get-by-label s1 l", (STORE, "get-by-label", "s1", "l"), Err("why"), b"error why"),
    (b"store-remove-label s1 l", (STORE, "remove-label", "s1", "l"), Ok(), b"ok "),
    (b"store-remove-from-label s1 l h1", (STORE, "remove-from-label", "s1", "l", {"hash": "h1"}), Ok(), b"ok "),
    (b"store-put-at-label s1 l x y", (STORE, "store-at-label", "s1", "l", b"x y"), Ok({"hash": "h2"}), b"ok h2"),
    (
        b"store-replace-content-at-label s1 l x",
        (STORE, "replace-content-at-label", "s1", "l", b"x"),
        Ok({"hash": "h3"}),
        b"ok h3",
    ),
    (b"store-replace-at-label s1 l h1", (STORE, "replace-at-label", "s1", "l", {"hash": "h1"}), Ok(), b"ok "),
    (b"store-labels s1", (STORE, "list-labels", "s1"), Ok(["a", "bc"]), b"2: a bc"),
    (b"store-labels s1", (STORE, "list-labels", "s1"), Ok([]), b"0:"),
    (b"store-labels s1", (STORE, "list-labels", "s1"), Err("why"), b"error why"),
    (b"store-contents s1", (STORE, "list-all-content", "s1"), Ok([{"hash": "h1"}, {"hash": "h2"}]), b"2: h1 h2"),
    (b"store-size s1", (STORE, "calculate-total-size", "s1"), Ok(2**63), b"ok 9223372036854775808"),
    (b"store-size s1", (STORE, "calculate-total-size", "s1"), Err("why"), b"error why"),
]
EVENT = {"hash": b"h1", "parent-hash": None, "event-type": "genesis", "data": b"a", "timestamp": 2**41}
EVENTS = [{**EVENT, "description": None}, {**EVENT, "hash": b"h2", "parent-hash": b"h1", "description": "why"}]
OF_CHILDREN_AND_OTHERS = [
    (b"spawn m.toml", (SUPERVISOR, "spawn", "m.toml", None), Ok("child"), b"ok child"),
    (b"spawn m.toml a b", (SUPERVISOR, "spawn", "m.toml", b"a b"), Err("no m.toml"), b"error no m.toml"),
    (b"resume m.toml state", (SUPERVISOR, "resume", "m.toml", b"state"), Ok("child"), b"ok child"),
    (b"children", (SUPERVISOR, "list-children"), ["a", "bc"], b"2: a bc"),
    (b"stop-child a", (SUPERVISOR, "stop-child", "a"), Ok(), b"ok "),
    (b"restart-child a", (SUPERVISOR, "restart-child", "a"), Err("why"), b"error why"),
    (b"child-state a", (SUPERVISOR, "get-child-state", "a"), Ok(b"state"), b"some state"),
    (b"child-state a", (SUPERVISOR, "get-child-state", "a"), Ok(None), b"none"),
    (b"child-state a", (SUPERVISOR, "get-child-state", "a"), Err("why"), b"error why"),
    (
        b"child-events a",
        (SUPERVISOR, "get-child-events", "a"),
        Ok(EVENTS),
        b"2: h1 none genesis a 2199023255552 none h2 some h1 genesis a 2199023255552 some why",
    ),
    (b"child-events a", (SUPERVISOR, "get-child-events", "a"), Ok([]), b"0:"),
    (b"child-events a", (SUPERVISOR, "get-child-events", "a"), Err("why"), b"error why"),
    (b"monitor bob", (MONITORS, "monitor", "bob"), Ok(2**50), b"ok 1125899906842624"),
    (b"monitor bob", (MONITORS, "monitor", "bob"), Err("why"), b"error why"),
    (b"demonitor 7", (MONITORS, "demonitor", 7), True, b"yes"),
    (b"demonitor 7", (MONITORS, "demonitor", 7), False, b"no"),
    (b"link bob", (LINKS, "link", "bob"), Ok(), b"ok "),
    (b"unlink bob", (LINKS, "unlink", "bob"), Err("why"), b"error why"),
    (b"trap-exits yes", (LINKS, "trap-exits", True), None, b"yes"),
    (b"trap-exits no", (LINKS, "trap-exits", False), None, b"no"),
]
ME = {"id": "i", "name": "n", "parent": "p", "incarnation": 2**40}
OF_ALL = [
    (b"shutdown", (RUNTIME, "shutdown", None), Ok(), b"ok "),
    (b"shutdown last words", (RUNTIME, "shutdown", b"last words"), Err("why"), b"error why"),
    (b"self", (IDENTITY, "self"), ME, b"i n some p 1099511627776"),
    (b"self", (IDENTITY, "self"), {**ME, "parent": None}, b"i n none 1099511627776"),
    (b"sender", (IDENTITY, "sender"), "someone", b"some someone"),
    (b"sender", (IDENTITY, "sender"), None, b"none"),
    (b"deadline", (IDENTITY, "deadline"), 2**41, b"some 2199023255552"),
    (b"deadline", (IDENTITY, "deadline"), None, b"none"),
    (b"send bob good morning", (HOST, "send", "bob", b"good morning"), Ok(), b"ok "),
    (b"send bob x", (HOST, "send", "bob", b"x"), Err("no actor bob"), b"error no actor bob"),
    (b"request bob a b", (HOST, "request", "bob", b"a b"), Ok(b"reply"), b"ok reply"),
    (b"request bob a", (HOST, "request", "bob", b"a"), Err("timeout"), b"error timeout"),
    (b"request-timeout bob a 70", (REQUESTS, "request-timeout", "bob", b"a", 70), Ok(b"reply"), b"ok reply"),
    (b"outstanding", (HOST, "list-outstanding-requests"), ["r1", "r22"], b"2: r1 r22"),
    (b"outstanding", (HOST, "list-outstanding-requests"), [], b"0:"),
    (b"respond r1 a b", (HOST, "respond-to-request", "r1", b"a b"), Ok(), b"ok "),
    (b"cancel-request r1", (HOST, "cancel-request", "r1"), Err("unknown"), b"error unknown"),
    (b"register me", (REGISTRY, "register", "me"), Err("taken"), b"error taken"),
    (b"unregister me", (REGISTRY, "unregister", "me"), Ok(), b"ok "),
    (b"whereis me", (REGISTRY, "whereis", "me"), "id", b"some id"),
    (b"whereis me", (REGISTRY, "whereis", "me"), None, b"none"),
    (b"send-after 1500 tick", (TIMERS, "send-after", 1500, b"tick"), Ok(2**50), b"ok 1125899906842624"),
    (b"send-interval 20 t", (TIMERS, "send-interval", 20, b"t"), Err("why"), b"error why"),
    (b"cancel-timer 7", (TIMERS, "cancel", 7), True, b"yes"),
    (b"cancel-timer 7", (TIMERS, "cancel", 7), False, b"no"),
]


def test_every_host_call_passes_its_arguments_and_returns_its_answer(actor: Actor) -> None:
    for words, call, answer, said in [*OF_ALL, *OF_A_STORE, *OF_CHILDREN_AND_OTHERS]:
        actor.host.calls.clear()
        actor.host.answers = {call[:2]: answer}
        assert actor.request(words) == said, words
        assert actor.host.calls == [call]


def test_news_of_ends_reaches_its_handler(actor: Actor) -> None:
    late = {"kind": "deadline", "detail": "too slow", "signal": None, "status": None, "commanded": False}
    gone = {"kind": "no-process", "detail": None, "signal": 9, "status": -3, "commanded": False}
    failed = {"error-type": "internal", "data": b'{"reason":"out_of_memory"}'}
    for function, params, state in (
        ("handle-child-error", ("a", failed), b"error a out_of_memory"),
        ("handle-child-error", ("a", {"error-type": "paused", "data": None}), b"error a nothing"),
        ("handle-child-exit", ("a", None), b"exit a none"),
        ("handle-child-exit", ("a", b"bye"), b"exit a some bye"),
        ("handle-child-external-stop", ("a",), b"stopped a"),
    ):
        assert actor.hear(OF_CHILDREN, function, *params) == Ok((state,))
    assert actor.hear(OF_ENDS, "handle-down", 2**40, "b", late) == Ok(
        (b"down 1099511627776 b deadline some too slow 0 0 0 0",)
    )
    assert actor.hear(OF_ENDS, "handle-exit", "b", gone) == Ok((b"end b no-process none 9 1 -3 0",))
    assert actor.hear(OF_ENDS, "handle-exit", "b", {**gone, "commanded": True}) == Err("as it was told")


def test_news_that_an_actor_has_no_handler_for_changes_nothing(tmp_path: Path, cache: Path) -> None:
    source = f'#include "theater.h"\n{HANDLE} {{ return theater_reply(state, body); }}'
    with running(project(tmp_path, actor=source), cache) as actor:
        actor.init(b"kept")
        killed = {"kind": "killed", "detail": None, "signal": 9, "status": None, "commanded": True}
        for function, params in (
            ("handle-child-error", ("a", {"error-type": "internal", "data": None})),
            ("handle-child-exit", ("a", None)),
            ("handle-child-external-stop", ("a",)),
        ):
            assert actor.hear(OF_CHILDREN, function, *params) == Ok((b"kept",))
        assert actor.hear(OF_ENDS, "handle-down", 1, "b", killed) == Ok((b"kept",))
        assert actor.hear(OF_ENDS, "handle-exit", "b", killed) == Ok((b"kept",))


def test_a_line_is_logged_as_it_is(actor: Actor) -> None:
    actor.request("log größer".encode())
    assert actor.host.log == ["größer"]


# ---- memory


def test_what_a_call_allocated_is_given_back_after_it(actor: Actor) -> None:
    actor.request(b"allocate 3000000")
    once = actor.memory()
    for _ in range(50):
        assert actor.request(b"allocate 3000000") == b"3000000"
        assert actor.request(b"echo " + b"x" * 100_000) == b"x" * 100_000
    assert actor.memory() <= once + (1 << 20)


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        (b"abort", TrapKind.UNREACHABLE),
        (b"assert", TrapKind.UNREACHABLE),
        (b"exit", TrapKind.UNREACHABLE),
        (b"allocate 100000000", TrapKind.UNREACHABLE),
        (b"deep", TrapKind.OUT_OF_BOUNDS),
    ],
)
def test_what_ends_a_program_is_a_trap(actor: Actor, verb: bytes, kind: TrapKind) -> None:
    with pytest.raises(Trap) as caught:
        actor.request(verb)
    assert caught.value.kind is kind


def test_a_failed_assert_says_where_in_the_log(actor: Actor) -> None:
    with pytest.raises(Trap):
        actor.request(b"assert")
    (line,) = actor.host.log
    assert line.startswith("actor.c:")
    assert "asked to fail" in line


# ---- JSON


def expected(text: str, key: str, kind: type) -> Any:
    """What the standard library finds, by the rules of theater.h; "no" for nothing."""

    def refuse(name: str) -> Any:
        raise ValueError(name)

    try:
        found = json.loads(text, parse_constant=refuse)
        json.dumps(found, ensure_ascii=False).encode()  # raises for half a surrogate pair
    except (ValueError, UnicodeEncodeError):
        return "no"
    value = found.get(key, "no") if isinstance(found, dict) else "no"
    if type(value) is not kind or (kind is int and not -(2**63) <= value < 2**63):
        return "no"
    return value


def found_by(actor: Actor, verb: str, key: str, text: str) -> Any:
    reply = actor.request(f"{verb} {key} {text}".encode())
    assert isinstance(reply, bytes)
    return "no" if reply == b"no" else json.loads(reply)


KINDS = {"json-int": int, "json-bool": bool, "json-string": str}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "add", "ad", "été", ""]), VALUES, max_size=4)
STYLES = st.sampled_from([{}, {"ensure_ascii": False}, {"indent": 2}, {"separators": (",", ":")}])
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@shared
@given(found=OBJECTS, style=STYLES, verb=st.sampled_from(sorted(KINDS)))
def test_it_finds_what_an_object_has(actor: Actor, found: dict[str, Any], style: Any, verb: str) -> None:
    text = json.dumps(found, **style)
    assert found_by(actor, verb, "add", text) == expected(text, "add", KINDS[verb])


PIECES = [
    '{"add":',
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"add"',
    '"',
    "1",
    "-",
    "0",
    ".5",
    "e",
    "E+2",
    "true",
    "false",
    "null",
]
PIECES += [
    "\\u00e9",
    "\\ud83d",
    "\\ude00",
    "\\n",
    "\\x",
    " ",
    "\t",
    "\n",
    "NaN",
    "9223372036854775807",
    "\x01",
    "'",
    "é",
]


@shared
@given(text=st.lists(st.sampled_from(PIECES), max_size=12).map("".join), verb=st.sampled_from(sorted(KINDS)))
def test_it_accepts_what_is_json_and_nothing_else(actor: Actor, text: str, verb: str) -> None:
    assert found_by(actor, verb, "add", text) == expected(text, "add", KINDS[verb])


@pytest.mark.parametrize(
    "text",
    [
        '{"add": 9223372036854775807}',
        '{"add": -9223372036854775808}',
        '{"add": 9223372036854775808}',
        '{"add": -9223372036854775809}',
        '{"add": 99999999999999999999999}',
        '{"add": 01}',
        '{"add": -0}',
        '{"add": 1} x',
        '{"add": 1, "add": 2}',
        '{"x": "\\ud83d\\ude00", "add": 3}',
        '{"x": "\\ud83d", "add": 3}',
        '{"add": 4',
        '{"add" 4}',
        "",
    ],
)
def test_numbers_at_the_edge_and_texts_at_the_end(actor: Actor, text: str) -> None:
    assert found_by(actor, "json-int", "add", text) == expected(text, "add", int)


def test_values_may_be_nested_up_to_32_deep(actor: Actor) -> None:
    def nested(depth: int) -> str:
        return '{"x": ' + "[" * (depth - 1) + "]" * (depth - 1) + ', "add": 1}'

    assert found_by(actor, "json-int", "add", nested(32)) == 1
    assert found_by(actor, "json-int", "add", nested(33)) == "no"
    assert found_by(actor, "json-int", "add", nested(50_000)) == "no"


# ---- what cannot be built


HANDLE = "theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body)"


def refused(folder: Path, actor: str, **options: Any) -> str:
    with pytest.raises(BuildFailed) as caught:
        project(folder, actor=actor, **options)
    assert not (folder / "build").exists()
    return caught.value.message


def test_the_compilers_own_words_are_the_error(tmp_path: Path) -> None:
    message = refused(tmp_path, f'#include "theater.h"\n{HANDLE} {{\n    return theater_replay(state, body);\n}}\n')
    assert message.startswith("the C compiler refused the source:\nactor.c:3:")
    assert "theater_replay" in message
    assert "\x1b" not in message


def test_a_function_that_is_nowhere_is_named(tmp_path: Path) -> None:
    source = (
        f'#include "theater.h"\nint nowhere(void);\n{HANDLE} {{ return theater_reply(state, nowhere() ? id : body); }}'
    )
    assert "undefined symbol: nowhere" in refused(tmp_path, source)


def test_what_needs_an_operating_system_is_named(tmp_path: Path) -> None:
    source = f'#include <stdio.h>\n#include "theater.h"\n{HANDLE} {{ puts("hello"); return theater_ok(state); }}'
    message = refused(tmp_path, source)
    assert message.startswith("the program uses fd_")
    assert message.endswith("use the functions of theater.h")


def test_a_missing_handler_is_known_when_it_is_built(tmp_path: Path) -> None:
    source = f'#include "theater.h"\n{HANDLE} {{ theater_store_new(); return theater_ok(state); }}'
    with pytest.raises(
        ComponentError, match=r'imports theater:simple/store.*add a \[\[handler\]\] with type = "store"'
    ):
        project(tmp_path, actor=source, handlers=("message-server",))


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"there is no file or folder .*/other\.c, which \[build\] source names"):
        project(tmp_path, source="other.c")
    with pytest.raises(BuildFailed, match=r"has no \.c file"):
        project(tmp_path, source=".")


def test_a_folder_is_compiled_as_a_whole_with_the_flags_of_the_manifest(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "said.h").write_text("const char *said(void);\n")
    (tmp_path / "src" / "said.c").write_text("const char *said(void) { return WORD; }\n")
    (tmp_path / "src" / "actor.c").write_text(
        f'#include "said.h"\n#include "theater.h"\n{HANDLE} {{ return theater_reply(state, theater_text(said())); }}\n'
    )
    made = project(tmp_path, source="src", flags="flags = ['-DWORD=\"yes\"']")
    with running(made, cache) as actor:
        assert actor.request(b"") == b"yes"


def test_without_a_compiler_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildFailed, match=r"pip install 'theater\[c\]'"):
        find_compiler(tmp_path)
