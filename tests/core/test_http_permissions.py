"""What a manifest may grant with `http-framework`, and what a child may have of it."""

from __future__ import annotations

import pytest

from theater.core.handlers import permissions_of
from theater.core.permissions import Asked
from theater.core.permissions.http_framework import HttpFramework, listen
from theater.core.values import Err, Ok
from theater.errors import InvalidInput, ManifestError

CONFIG = {"port": None, "host": None, "tls-config": None}


def granted(**keys: object) -> HttpFramework:
    found = permissions_of("http-framework", keys)
    assert isinstance(found, HttpFramework)
    return found


def test_nothing_is_granted_by_default() -> None:
    assert not granted().may_listen("127.0.0.1", 8080)
    assert list(granted().ports("127.0.0.1")) == []


def test_addresses_are_granted_with_ports() -> None:
    some = granted(listen=["localhost:8080-8082", "[::1]:*"])
    assert [some.may_listen("127.0.0.1", port) for port in (8079, 8080, 8082, 8083)] == [False, True, True, False]
    assert some.may_listen("::1", 1)
    assert not some.may_listen("0.0.0.0", 8080)
    assert list(some.ports("127.0.0.1")) == [8080, 8081, 8082]
    assert list(some.ports("::1")) == [0]
    assert granted(listen=["*:80"]).may_listen("10.0.0.1", 80)


@pytest.mark.parametrize(
    "text",
    ["", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:9-8", "::1:80", "a.org:80"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        listen(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hosts", ["a.org:80"]),
        ("hosts", ["http://a.org"]),
        ("prefixes", ["a"]),
        ("prefixes", ["/{a}"]),
        ("listn", ["*:80"]),
    ],
)
def test_what_means_nothing_is_refused(key: str, value: list[str]) -> None:
    with pytest.raises(ManifestError):
        granted(**{key: value})


def test_a_child_has_no_more_than_its_parent() -> None:
    parent = granted(listen=["127.0.0.1:8000-8099"], hosts=["a.org"], prefixes=["/api"], max_body=1000, connections=10)
    child = {
        "listen": ["127.0.0.1:8001"],
        "hosts": ["a.org"],
        "prefixes": ["/api/v1"],
        "max_body": 10,
        "connections": 1,
    }
    assert granted(**child).excess(parent) is None
    for key, value in {
        "listen": ["127.0.0.1:*"],
        "hosts": [],
        "prefixes": ["/"],
        "max_body": 1001,
        "connections": 11,
        "certificates": ["certs"],
    }.items():
        assert granted(**{**child, key: value}).excess(parent), key


def test_what_was_used_is_where_servers_were_made() -> None:
    made = [
        Asked("i", "create-server", (CONFIG,), Ok(1)),
        Asked("i", "create-server", ({**CONFIG, "port": 80, "host": "::1"},), Ok(2)),
        Asked("i", "create-server", ({**CONFIG, "port": 1},), Err("no")),
        Asked("i", "start-server", (1,), Ok(8080)),
    ]
    assert granted(listen=["*:*"], certificates=["certs"]).used(made) == granted(listen=["127.0.0.1:*", "[::1]:80"])
