"""The permissions of `http-client`: in a manifest, of a child, and as far as they were used."""

from __future__ import annotations

from typing import Any

import pytest

from theater.core import schema
from theater.core.handlers import permissions_of
from theater.core.manifest import parse
from theater.core.permissions import Asked
from theater.core.permissions.http_client import HttpClient
from theater.core.values import Err, Ok
from theater.errors import ManifestError


def granted(**keys: Any) -> HttpClient:
    found = permissions_of("http-client", keys)
    assert isinstance(found, HttpClient)
    return found


def sent(method: str, uri: str, *hops: str, refused: bool = False) -> Asked:
    request = {"method": method, "uri": uri, "headers": [], "body": None}
    headers = [("theater-redirected", hop) for hop in hops]
    answer = Err("no") if refused else Ok({"status": 200, "headers": headers, "body": b""})
    return Asked("theater:simple/http-client", "send-http", (request,), answer)


def test_nothing_is_granted_by_default() -> None:
    assert (HttpClient().allow, HttpClient().private, HttpClient().credentials) == ((), (), ())


def test_permissions_are_what_their_plain_form_says() -> None:
    one = granted(allow=["GET http://a/*"], private=["10.0.0.0/8"], timeout="2s", credentials=["key"], redirects=0)
    assert permissions_of("http-client", schema.plain(one)) == one
    assert hash(one) == hash(permissions_of("http-client", schema.plain(one)))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('allow = ["https://a/*"]', "allowed: methods, a space and a URL"),
        ('allow = ["GET https://a"]', "allowed: a URL with a path"),
        ('allow = "GET https://a/*"', "allowed: an array"),
        ("allow = [1]", "allowed: a text"),
        ('private = ["localhost"]', "allowed: addresses and networks"),
        ('private = ["10.0.0.1/8"]', "has host bits set"),
        ("timeout = 0", "allowed: 1ms to 1h"),
        ('max_response = "1GiB"', "allowed: 0B to 64MiB"),
        ("redirects = 21", "allowed: a whole number from 0 to 20"),
        ('credentials = ["a b"]', "allowed: names of credentials"),
        ('alow = ["GET https://a/*"]', "did you mean allow?"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(line: str, why: str) -> None:
    text = f'name = "a"\ncomponent = "a.wasm"\n[[handler]]\ntype = "http-client"\n{line}\n'
    with pytest.raises(ManifestError) as refused:
        parse(text, "m")
    assert refused.value.message.startswith("m:5: ")
    assert why in refused.value.message


PARENT = {
    "allow": ["GET,POST https://a.example/v1/*", "GET https://*.b.example/*"],
    "private": ["10.0.0.0/8", "127.0.0.1:8080"],
    "credentials": ["one"],
    "timeout": "10s",
}


@pytest.mark.parametrize(
    ("child", "excess"),
    [
        (PARENT, None),
        ({"timeout": "1s"}, None),
        ({"allow": ["GET https://a.example/v1/x/*", "GET https://x.b.example/y"], "timeout": "10s"}, None),
        ({"allow": ["GET,PUT https://a.example/v1/*"], "timeout": 1}, "send the requests PUT https://a.example/v1/*"),
        ({"allow": ["* https://a.example/v1/*"], "timeout": 1}, "send the requests * https://a.example/v1/*"),
        ({"allow": ["GET https://a.example/*"], "timeout": 1}, "send the requests GET https://a.example/*"),
        ({"allow": ["GET https://b.example/"], "timeout": 1}, "send the requests GET https://b.example/"),
        ({"private": ["10.1.0.0/16", "127.0.0.1:8080"], "timeout": 1}, None),
        ({"private": ["127.0.0.1"], "timeout": 1}, "connect to the addresses 127.0.0.1"),
        ({"private": ["::1"], "timeout": 1}, "connect to the addresses ::1"),
        ({"credentials": ["two"], "timeout": 1}, "use the credentials two"),
        ({"timeout": "30s"}, "wait 30s for a response, and its parent 10s"),
        ({"timeout": 1, "max_response": "2MiB"}, "receive bodies of 2MiB, and its parent of 1MiB"),
        ({"timeout": 1, "max_request": "2MiB"}, "send bodies of 2MiB, and its parent of 1MiB"),
        ({"timeout": 1, "redirects": 6}, "follow 6 redirects, and its parent 5"),
    ],
)
def test_a_child_has_no_more_than_its_parent(child: dict[str, Any], excess: str | None) -> None:
    assert granted(**child).excess(granted(**PARENT)) == excess


def test_what_was_sent_was_used_and_where_redirects_led() -> None:
    wide = granted(
        allow=["* http://*:*/*"],
        private=["127.0.0.1:8080", "10.0.0.0/8", "127.0.0.2"],
        credentials=["key"],
        timeout="3s",
    )
    calls = [
        sent("get", "http://127.0.0.1:8080/v1/a?x=1"),
        sent("GET", "http://127.0.0.1:8080/v1/a?x=2", "GET http://127.0.0.1:8080/v1/*?y"),
        sent("PUT", "http://127.0.0.1:8080/no", refused=True),
    ]
    least = wide.used(calls)
    assert least.allow == ("GET http://127.0.0.1:8080/v1/%2A", "GET http://127.0.0.1:8080/v1/a")
    assert least.private == ("127.0.0.1:8080",)
    assert (least.credentials, least.timeout) == (("key",), 3000)
    assert least.excess(wide) is None
    assert least.used(calls) == least


def test_of_many_requests_the_patterns_that_were_used_stay() -> None:
    wide = granted(allow=["GET http://a/users/*", "GET http://b/*"], private=["10.0.0.0/8:80", "10.0.0.0/8:81"])
    least = wide.used([sent("GET", f"http://a/users/{number}") for number in range(9)])
    assert least.allow == ("GET http://a/users/*",)
    assert least.private == ("10.0.0.0/8:80",)  # What the name stood for is not known.


def test_a_call_that_is_not_all_in_the_record_counts_for_nothing() -> None:
    assert granted(allow=["GET http://a/*"]).used([Asked("i", "send-http", (object(),), None)]).allow == ()
