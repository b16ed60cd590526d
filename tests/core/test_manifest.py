from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.child_spec import AutoShutdown, Restart, ShutdownRule, Strategy
from theater.core.handlers import HANDLERS
from theater.core.manifest import (
    Backoff,
    Build,
    Durability,
    Language,
    MailPolicy,
    Manifest,
    Retention,
    SecretSource,
    Snapshot,
    StatePolicy,
    canonical,
    from_canonical,
    parse,
)
from theater.core.permissions.supervisor import Supervisor
from theater.core.quantities import MIB
from theater.errors import ManifestError

FULL = """\
name = "counter"
version = "0.1.0"
component = "counter.wasm"
init_state = "state.json"
[build]
language = "c"
source = "actor.c"
flags = ["-O3"]
[[handler]]
type = "message-server"
config = {}
[[handler]]
type = "store"
[actor]
register = true
[supervision]
restart = "transient"
shutdown = "brutal_kill"
significant = true
state = "fresh"
poison = 5
intensity = 0
period = 60
[supervision.children]
strategy = "rest_for_one"
intensity = 7
period = "1min"
auto_shutdown = "any_significant"
backoff = { initial = "200ms", max = "10s", jitter = 0.5 }
[limits]
memory = "32MiB"
call_timeout = "infinity"
request_timeout = 250
fuel = 1_000_000_000
mailbox = 10
state = "1MiB"
message = 4096
record = "2MiB"
log = 0
[chain]
durability = "host"
"""
LEAST = 'name = "a"\ncomponent = "a.wasm"\n'


def problem(text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        parse(text, "manifest.toml")
    return caught.value.message


def test_every_key_lands_in_its_field() -> None:
    manifest = parse(FULL, "manifest.toml")
    assert (manifest.name, manifest.version, manifest.component) == ("counter", "0.1.0", "counter.wasm")
    assert (manifest.init_state, manifest.init_state_inline) == ("state.json", None)
    assert manifest.build == Build(Language.C, "actor.c", ("-O3",))
    assert manifest.handler_types == {"message-server", "store"}
    assert manifest.actor.register
    own = manifest.supervision
    assert (own.restart, own.shutdown, own.significant) == (Restart.TRANSIENT, ShutdownRule.BRUTAL_KILL, True)
    assert (own.state, own.poison, own.intensity, own.period) == (StatePolicy.FRESH, 5, 0, 60)
    children = own.children
    assert (children.strategy, children.intensity, children.period) == (Strategy.REST_FOR_ONE, 7, 60)
    assert children.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT
    assert children.backoff == Backoff(initial=200, max=10_000, jitter=0.5)
    limits = manifest.limits
    assert (limits.memory, limits.state, limits.message, limits.record) == (32 * MIB, MIB, 4096, 2 * MIB)
    assert (limits.call_timeout, limits.request_timeout, limits.fuel) == (None, 250, 1_000_000_000)
    assert (limits.mailbox, limits.log) == (10, 0)
    assert manifest.chain.durability is Durability.HOST


def test_what_is_left_out_has_its_default() -> None:
    manifest = parse(LEAST, "manifest.toml")
    assert manifest == Manifest(name="a", component="a.wasm")
    assert manifest.version == "0.0.0"
    assert manifest.handlers == ()
    own = manifest.supervision
    assert (own.restart, own.shutdown, own.state, own.poison) == (Restart.PERMANENT, 5000, StatePolicy.LAST, 2)
    assert (own.intensity, own.period, own.children) == (3, 5, None)
    assert (own.backoff, own.watchdog, own.start_timeout, own.mail) == (None, None, 60_000, MailPolicy.WAIT)
    limits = manifest.limits
    assert (limits.memory, limits.state, limits.message) == (64 * MIB, 8 * MIB, MIB)
    assert (limits.record, limits.log, limits.mailbox) == (16 * MIB, 8 * MIB, 1000)
    assert (limits.call_timeout, limits.request_timeout, limits.fuel) == (30_000, 5_000, None)


def test_the_names_of_the_reference_are_accepted() -> None:
    manifest = parse('name = "p"\ncomponent_path = "p.wasm"\n[[handlers]]\ntype = "supervisor"\nconfig = {}\n', "m")
    assert manifest.component == "p.wasm"
    assert manifest.handler_types == {"supervisor"}


@pytest.mark.parametrize("handler", sorted(HANDLERS))
def test_each_handler_of_this_version_is_accepted(handler: str) -> None:
    assert parse(f'{LEAST}[[handler]]\ntype = "{handler}"\n', "m").handler_types == {handler}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("memory =", "memroy =", r":31: \[limits\] memroy is not a key; allowed: memory, .*; did you mean memory\?$"),
        ('"32MiB"', '"32MX"', r':31: \[limits\] memory: "32MX" is not a size; allowed: a number of bytes'),
        ('"32MiB"', '"5GiB"', r':31: \[limits\] memory: found "5GiB"; allowed: 64KiB to 4GiB$'),
        ('"32MiB"', "-1", r":31: \[limits\] memory: -1 is not a size"),
        ('"32MiB"', "true", r":31: \[limits\] memory: true is not a size"),
        ("250", '"250 years"', r":33: \[limits\] request_timeout: \"250 years\" is not a duration"),
        ("250", "0", r":33: \[limits\] request_timeout: found 0; allowed: 1ms to 1d$"),
        ("250", '"infinity"', r":33: \[limits\] request_timeout: \"infinity\" is not a duration"),
        ("1_000_000_000", "0", r":34: \[limits\] fuel: found 0; allowed: a whole number from 1"),
        ("1_000_000_000", "1.5", r":34: \[limits\] fuel: found 1.5; allowed: a whole number"),
        ("mailbox = 10", "mailbox = 0", r":35: \[limits\] mailbox: found 0; allowed: a whole number from 1"),
        ('state = "1MiB"', 'state = "33MiB"', r":36: \[limits\] state: more than the actor's memory of 32MiB"),
        ("message = 4096", 'message = "65MiB"', r":37: \[limits\] message: found \"65MiB\"; allowed: 0B to 64MiB"),
        ("period = 60", "period = 0", r":23: \[supervision\] period: found 0; allowed: whole seconds from 1"),
        ('"1min"', '"1500ms"', r":27: \[supervision.children\] period: found \"1500ms\"; allowed: whole seconds"),
        (
            "intensity = 0",
            "intensity = -1",
            r":22: \[supervision\] intensity: found -1; allowed: a whole number from 0",
        ),
        (
            '"transient"',
            '"transiant"',
            r":17: .* found \"transiant\"; allowed: permanent, .*; did you mean transient\?",
        ),
        ('"transient"', '"permanent"', r":19: \[supervision\] significant: a permanent actor is always restarted"),
        ('"brutal_kill"', '"kill"', r":18: \[supervision\] shutdown: found \"kill\"; allowed: .*\"brutal_kill\""),
        ("0.5", "1.5", r":29: \[supervision.children.backoff\] jitter: found 1.5; allowed: a number from 0 to 1"),
        ("0.5", "nan", r":29: \[supervision.children.backoff\] jitter: found nan; allowed"),
        ('"200ms"', '"1h"', r":29: \[supervision.children\] backoff: initial is longer than max"),
        ("jitter", "jiter", r":29: \[supervision.children.backoff\] jiter is not a key; .*; did you mean jitter\?"),
        ("register = true", "register = 1", r":15: \[actor\] register: found 1; allowed: true, false"),
        ("message-server", "mesage-server", r":10: \[\[handler\]\] type: found \"mesage-server\"; .*message-server\?"),
        ('type = "store"', 'typ = "store"', r":12: \[\[handler\]\] type is missing"),
        ('type = "store"', 'type = "message-server"', r":12: \[\[handler\]\] there are two handlers of type"),
        ("config = {}", "config = { a = 1 }", r":11: \[\[handler\]\] of type message-server: config is not a key"),
        ('"c"', '"cobol"', r":6: \[build\] language: found \"cobol\"; allowed: python, rust, javascript, c, wat"),
        ('"c"', '"wat"', r":8: \[build\] flags: found flags for wat; allowed: with language c alone"),
        ('["-O3"]', '"-O3"', r":8: \[build\] flags: found \"-O3\"; allowed: an array of texts"),
        ('source = "actor.c"', "", r":5: \[build\] source is missing"),
        ("init_state =", 'init_state_inline = "x"\ninit_state =', r":4: init_state_inline: init_state gives"),
        ("component =", 'component_path = "b"\ncomponent =', r":3: component_path and component are one key"),
        ('"counter.wasm"', '"store:abc"', r":3: component: found \"store:abc\"; allowed: a path, or store: and 64"),
        ('"counter.wasm"', '""', r":3: component: found \"\"; allowed: a path"),
        ('"counter.wasm"', '"a\\u001b[31m"', r":3: component: found \"a\\u001b\[31m\"; allowed: a path"),
        ('"counter"', '"two words"', r":1: name: found \"two words\"; allowed: letters, digits"),
        ('"counter"', '"../x"', r":1: name: found"),
        ("[limits]", "[limit]", r":30: limit is not a key; .*; did you mean limits\?"),
        ("[chain]", "chains = 3\n[chian]", r":40: \[limits\] chains is not a key"),
        ("[actor]", "actor = 3\n[x]", r":14: \[\[handler\]\] of type store: actor is not a key; allowed: type"),
        (
            'durability = "host"',
            "state_rot = 1",
            r":41: \[chain\] state_rot is not a key; allowed: durability.*mean state_root",
        ),
        ('durability = "host"', "state_root = true", r":41: \[chain\] state_root: found true; allowed: \"off\""),
        ('durability = "host"', "snapshot = 5", r":41: \[chain\] snapshot: found 5; allowed: a table"),
        ('durability = "host"', "snapshot = { entries = 9 }", r":41: \[chain.snapshot\] entries: found 9; allowed"),
        ('durability = "host"', 'retention = { age = "1s" }', r":41: \[chain.retention\] age: found \"1s\""),
        ("[[handler]]\ntype", "[handler]\ntype", r"not TOML|:9: handler: found a table"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_is_allowed(before: str, after: str, expected: str) -> None:
    assert before in FULL
    sentence = problem(FULL.replace(before, after, 1))
    assert re.search(expected, sentence), sentence
    assert sentence.startswith("manifest.toml:")
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "manifest.toml:1: name is missing"),
        ('name = "a"\n', "manifest.toml:1: component: missing; allowed: the component's path, or a [build] table"),
        ("name = 3\n", "manifest.toml:1: name: found 3;"),
        ("actor = 3\n", "manifest.toml:1: actor: found 3; allowed: a table"),
        ("handler = [3]\n", "manifest.toml:1: handler.0: found 3; allowed: a table"),
        ("\nname = \n", "manifest.toml:2: not TOML: invalid value"),
        ('name = "a"\nname = "b"\n', "manifest.toml:2: not TOML: cannot overwrite a value"),
        ('a = """\n[x]\n[[[[[[[[[[[[[[[[[[[[[[\n"""\nb = 1\n', "manifest.toml:1: a is not a key"),
        ('name = "a"\n# [limits]\nx = [ # ]\n 1,\n]\ny = 1\n', "manifest.toml:3: x is not a key"),
        ('component = """a"""\n\'nam e\' = 1\n', 'manifest.toml:2: "nam e" is not a key'),
        ('name = "a"\r\n[limits]\r\nfule = 1\r\n', "manifest.toml:3: [limits] fule is not a key"),
        ("limits.fule = 1\n", "manifest.toml:1: [limits] fule is not a key"),
        ("\udc80", "manifest.toml:1: the text is not UTF-8"),
        ("\n\0", "manifest.toml:2: the line holds a NUL character"),
        ("\n#" + "x" * 1024, "manifest.toml:2: the line has 1025 bytes; allowed: 1024"),
        ("#\n" * 40_000, "manifest.toml:1: the file has 80000 bytes; allowed: 65536"),
        ("é" * 40_000, "manifest.toml:1: the file has 80000 bytes; allowed: 65536"),
        ("\na = " + "[" * 200, "manifest.toml:2: nested too deep; allowed: 16 levels"),
        ("a = " + ("{a=" * 30), "manifest.toml:1: nested too deep"),
        (".".join("a" * 100) + " = 1", "manifest.toml:1: nested too deep"),
        ("[" + ".".join("a" * 100) + "]", "manifest.toml:1: nested too deep"),
    ],
)
def test_text_that_is_no_manifest_is_refused_where_it_stops_being_one(text: str, expected: str) -> None:
    assert problem(text).startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "a." * 100_000,
        "a = " + "[\n" * 32_000,
        "a = " + ("[" * 500 + "\n") * 100,
        "".join(f"a.b.c.d.e.f.g.h.k{number} = 1\n" for number in range(2800)),
        "".join(f"[[a.b{number % 7}.c]]\n" for number in range(4300)),
        "".join(f"[a.t{number}]\n[b.t{number}]\n" for number in range(3200)),
        '"""' * 20_000,
        '\\"' * 30_000,
        '"a"."b".' * 8_000,
    ],
)
def test_expensive_text_is_refused_or_read_in_no_time(text: str) -> None:
    begin = time.perf_counter()
    problem(text)
    assert time.perf_counter() - begin < 2, "seconds; 0.2 at most when nothing else runs"


def test_where_a_component_is_looked_for() -> None:
    built = 'name = "a"\n[build]\nsource = "x"\nlanguage = '
    assert parse(f'{built}"wat"', "m").component_paths == ("build/a.wasm",)
    assert parse(f'{built}"python"', "m").component_paths == ("build/a.program", "build/a.wasm")
    assert parse(LEAST, "m").component_paths == ("a.wasm",)


# ---- every text, every manifest

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
PATHS = st.from_regex(r"[a-z/.]{1,20}", fullmatch=True).filter(lambda path: not path.startswith("store:"))
TABLES: dict[str, Any] = {
    "actor": st.fixed_dictionaries({}, optional={"register": st.booleans()}),
    "chain": st.fixed_dictionaries(
        {},
        optional={
            "durability": st.sampled_from(["process", "host"]),
            "state_root": st.sampled_from(["off", "call", 7]),
            "snapshot": st.sampled_from(["off", {}, {"entries": 100}, {"bytes": "1MiB"}]),
            "retention": st.sampled_from([{}, {"entries": 100}, {"bytes": "1MiB", "age": "1h"}]),
        },
    ),
    "handler": st.lists(st.sampled_from(sorted(HANDLERS)), unique=True).map(
        lambda types: [{"type": name} for name in types]
    ),
    "supervision": st.fixed_dictionaries(
        {},
        optional={
            "restart": st.sampled_from(["permanent", "transient", "temporary"]),
            "shutdown": st.sampled_from(["brutal_kill", "infinity"]) | st.integers(0, 86_400_000),
            "state": st.sampled_from(["last", "fresh"]),
            "period": st.integers(1, 86_400),
            "children": st.fixed_dictionaries(
                {},
                optional={
                    "backoff": st.fixed_dictionaries(
                        {}, optional={"initial": st.integers(1, 30_000), "jitter": st.floats(0, 1)}
                    ),
                },
            ),
        },
    ),
    "limits": st.fixed_dictionaries(
        {},
        optional={
            "memory": st.integers(8 * MIB, 4096 * MIB),
            "call_timeout": st.just("infinity") | st.integers(1, 86_400_000),
            "fuel": st.integers(1, 2**63 - 1),
            "log": st.integers(0, 2**32),
        },
    ),
}
MANIFESTS = st.fixed_dictionaries({"name": NAMES, "component": PATHS}, optional=TABLES)


@given(MANIFESTS)
def test_the_plain_form_reads_back_as_the_same_manifest(plain: dict[str, Any]) -> None:
    manifest = from_canonical(plain)
    assert from_canonical(canonical(manifest)) == manifest
    assert canonical(from_canonical(canonical(manifest))) == canonical(manifest)


def test_the_plain_form_of_a_text_reads_back_as_its_manifest() -> None:
    manifest = parse(FULL, "m")
    assert from_canonical(canonical(manifest)) == manifest


PIECES = st.sampled_from(
    [
        *FULL.splitlines(keepends=True),
        *("[", "]", "[[", "]]", "{", "}", '"', '"""', "'", "'''", "#", "=", ".", ",", "\\", "\n"),
        *("a", "1", "-", "e9", "true", "inf", "12:00", "1979-05-27", "0x", "\r", "\t", "\0", "é", "\ud800", "\x1b"),
    ]
)


def only_manifest_errors(text: str) -> None:
    with suppress(ManifestError):
        parse(text, "m")


@given(st.lists(PIECES, max_size=40).map("".join))
def test_no_text_of_pieces_of_toml_raises_anything_else(text: str) -> None:
    only_manifest_errors(text)


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    only_manifest_errors(text)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
SECTIONS = ["name", "component", "build", "handler", "handlers", "actor", "supervision", "limits", "chain", "version"]


@given(st.dictionaries(st.sampled_from(SECTIONS), VALUES, max_size=4))
def test_no_plain_value_raises_anything_else(plain: dict[str, Any]) -> None:
    with suppress(ManifestError):
        from_canonical(plain, "m")


def test_a_chain_without_keys_has_snapshots_and_neither_roots_nor_bounds() -> None:
    chain = parse(LEAST, "m").chain
    assert (chain.state_root, chain.snapshot, chain.retention) == (0, Snapshot(50_000, 64 * MIB), None)


@pytest.mark.parametrize(("written", "calls"), [('"off"', 0), ('"call"', 1), ("1", 1), ("250", 250)])
def test_a_state_root_is_asked_for_by_calls(written: str, calls: int) -> None:
    assert parse(f"{LEAST}[chain]\nstate_root = {written}\n", "m").chain.state_root == calls


def test_snapshots_can_be_switched_off_and_half_given() -> None:
    assert parse(f'{LEAST}[chain]\nsnapshot = "off"\n', "m").chain.snapshot is None
    assert parse(f"{LEAST}[chain]\nsnapshot = {{ entries = 10 }}\n", "m").chain.snapshot == Snapshot(10, 64 * MIB)


def test_a_retention_bounds_what_it_names() -> None:
    text = f'{LEAST}[chain]\nretention = {{ entries = 1000, age = "1h" }}\n'
    assert parse(text, "m").chain.retention == Retention(entries=1000, bytes=None, age=3_600_000)


def test_a_secret_says_where_its_value_is_and_never_what() -> None:
    found = parse(f'{LEAST}[secrets]\nb = {{ env = "B" }}\na-1 = {{ file = "/run/a" }}\n', "m")
    assert found.secrets == (SecretSource("a-1", file="/run/a"), SecretSource("b", env="B"))
    assert canonical(found)["secrets"] == {"a-1": {"file": "/run/a"}, "b": {"env": "B"}}
    assert from_canonical(canonical(found)) == found
    assert canonical(parse(LEAST, "m"))["secrets"] == {}


@pytest.mark.parametrize(
    "row",
    [
        'a = "hunter22"',
        'a = { value = "hunter22" }',
        'a = { env = "A", file = "a" }',
        "a = {}",
        'a = { env = "not a name" }',
        'a = { file = "" }',
        '"a/b" = { env = "A" }',
    ],
)
def test_what_is_no_secret_is_refused_and_a_value_is_not_repeated(row: str) -> None:
    sentence = problem(f"{LEAST}[secrets]\n{row}\n")
    assert "allowed: " in sentence
    assert "hunter22" not in sentence


def test_patterns_of_manifests_are_texts() -> None:
    text = LEAST + '[[handler]]\ntype = "supervisor"\nmanifests = {}\n'
    (handler,) = parse(text.format('["worker/*.toml"]'), "m").handlers
    assert handler.permissions == Supervisor(("worker/*.toml",))
    for wrong in ('"worker"', "[1]", "{}"):
        with pytest.raises(ManifestError, match="manifests"):
            parse(text.format(wrong), "m")
