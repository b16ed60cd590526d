"""A manifest that is written as text reads back as itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.manifest import canonical, from_canonical, parse
from theater.core.manifest_text import write

FULL = (
    """
name = "a"
version = "1.2"
description = 'says "hello", and \\ more'
init_state_inline = """
    + "'''\nfirst\nsecond \"\"\" \\ third\n'''"
    + """
[build]
language = "c"
source = "a.c"
flags = ["-O2", "-DX=1"]
[[handler]]
type = "supervisor"
manifests = ["a/*.toml"]
[[handler]]
type = "environment"
variables = ["""
    + ", ".join(f'"VARIABLE_{number}"' for number in range(200)).replace(", ", ",\n")
    + """]
[[grant]]
type = "random"
seed = 7
[actor]
register = true
[supervision]
restart = "transient"
shutdown = "infinity"
start_timeout = "infinity"
backoff = { initial = "1s" }
[supervision.children]
strategy = "rest_for_one"
backoff = {}
max_children = 3
[limits]
call_timeout = "infinity"
memory = "128MiB"
fuel = 1000000
[chain]
snapshot = "off"
state_root = "call"
retention = { entries = 100 }
[secrets]
api-key = { env = "KEY" }
"a.b" = { file = "/run/x" }
"""
)


def test_everything_that_a_manifest_can_say_reads_back() -> None:
    manifest = parse(FULL, "full")
    assert parse(write(manifest), "written") == manifest


def test_what_is_default_is_not_written() -> None:
    assert write(parse('name = "a"\ncomponent = "a.wasm"\n', "m")) == 'name = "a"\ncomponent = "a.wasm"\n'


EXAMPLES = Path(__file__).parents[2] / "examples"
OTHERS = {EXAMPLES / "handler", EXAMPLES / "handler" / "actor"}
"""A package, and an actor that can only be read where that is installed."""


@pytest.mark.parametrize(
    "path",
    sorted(path for path in EXAMPLES.rglob("*.toml") if path.parent not in OTHERS and path.stem != "theater"),
    ids=str,
)
def test_the_manifests_of_the_examples_read_back(path: Path) -> None:
    manifest = parse(path.read_text(), str(path))
    assert parse(write(manifest), "written") == manifest


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200))
def test_any_text_reads_back(text: str) -> None:
    plain = canonical(parse('name = "a"\ncomponent = "a.wasm"\n', "m"))
    manifest = from_canonical({**plain, "init_state_inline": text})
    assert parse(write(manifest), "written").init_state_inline == text
