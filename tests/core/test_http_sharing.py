"""Who answers what of one port."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.http_routes import split
from theater.core.http_sharing import Claim, claim, overlap, plain_host

HOSTS = st.lists(st.sampled_from(["a.org", "b.org", "c.org"]), max_size=2, unique=True).map(tuple)
PREFIXES = st.lists(st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab", "/b"]), max_size=2, unique=True).map(tuple)
CLAIMS = st.builds(claim, HOSTS, PREFIXES)


def test_an_actor_without_hosts_and_prefixes_has_everything() -> None:
    assert claim((), ()).is_everything
    assert claim((), ()).covers("any.org", split("/any"))
    assert overlap(claim((), ()), claim(("a.org",), ())) == "a.org, any path"


def test_hosts_are_compared_without_port_case_and_last_dot() -> None:
    assert [plain_host(text) for text in ("A.org:80", "a.ORG.", "[::1]:80", "")] == ["a.org", "a.org", "[::1]", ""]


def test_a_prefix_is_of_whole_segments() -> None:
    assert overlap(claim((), ("/a",)), claim((), ("/ab",))) is None
    assert overlap(claim((), ("/a",)), claim((), ("/a/b",))) == "any host, /a/b"


@pytest.mark.parametrize("hosts", [("a.org",), ()])
def test_one_host_may_be_divided_by_paths(hosts: tuple[str, ...]) -> None:
    one, other = claim(hosts, ("/a",)), claim(hosts, ("/b",))
    assert overlap(one, other) is None
    assert one.covers("a.org", split("/a/x"))
    assert not other.covers("a.org", split("/a/x"))


@given(
    CLAIMS, CLAIMS, st.sampled_from(["a.org", "b.org", "d.org"]), st.sampled_from(["/", "/a", "/a/b/c", "/ab/x", "/b"])
)
def test_no_request_belongs_to_two_that_do_not_overlap(one: Claim, other: Claim, host: str, path: str) -> None:
    both = one.covers(host, split(path)) and other.covers(host, split(path))
    assert not both or overlap(one, other) is not None
    assert (overlap(one, other) is None) == (overlap(other, one) is None)
