"""Permissions for files and stores: what a manifest may say, what a child may have, what a record shows was needed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core import granted_paths
from theater.core.granted_paths import nearest, read
from theater.core.manifest import parse
from theater.core.permissions import Asked
from theater.core.permissions.filesystem import Filesystem
from theater.core.permissions.store import Store
from theater.core.values import Err, Ok
from theater.errors import InvalidInput, ManifestError


def manifest(kind: str, text: str) -> Any:
    """The permissions of a handler, from the text of its table."""
    return (
        parse(f'name = "a"\ncomponent = "a.wasm"\n[[handler]]\ntype = "{kind}"\n{text}\n', "m").handlers[0].permissions
    )


def asked(function: str, *args: Any, refused: bool = False) -> Asked:
    return Asked("theater:simple/filesystem", function, args, Err("no") if refused else Ok(None))


# ---- paths


@given(st.text(max_size=40))
def test_a_path_is_refused_or_has_one_way_to_be_written(text: str) -> None:
    try:
        path = read(text)
    except InvalidInput:
        return
    assert read(str(path)) == path
    assert not {"", ".", ".."} & set(path.names)
    assert not any("/" in name or "\0" in name for name in path.names)


@given(st.lists(st.sampled_from("abc"), max_size=4), st.lists(st.sampled_from("abc"), max_size=4))
def test_a_path_is_below_a_folder_if_it_begins_with_all_of_its_names(folder: list[str], rest: list[str]) -> None:
    outer, inner = "/".join(folder) or ".", "/".join(folder + rest) or "."
    assert read(inner).below(read(outer)) == tuple(rest)
    assert read(f"/{inner}").below(read(outer)) is None


def test_the_innermost_folder_is_the_one_that_counts() -> None:
    folders = ("a", "a/b", "/a/b/c", ".")
    assert nearest(read("a/b/c"), folders) == ("a/b", ("c",))
    assert nearest(read("a/bb"), folders) == ("a", ("bb",))
    assert nearest(read("x"), folders) == (".", ("x",))
    assert nearest(read("/a/b"), folders) is None
    assert granted_paths.DEEPEST == 128


# ---- manifests


def test_what_a_manifest_grants_has_one_form() -> None:
    found = manifest("filesystem", 'read = ["./data/", "data", "/srv//x"]\nquota = "2MiB"')
    assert (found.read, found.write, found.quota) == (("data", "/srv/x"), (), 2 << 20)
    assert manifest("filesystem", "") == Filesystem()
    assert manifest("store", "") == Store()


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("filesystem", 'read = ["../x"]', r"'\.\.'"),
        ("filesystem", 'read = ["a/../b"]', r"'\.\.'"),
        ("filesystem", 'write = [""]', "not empty|cannot be empty|is not empty"),
        ("filesystem", 'write = ["a\\u0000b"]', "NUL"),
        ("filesystem", 'root = ".."', r"'\.\.'"),
        ("filesystem", 'reads = ["a"]', "did you mean read"),
        ("filesystem", 'read = "data"', "an array of texts"),
        ("filesystem", 'max_file = "65MiB"', "allowed: 0B? to 64MiB|64MiB"),
        ("filesystem", 'commands = ["./make"]', "absolute path"),
        ("filesystem", 'commands = [""]', "absolute path"),
        ("store", 'read = ["Board"]', "small letters"),
        ("store", 'read = ["../x"]', "small letters"),
        ("store", 'share = ["x"]', "share is not a key"),
    ],
)
def test_what_cannot_be_granted_is_refused_with_its_line(kind: str, text: str, words: str) -> None:
    with pytest.raises(ManifestError, match=words) as refused:
        manifest(kind, text)
    assert "m:5" in refused.value.message


# ---- children


@pytest.mark.parametrize(
    ("child", "words"),
    [
        ({"read": ("data",)}, None),
        ({"read": ("data/in",), "write": ("out/x",)}, None),
        ({"read": ("out",)}, 'read in "out"'),
        ({"write": ("data",)}, 'write in "data"'),
        ({"read": (".",)}, 'read in "."'),
        ({"read": ("data2",)}, 'read in "data2"'),
        ({"read": ("/data",)}, 'read in "/data"'),
        ({"commands": ("git",)}, None),
        ({"commands": ("rm",)}, 'run "rm"'),
        ({"nix": True}, "Nix"),
        ({"quota": 2 << 30}, "quota = 2GiB, its parent 1GiB"),
        ({"files": 100_001}, "files = 100001"),
        ({"command_timeout": 31_000}, "command_timeout = 31s"),
    ],
)
def test_a_childs_files_are_among_its_parents(child: dict[str, Any], words: str | None) -> None:
    parent = Filesystem(read=("data",), write=("out",), commands=("git",))
    found = Filesystem(**child).excess(parent)
    assert found is None if words is None else words in (found or "")


def test_folders_of_two_manifests_are_compared_where_they_are() -> None:
    parent = Filesystem(read=("data",), root=".").placed("/srv/app")
    assert Filesystem(read=("data",)).placed("/srv/app").excess(parent) is None
    assert Filesystem(read=(".",)).placed("/srv/app/data/child").excess(parent) is None
    assert Filesystem(read=(".",), root="data/x").placed("/srv/app").excess(parent) is None
    assert 'read in "/srv/other/data"' in (Filesystem(read=("data",)).placed("/srv/other").excess(parent) or "")
    assert 'read in "/etc"' in (Filesystem(read=("/etc",)).placed("/srv/app").excess(parent) or "")


def test_a_childs_stores_are_among_its_parents() -> None:
    parent = Store(read=("a", "b"), write=("a",), quota=100)
    assert Store(read=("a",), quota=100).excess(parent) is None
    assert Store(write=("b",), quota=1).excess(parent) == 'write the store "b"'
    assert Store().excess(parent) == "have quota = 1GiB, its parent 100B"
    assert Store(quota=1, stores=1001).excess(parent) == "have stores = 1001, its parent 1000"


# ---- what was needed


def test_a_record_shows_which_folders_and_commands_were_needed() -> None:
    granted = Filesystem(read=("a", "b", "c"), write=("a", "b", "d", "e"), commands=("git", "ls"), nix=True, quota=5)
    calls = [
        asked("read-file", "a/x"),
        asked("list-files", "b", refused=True),
        asked("write-bytes", "b/x", b""),
        asked("rename", "d/x", "b/x"),
        asked("path-exists", "a/x"),
        asked("stat", "c/x"),
        asked("stat", "e/x"),
        asked("execute-command", "a", "ls", ["-l"]),
    ]
    assert granted.used(calls) == Filesystem(read=("a", "c"), write=("b", "d", "e"), commands=("ls",), quota=5)
    assert granted.used([]) == Filesystem(quota=5)


def test_a_record_shows_which_stores_were_needed() -> None:
    granted = Store(read=("a", "b"), write=("a", "b"), quota=5)
    calls = [asked("get", "a", {}), asked("store", "b", b""), asked("label", "a", "l", {}, refused=True)]
    assert granted.used(calls) == Store(read=("a",), write=("b",), quota=5)
