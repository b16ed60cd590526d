"""Which route a path and a method lead to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.http_routes import (
    ANY,
    Match,
    NotAllowed,
    Route,
    Routes,
    conflicting,
    is_below,
    method,
    pattern,
    split,
)
from theater.errors import InvalidInput


def routes(*rows: str) -> Routes:
    """Of rows such as "GET /users/{id}"; a row's place is its handler."""
    return Routes(Route(at, pattern(path), verb, at) for at, (verb, path) in enumerate(row.split() for row in rows))


def found(there: Routes, verb: str, path: str) -> int:
    match = there.find(verb, path)
    assert isinstance(match, Match)
    return match.route.handler


def test_a_static_segment_comes_before_a_parameter_and_that_before_a_wildcard() -> None:
    there = routes("GET /*", "GET /users/*", "GET /users/{id}", "GET /users/me")
    assert [found(there, "GET", path) for path in ("/x", "/users/1/2", "/users/1", "/users/me")] == [0, 1, 2, 3]


def test_a_longer_prefix_comes_first() -> None:
    there = routes("GET /a/*", "GET /a/b/*", "GET /a/b/c/*")
    assert [found(there, "GET", path) for path in ("/a/x", "/a/b/x", "/a/b/c/", "/a/b/c/d/e")] == [0, 1, 2, 2]


def test_a_static_beginning_that_leads_nowhere_is_given_up() -> None:
    there = routes("GET /users/me/x", "GET /users/{id}/posts")
    assert found(there, "GET", "/users/me/posts") == 1


def test_parameters_are_decoded_and_a_wildcard_is_all_that_is_left() -> None:
    match = routes("GET /u/{id}/f/*").find("GET", "/u/a%2Fb%20%C3%BC/f/x/y%2Fz")
    assert isinstance(match, Match)
    assert match.params == {"id": "a/b ü", "*": "x/y/z"}


def test_an_escaped_slash_is_no_slash() -> None:
    assert routes("GET /a/b").find("GET", "/a%2Fb") is None
    assert found(routes("GET /a/b"), "GET", "/%61/b") == 0


def test_a_parameter_is_not_empty_and_a_wildcard_may_be() -> None:
    there = routes("GET /a/{x}", "GET /b/*")
    assert there.find("GET", "/a/") is None
    assert there.find("GET", "/b") is None
    assert found(there, "GET", "/b/") == 1


def test_the_method_that_is_not_there_is_told_which_are() -> None:
    there = routes("GET /a", "POST /a", "PUT /b", "* /c")
    assert there.find("PUT", "/a") == NotAllowed(("GET", "HEAD", "OPTIONS", "POST"))
    assert there.find("GET", "/b") == NotAllowed(("OPTIONS", "PUT"))
    assert found(there, "BREW", "/c") == 3


def test_head_is_answered_by_get_unless_it_has_its_own() -> None:
    assert found(routes("GET /a"), "HEAD", "/a") == 0
    assert found(routes("GET /a", "HEAD /a"), "HEAD", "/a") == 1


def test_the_most_specific_path_alone_says_which_methods_there_are() -> None:
    assert routes("GET /a/b", "POST /a/{x}").find("POST", "/a/b") == NotAllowed(("GET", "HEAD", "OPTIONS"))


@pytest.mark.parametrize("path", ["/%", "/%2", "/%zz", "/%ff", "/%00", "/%0d%0a", "a", ""])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput):
        split(path)


@pytest.mark.parametrize(
    "text", ["", "a", "/a?b", "/{", "/{a b}", "/x{a}", "/*/a", "/a*", "/{a}/{A}", "/%zz", "/" + "a" * 1024]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"is no p|percent"):
        pattern(text)


def test_methods_are_read_in_any_case() -> None:
    assert [method("get"), method("any"), method("*")] == ["GET", ANY, ANY]
    with pytest.raises(InvalidInput, match="is no method"):
        method("GET /")


def test_two_routes_of_one_shape_and_method_conflict() -> None:
    there = [Route(1, pattern("/u/{id}"), "GET", 1)]
    assert conflicting(there, pattern("/u/{name}"), "GET") == there[0]
    assert conflicting(there, pattern("/u/{name}"), "POST") is None
    assert conflicting(there, pattern("/u/*"), "GET") is None


def test_a_prefix_covers_whole_segments() -> None:
    assert is_below(split("/api"), pattern("/api"))
    assert is_below(split("/api/x"), pattern("/api/*"))
    assert is_below(split("/api/x"), pattern("/api/"))
    assert is_below(split("/"), pattern("/"))
    assert not is_below(split("/apis"), pattern("/api"))
    assert not is_below(split("//api"), pattern("/api"))


SEGMENTS = st.sampled_from(["a", "b", "c", "{x}", "{y}"])
PATTERNS = st.builds(
    lambda parts, wild: "/" + "/".join([*dict.fromkeys(parts), *(["*"] if wild else [])]),
    st.lists(SEGMENTS, max_size=4),
    st.booleans(),
)
PATHS = st.lists(st.sampled_from(["a", "b", "c", "d", ""]), min_size=1, max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)


def rank(text: str, segments: tuple[str, ...]) -> tuple[int, ...] | None:
    """How specific a pattern is for a path, as sentences of the module say it; smaller comes first."""
    read = pattern(text)
    if len(segments) < len(read.segments) or (len(segments) > len(read.segments) and not read.wildcard):
        return None
    if len(segments) == len(read.segments) and read.wildcard:
        return None
    ranks = []
    for part, there in zip(read.segments, segments, strict=False):
        if part is None and there:
            ranks.append(1)
        elif part == there:
            ranks.append(0)
        else:
            return None
    return (*ranks, *([2] if read.wildcard else []))


@given(st.lists(PATTERNS, max_size=8), PATHS)
def test_the_most_specific_pattern_decides(texts: list[str], path: str) -> None:
    rows: list[Route] = []
    for at, text in enumerate(texts):
        if conflicting(rows, pattern(text), "GET") is None:
            rows.append(Route(at, pattern(text), "GET", at))
    segments = split(path)
    ranked = [(found, row.number) for row in rows if (found := rank(row.pattern.text, segments)) is not None]
    match = Routes(rows).find("GET", path)
    if not ranked:
        assert match is None
    else:
        assert isinstance(match, Match)
        assert match.route.number == min(ranked)[1]
