"""URLs in their one form, and the patterns of those that are granted."""

from __future__ import annotations

import contextlib
import posixpath
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.url_patterns import UrlPattern, uncovered
from theater.core.urls import LONGEST, Url, normal_path
from theater.errors import InvalidInput

# ---- URLs


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTP://Example.COM.:80/", "http://example.com/"),
        ("https://example.com:443/a#part", "https://example.com/a"),
        ("https://example.com:444?x", "https://example.com:444/?x"),
        ("http://[2001:DB8:0::1]:80/", "http://[2001:db8::1]/"),
        ("http://a/%7e%41%2f%20", "http://a/~A%2F%20"),
        ("http://a/b/./c/../d/%2e%2e/e", "http://a/b/e"),
        ("http://a/..", "http://a/"),
        ("http://a/b/.", "http://a/b/"),
        ("http://a//b//c", "http://a//b//c"),
        ("http://a/ä?ö", "http://a/%C3%A4?%C3%B6"),
        ('http://a/"<>?"<>', "http://a/%22%3C%3E?%22%3C%3E"),
        ("http://a/?q=50%&x=%2e%2E/../[]", "http://a/?q=50%25&x=%2e%2E/../[]"),
        ("http://a?/..", "http://a/?/.."),
        ("http://a/?#", "http://a/"),
        ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
        ("http://a_b.example/", "http://a_b.example/"),
    ],
)
def test_a_url_has_one_form(text: str, form: str) -> None:
    url = Url.parse(text)
    assert str(url) == form
    assert Url.parse(form) == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no URL"),
        ("example.com/", "is no URL"),
        ("ftp://a/", "is no URL"),
        ("file:///etc/passwd", "is no URL"),
        ("javascript://a/%0aalert(1)", "is no URL"),
        ("http:/a/", "is no URL"),
        ("http:a", "is no URL"),
        ("http:///a", "is no host"),
        ("http://:80/", "is no host"),
        ("http://a:b/", "is no host"),
        ("http://a:/", "is no host"),
        ("http://a:0/", "the port 0"),
        ("http://a:65536/", "the port 65536"),
        ("http://a:123456/", "is no host"),
        ("http://me@a/", "user or password"),
        ("http://me:pw@a/", "user or password"),
        ("http://a:80@b/", "user or password"),
        ("http://a\\@b/", "user or password"),
        ("http://a\\b/", "is no name"),
        ("http://a/\\b", "backslash"),
        ("http://a b/", "space or control"),
        ("http://a/b c", "space or control"),
        ("http://a/\nb", "space or control"),
        ("http://a/\r\nHost: b", "space or control"),
        ("http://a/\0", "space or control"),
        ("http://a/%00", "NUL"),
        ("http://a/%2500", "NUL"),
        ("http://bücher.example/", "xn--bcher-kva.example"),
        ("http://１２７.0.0.1/", "not ASCII"),
        ("http://a。b/", "not ASCII"),
        ("http://a..b/", "is no name"),
        ("http://-a/", "is no name"),
        ("http://a%2eb/", "is no name"),
        ("http://*.a/", "is no name"),
        ("http://127.1/", "is no address"),
        ("http://0x7f.1/", "is no address"),
        ("http://2130706433/", "is no address"),
        ("http://0177.0.0.1/", "is no address"),
        ("http://[::1%25lo]/", "is no address"),
        ("http://[::1", "is no host"),
        ("http://a/..%2fb", "dot segment"),
        ("http://a/..%5cb", "dot segment"),
        ("http://a/%252e%252e%252fb", "dot segment"),
        ("http://a/..;x/b", "dot segment"),
        ("http://a/%2e%2e;/b", "dot segment"),
        ("http://a/..%20/b", "dot segment"),
        ("http://a/%c0%ae%c0%ae/b", "overlong"),
        ("http://a/%e0%80%ae/b", "overlong"),
        ("http://a/%u002e/b", "begins no escape"),
        ("http://a/%25252525252e", "escaped more than"),
        ("http://a/" + "x" * LONGEST, f"allowed: {LONGEST}"),
        ("http://a/\ud800", "not Unicode"),
    ],
)
def test_what_may_mean_something_else_to_somebody_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Url.parse(text)
    assert why in refused.value.message
    assert "allowed" in refused.value.message or why == "not Unicode"


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("https://b/x", "https://b/x"),
        ("//b/x", "http://b/x"),
        ("/x?y", "http://a:8080/x?y"),
        ("x", "http://a:8080/1/x"),
        ("../x", "http://a:8080/x"),
        ("../../../x", "http://a:8080/x"),
        ("?y", "http://a:8080/1/2?y"),
        ("", "http://a:8080/1/2?q"),
        ("#part", "http://a:8080/1/2?q"),
    ],
)
def test_a_reference_leads_from_where_it_stands(reference: str, place: str) -> None:
    assert str(Url.parse("http://a:8080/1/2?q").join(reference)) == place


NASTY = st.lists(
    st.sampled_from(
        [
            "/",
            "//",
            "v1",
            "a",
            ".",
            "..",
            "%2e",
            "%2E%2e",
            "%2f",
            "%5c",
            "%252e",
            "%252f",
            "%25252e",
            ";",
            "%3b",
            "%20",
            "%09",
            "%c0%ae",
            "%c0%af",
            "%e0%80%af",
            "%00",
            "*",
            "%2a",
            "?",
            "%25",
            "é",
            "%ff",
            "~",
            "%7e",
            "admin",
        ]
    ),
    max_size=12,
).map("".join)


def readings(path: str) -> set[str]:
    """What servers may make of a path: they decode it once or more, take backslashes for slashes, drop what is behind
    a semicolon, and then resolve dot segments."""
    found = {path}
    for _ in range(4):
        found |= {unquote(each, errors="replace") for each in found}
    found |= {each.replace("\\", "/") for each in found}
    found |= {re.sub(r";[^/]*", "", each) for each in found}
    found |= {"/".join(part.strip() for part in each.split("/")) for each in found}
    return {"/" + posixpath.normpath(each).lstrip("/") for each in found}


@given(NASTY)
def test_no_server_reads_a_path_that_passes_as_one_that_would_not(tail: str) -> None:
    try:
        path = normal_path(f"/v1/{tail}".partition("?")[0])
    except InvalidInput:
        return
    if UrlPattern.parse_url("http://a/v1/*").fits("GET", Url("http", "a", None, 80, path, "")):
        assert all(f"{each}/".startswith("/v1/") for each in readings(path)), readings(path)


@given(NASTY)
def test_the_one_form_is_its_own(tail: str) -> None:
    try:
        path = normal_path(f"/{tail}".partition("?")[0])
    except InvalidInput:
        return
    assert normal_path(path) == path
    assert path.isascii()


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_a_sentence(text: str) -> None:
    for made in (text, f"http://{text}", f"http://a/{text}"):
        with contextlib.suppress(InvalidInput):
            url = Url.parse(made)
            assert Url.parse(str(url)) == url


# ---- patterns


@pytest.mark.parametrize(
    ("pattern", "method", "url", "fits"),
    [
        ("GET https://a.example/*", "GET", "https://a.example/x/y?z", True),
        ("GET https://a.example/*", "GET", "https://a.example", True),
        ("GET https://a.example/*", "GET", "https://a.example:443/", True),
        ("GET https://a.example/*", "GET", "http://a.example/", False),
        ("GET https://a.example/*", "GET", "https://a.example:8443/", False),
        ("GET https://a.example/*", "POST", "https://a.example/", False),
        ("GET https://a.example/*", "GET", "https://b.a.example/", False),
        ("GET https://a.example/*", "GET", "https://a.example.evil/", False),
        ("GET https://A.Example/*", "GET", "https://a.example/", True),
        ("GET,POST https://a/*", "POST", "https://a/", True),
        ("* https://a/*", "DELETE", "https://a/", True),
        ("GET https://a:8443/*", "GET", "https://a:8443/", True),
        ("GET https://a:*/*", "GET", "https://a:1/", True),
        ("GET https://*.example/*", "GET", "https://a.b.example/", True),
        ("GET https://*.example/*", "GET", "https://example/", False),
        ("GET https://*.example/*", "GET", "https://evilexample/", False),
        ("GET https://*/*", "GET", "https://a/", True),
        ("GET http://[2001:DB8::0]/*", "GET", "http://[2001:db8::]/", True),
        ("GET https://a/v1/*", "GET", "https://a/v1/", True),
        ("GET https://a/v1/*", "GET", "https://a/v1", False),
        ("GET https://a/v1/*", "GET", "https://a/v1/../v2", False),
        ("GET https://a/v1", "GET", "https://a/v1?x=/v2", True),
        ("GET https://a/*/x", "GET", "https://a/1/2/x", True),
        ("GET https://a/*/x", "GET", "https://a/x", False),
        ("GET https://a/a*a", "GET", "https://a/a", False),
        ("GET https://a/a*b*c", "GET", "https://a/abbc", True),
        ("GET https://a/%7ex", "GET", "https://a/~x", True),
        ("GET https://a/%2A", "GET", "https://a/*", True),
        ("GET https://a/%2A", "GET", "https://a/x", False),
    ],
)
def test_a_request_fits_a_pattern(pattern: str, method: str, url: str, fits: bool) -> None:
    assert UrlPattern.parse(pattern).fits(method, Url.parse(url)) == fits


@pytest.mark.parametrize(
    "text",
    [
        "https://a/*",
        "GET",
        "GET a/*",
        "GET ftp://a/*",
        "GET https://a",
        "GET https://a/*?x",
        "GET https://a/*#x",
        "get",
        "get https://a/*",
        "GET, POST https://a/*",
        "CONNECT https://a/*",
        "TRACE https://a/*",
        "GET  https://a/*",
        "GET https://me@a/*",
        "GET https://*a/*",
        "GET https://a.*/*",
        "GET https://*.1.2.3.4/*",
        "GET https://127.1/*",
        "GET https://a:0/*",
        "GET https://a:99999/*",
        "GET https://a/v1/../*",
        "GET https://a/..%2f*",
        "GET https:///*",
        "GET https://bücher.example/*",
        "GET https://a/\\*",
        "",
    ],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="allowed"):
        UrlPattern.parse(text)


PATHS = st.lists(st.sampled_from(["/", "a", "b", "*"]), max_size=5).map(lambda parts: "/" + "".join(parts))
PATTERNS = st.builds(
    lambda methods, host, port, path: UrlPattern.parse(f"{methods} http://{host}{port}{path}"),
    st.sampled_from(["*", "GET", "POST", "GET,POST"]),
    st.sampled_from(["*", "*.x", "*.y.x", "x", "y.x", "z.y.x"]),
    st.sampled_from(["", ":80", ":81", ":*"]),
    PATHS,
)
REQUESTS = st.tuples(
    st.sampled_from(["GET", "POST", "PUT"]),
    st.builds(
        lambda host, port, path: Url.parse(f"http://{host}:{port}{path}"),
        st.sampled_from(["x", "y.x", "z.y.x", "yx"]),
        st.sampled_from([80, 81]),
        PATHS,
    ),
)


@given(PATTERNS, PATTERNS, st.lists(REQUESTS, max_size=30))
def test_what_fits_a_covered_pattern_fits_the_one_that_covers_it(
    one: UrlPattern, other: UrlPattern, requests: list[tuple[str, Url]]
) -> None:
    if one.covers(other):
        assert all(one.fits(*request) for request in requests if other.fits(*request))


@given(PATTERNS)
def test_a_pattern_can_be_written_down_and_covers_itself(pattern: UrlPattern) -> None:
    assert UrlPattern.parse(str(pattern)) == pattern
    assert pattern.covers(pattern)
    assert uncovered([pattern], pattern.by_method()) == []


@given(REQUESTS)
def test_the_pattern_of_a_request_fits_it_and_is_covered_by_all_that_fit_it(request: tuple[str, Url]) -> None:
    exact = UrlPattern.exactly(*request)
    assert exact.fits(*request)
    assert UrlPattern.parse(f"* http://*:*{request[1].path.replace('*', '%2A')}").covers(exact)


def test_matching_takes_no_time_that_grows_with_the_stars() -> None:
    pattern = UrlPattern.parse("GET http://a/" + "*a" * 400 + "b")
    assert not pattern.fits("GET", Url.parse("http://a/" + "a" * 7000))
