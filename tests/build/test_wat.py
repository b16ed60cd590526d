from __future__ import annotations

from pathlib import Path

import pytest
from built import running

from theater.build import build
from theater.core.manifest import parse
from theater.errors import BuildFailed, ComponentError

MANIFEST = """\
name = "tiny"
{component}
[build]
language = "wat"
source = "actor.wat"
[[handler]]
type = "message-server"
"""

COMPONENT = """\
(component
  (import "theater:simple/runtime" (instance $runtime (export "log" (func (param "msg" string)))))
  (core module $m
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
    (func (export "init") (param i32 i32 i32 i32 i32) (result i32) i32.const 0))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (func $init
    (param "state" (option (list u8))) (param "params" (tuple string))
    (result (result (tuple (option (list u8))) (error string)))
    (canon lift (core func $i "init") (memory $memory) (realloc $realloc)))
  (instance $actor (export "init" (func $init)))
  (export "theater:simple/actor" (instance $actor)))
"""

MODULE = """\
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "theater:simple/actor#init") (param i32 i32 i32 i32 i32) (result i32) i32.const 0))
"""


def project(folder: Path, source: str | bytes, component: str = "") -> Path:
    content = source if isinstance(source, bytes) else source.encode()
    (folder / "actor.wat").write_bytes(content)
    return build(folder, parse(MANIFEST.format(component=component), "manifest.toml"))


@pytest.mark.parametrize("source", [COMPONENT, MODULE])
def test_a_component_and_a_module_are_both_built_into_a_component(tmp_path: Path, source: str) -> None:
    made = project(tmp_path, source)
    assert made == tmp_path / "build" / "tiny.wasm"
    with running(made, tmp_path / "cache") as actor:
        actor.init(b"what it was")
        assert actor.state is None, "the answer is all zeros: ok, and no state"


def test_the_manifest_says_where_the_component_goes(tmp_path: Path) -> None:
    assert project(tmp_path, MODULE, 'component = "here/it.wasm"') == tmp_path / "here" / "it.wasm"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["it.wasm"]


def test_one_source_gives_one_component(tmp_path: Path) -> None:
    first = project(tmp_path, MODULE).read_bytes()
    assert project(tmp_path, MODULE).read_bytes() == first


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (COMPONENT.replace("i32 i32)", "i32 i33)", 1), "actor.wat:5:49: unexpected token, expected one of: `i32`"),
        (COMPONENT.replace("$memory)", "$mem)", 1), "actor.wat:13:47: unknown core memory"),
        (COMPONENT[:-3], "actor.wat:15:51: expected `)`"),
        ("garbage", "actor.wat:1:1: expected `(`\n    garbage\n    ^"),
        ("", "actor.wat:1:1: expected"),
        (COMPONENT.replace("i32.const 0", "i64.const 0"), "the component is not valid: "),
        (MODULE.replace("i32.const 0", "i64.const 0"), "the module is not valid: "),
        (
            MODULE.replace("(param i32 i32 i32 i32 i32)", "(param i32)"),
            "the module exports theater:simple/actor#init as",
        ),
        (b"(component \xff)", "actor.wat: byte 11 is not UTF-8"),
    ],
)
def test_what_cannot_be_assembled_is_refused_where_it_is_wrong(
    tmp_path: Path, source: str | bytes, expected: str
) -> None:
    with pytest.raises(BuildFailed) as caught:
        project(tmp_path, source)
    assert caught.value.message.startswith(expected)
    assert not (tmp_path / "build").exists()


def test_the_line_is_shown_with_a_mark_under_the_place(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        project(tmp_path, "(component\n    (core modul))\n")
    _, line, mark = caught.value.message.split("\n")
    assert line == "    (core modul))"
    assert line[mark.index("^") :] == "core modul))"


def test_what_the_manifest_does_not_grant_is_named_with_the_line_it_lacks(tmp_path: Path) -> None:
    source = COMPONENT.replace("theater:simple/runtime", "theater:simple/store")
    with pytest.raises(ComponentError, match=r'imports theater:simple/store, .* \[\[handler\]\] with type = "store"'):
        project(tmp_path, source)


def test_a_component_without_init_is_no_actor(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"does not export theater:simple/actor with the function init"):
        project(tmp_path, "(component)")


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    manifest = parse(MANIFEST.format(component=""), "manifest.toml")
    with pytest.raises(BuildFailed, match=r"cannot read .*actor\.wat, which \[build\] source names: No such file"):
        build(tmp_path, manifest)


@pytest.mark.parametrize("language", ["rust", "javascript"])
def test_a_language_of_later_is_refused_with_those_of_now(tmp_path: Path, language: str) -> None:
    text = MANIFEST.format(component="").replace('"wat"', f'"{language}"')
    with pytest.raises(BuildFailed, match=f"does not build {language}; it builds python, wat and c"):
        build(tmp_path, parse(text, "manifest.toml"))


def test_what_has_nothing_to_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"has no \[build\] table"):
        build(tmp_path, parse('name = "a"\ncomponent = "a.wasm"\n', "manifest.toml"))
    with pytest.raises(BuildFailed, match="so there is nothing to build"):
        project(tmp_path, MODULE, f'component = "store:{"0" * 64}"')
