"""What holds for the permissions of every handler."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from theater.core import schema
from theater.core.confinement import excess
from theater.core.handlers import GRANTED_TO_ALL, HANDLERS, OWN_TYPES, permissions_of
from theater.core.manifest import Manifest, canonical, from_canonical, parse
from theater.core.permissions import Asked, Placed
from theater.core.values import Err
from theater.errors import ManifestError

WIDE: dict[str, str] = {
    "supervisor": 'manifests = ["a.toml"]',
    "http-client": 'allow = ["GET https://api.example.com/*"]\nprivate = ["10.0.0.0/8"]\ncredentials = ["github"]',
    "http-framework": 'listen = ["127.0.0.1:8080"]\ncertificates = ["certs/"]',
    "filesystem": 'read = ["data"]\nwrite = ["out"]\ncommands = ["git"]\nnix = true',
    "process": 'programs = ["cat"]\nenvironment = ["APP_*"]\ncwd = ["work"]',
    "store": 'read = ["shared"]\nwrite = ["shared"]',
    "random": "seed = 7",
    "environment": 'variables = ["HOME", "APP_*"]',
    "timers": 'catch_up = "all"',
}
TYPES = sorted(OWN_TYPES)


def actor(type_: str, keys: str = "") -> Manifest:
    more = "" if type_ == "supervisor" else '[[handler]]\ntype = "supervisor"\n'
    return parse(f'name = "a"\ncomponent = "a.wasm"\n[[handler]]\ntype = "{type_}"\n{keys}\n{more}', "m")


def granted(type_: str, keys: str = "") -> Any:
    return next(each.permissions for each in actor(type_, keys).handlers if each.type == type_)


def test_every_handler_with_permissions_is_tried_here() -> None:
    assert set(WIDE) == {name for name in OWN_TYPES if schema.keys(HANDLERS[name].permissions)}


@pytest.mark.parametrize("type_", TYPES)
def test_permissions_are_values_that_read_back_from_their_plain_form(type_: str) -> None:
    found = granted(type_, WIDE.get(type_, ""))
    assert dataclasses.is_dataclass(found)
    hash(found)
    assert permissions_of(type_, schema.plain(found)) == found
    manifest = actor(type_, WIDE.get(type_, ""))
    assert from_canonical(canonical(manifest)) == manifest


@pytest.mark.parametrize("type_", TYPES)
def test_a_typing_error_has_its_line(type_: str) -> None:
    with pytest.raises(ManifestError, match=rf"^m:5: \[\[handler\]\] of type {type_}: alow is not a key"):
        actor(type_, "alow = 1")


@pytest.mark.parametrize("type_", TYPES)
def test_a_child_may_have_the_same_and_nothing(type_: str) -> None:
    wide, bare = actor(type_, WIDE.get(type_, "")), actor(type_)
    assert excess(wide, "/a", wide, "/a") is None
    assert excess(bare, "/a", bare, "/a") is None
    if type_ != "supervisor":  # Without `manifests` it may use other manifests than with it.
        assert excess(bare, "/a", wide, "/a") is None


@pytest.mark.parametrize("type_", sorted(set(TYPES) - {"random", "timers"}))
def test_nothing_is_granted_by_default(type_: str) -> None:
    """What a table says more than its type is more than a child of a parent may have that does not say so."""
    if type_ in WIDE:
        assert excess(actor(type_, WIDE[type_]), "/a", actor(type_), "/a") is not None
    elif type_ not in GRANTED_TO_ALL:
        bare = parse('name = "a"\ncomponent = "a.wasm"\n[[handler]]\ntype = "supervisor"\n', "m")
        assert excess(actor(type_), "/a", bare, "/a") == f"have the handler {type_}"


@pytest.mark.parametrize("type_", TYPES)
def test_what_was_used_is_never_more_than_what_was_granted(type_: str) -> None:
    found = granted(type_, WIDE.get(type_, ""))
    odd = [
        Asked(interface, function, args, answer)
        for interface in HANDLERS[type_].imports
        for function in ("get-var", "send-http", "read-file", "os-spawn", "create-server", "spawn", "get", "x")
        for args in ((), ("x",), (None,), ({"a": b"b"},), (b"x", 7))
        for answer in (None, Err("no"))
    ]
    for calls in ([], [call for call in odd if call.refused], odd):
        used = found.used(calls)
        assert type(used) is type(found)
        place = (lambda each: each.placed("/a")) if isinstance(found, Placed) else (lambda each: each)
        assert place(used).excess(place(found)) is None
