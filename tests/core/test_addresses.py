"""Which addresses may be connected to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.addresses import Grant, literal, refusal, why_refused
from theater.errors import InvalidInput

REFUSED = {
    "loopback": "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 ::ffff:7f00:1",
    "private": "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 fc00::1 fdff::1 fd00:ec2::254 ::ffff:10.0.0.1",
    "link-local": "169.254.169.254 169.254.0.1 fe80::1 febf::1",
    "site-local": "fec0::1",
    "unspecified": "0.0.0.0 0.1.2.3 ::",
    "broadcast": "255.255.255.255",
    "multicast": "224.0.0.1 239.255.255.255 ff02::1",
    "shared by a provider's customers": "100.64.0.1 100.100.100.200",
    "a cloud's own": "168.63.129.16",
    "NAT64": "64:ff9b::7f00:1 64:ff9b::1 64:ff9b:1::7f00:1",
    "6to4": "2002:7f00:1::",
    "Teredo": "2001::1 2001:0:7f00:1::",
    "IPv4 inside of IPv6": "::127.0.0.1 ::10.0.0.1 ::ffff:0:127.0.0.1",
    "documentation": "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1",
    "benchmarking": "198.18.0.1",
    "reserved": "240.0.0.1 4000::1 1::1 5f00::1",
    "reserved for protocols": "192.0.0.1 2001:10::1 2001:20::1 2001:2::1",
    "discarded": "100::1 100:0:0:1::1",
    "a relay of 6to4": "192.88.99.1",
}

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "::ffff:8.8.8.8", "2606:4700::1111", "2a00::1"]
)
def test_what_is_everybodys_needs_no_grant(address: str) -> None:
    assert why_refused(ip_address(address)) is None


@pytest.mark.parametrize(("kind", "address"), [(kind, each) for kind, all in REFUSED.items() for each in all.split()])
def test_what_is_not_everybodys_has_a_name(kind: str, address: str) -> None:
    assert why_refused(ip_address(address)) == kind


@given(addresses)
def test_nothing_passes_that_python_knows_not_to_be_global(address: IPv4Address | IPv6Address) -> None:
    assert address.is_global or why_refused(address) is not None


@given(st.ip_addresses(v=4), st.sampled_from(["::", "64:ff9b::", "64:ff9b:1::", "::ffff:0:0:0"]))
def test_no_ipv4_address_is_reached_inside_of_ipv6(address: IPv4Address, prefix: str) -> None:
    assert why_refused(IPv6Address(int(IPv6Address(prefix)) | int(address))) is not None
    assert why_refused(IPv6Address((0x2002 << 112) | (int(address) << 80))) is not None


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_one_that_it_stands_for(address: IPv4Address) -> None:
    assert why_refused(IPv6Address(f"::ffff:{address}")) == why_refused(address)


@pytest.mark.parametrize(
    "host", ["example.com", "localhost", "a-1.b", "1.2.3.com", "x1", "0x7f.com", "xn--bcher-kva.de"]
)
def test_a_name_is_no_address(host: str) -> None:
    assert literal(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f000001",
        "127.0.0.1.1",
        "1.2.3.256",
        "127.0.0.01",
        "0x",
        "a.1",
        "[::1",
        "[fe80::1%eth0]",
        "[1]",
        "[127.0.0.1]",
        "[]",
        "[::1%25lo]",
    ],
)
def test_an_address_in_disguise_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match="is no address; allowed: "):
        literal(host)


@pytest.mark.parametrize(
    ("text", "address", "port", "is_granted"),
    [
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.0.0.1:8080", "127.0.0.1", 8081, False),
        ("127.0.0.1:8080", "127.0.0.2", 8080, False),
        ("127.0.0.1", "::ffff:127.0.0.1", 80, True),
        ("::ffff:127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.1", "::127.0.0.1", 80, False),
        ("127.0.0.1", "::1", 80, False),
        ("10.0.0.0/8", "10.255.0.1", 1, True),
        ("10.0.0.0/8:443", "10.255.0.1", 80, False),
        ("::1", "::1", 80, True),
        ("[::1]:8080", "::1", 8080, True),
        ("[::1]:8080", "::1", 80, False),
        ("[fd00::/8]:443", "fd12::1", 443, True),
        ("fd00::/8", "fd12::1", 443, True),
    ],
)
def test_a_grant_grants_its_addresses_and_ports(text: str, address: str, port: int, is_granted: bool) -> None:
    assert (refusal(ip_address(address), port, (Grant.parse(text),)) is None) == is_granted


@pytest.mark.parametrize(
    "text",
    ["localhost", "localhost:80", "10.0.0.1/8", "127.1", "1.2.3.4:0", "1.2.3.4:99999", "", "[::1", "::1%lo", "*"],
)
def test_what_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"allowed: addresses and networks"):
        Grant.parse(text)


@st.composite
def grants(draw: st.DrawFn) -> Grant:
    address = draw(st.one_of(st.ip_addresses(v=4, network="10.0.0.0/28"), st.ip_addresses(v=6, network="fd00::/124")))
    most = 32 if address.version == 4 else 128
    bits = draw(st.integers(most - 4, most))
    port = draw(st.sampled_from([None, 80, 81]))
    network = type(address)(int(address) >> (most - bits) << (most - bits))
    text = f"{network}/{bits}"
    if port is None:
        return Grant.parse(text)
    return Grant.parse(f"[{text}]:{port}" if address.version == 6 else f"{text}:{port}")


@given(grants(), grants(), st.integers(0, 15), st.sampled_from([80, 81, 82]))
def test_what_is_covered_is_granted(one: Grant, other: Grant, host: int, port: int) -> None:
    address = ip_address(int(other.network.network_address) | host)
    if one.covers(other) and other.grants(address, port):
        assert one.grants(address, port)


@given(grants())
def test_a_grant_can_be_written_down(grant: Grant) -> None:
    assert Grant.parse(str(grant)) == grant
    assert grant.covers(grant)
