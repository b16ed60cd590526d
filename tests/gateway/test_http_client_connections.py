"""How the http client connects: TLS, the machine's own names, and URLs that aiohttp reads as we do."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from remote import PATIENCE, remote, response, says
from yarl import URL

from theater import log
from theater.core.permissions.http_client import HttpClient
from theater.core.urls import Url
from theater.errors import InvalidInput, TheaterError
from theater.gateway import dialling
from theater.gateway.credentials import Credentials
from theater.gateway.http_client import Sender


def certificate(folder: Path, *names: str) -> Path:
    """A file with a key and a certificate, signed by itself, for these names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server of a test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


async def ask(home: Path, url: str, lookup: Any, tls: Any = dialling.tls, **more: Any) -> dict[str, Any]:
    granted = HttpClient(**{"allow": ("* https://*:*/*", "* http://*:*/*"), "private": ("127.0.0.1", "::1"), **more})
    sender = Sender(granted, Credentials(home, {}, log.logger()), lookup, tls)
    try:
        return await sender.send({"method": "GET", "uri": url, "headers": [], "body": None}, PATIENCE)
    finally:
        await sender.close()


async def loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def test_a_server_proves_who_it_is(tmp_path: Path) -> None:
    async def story() -> None:
        file = certificate(tmp_path, "shop.test")
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(file)
        trusting = dialling.tls()
        trusting.load_verify_locations(file)
        async with remote(says(response(b"proven")), theirs) as far:
            answer = await ask(tmp_path, f"https://shop.test:{far.port}/", loopback, lambda: trusting)
            assert answer["body"] == b"proven"
            assert far.received[0].header("host") == f"shop.test:{far.port}"
            with pytest.raises(TheaterError, match=r"certificate of shop\.test:\d+ is not to be trusted: self"):
                await ask(tmp_path, f"https://shop.test:{far.port}/", loopback)
            with pytest.raises(TheaterError, match=r"not to be trusted: .*not valid for 'bank\.test'"):
                await ask(tmp_path, f"https://bank.test:{far.port}/", loopback, lambda: trusting)
            assert len(far.received) == 1

    asyncio.run(story())


def test_who_does_not_speak_tls_is_no_partner_for_it(tmp_path: Path) -> None:
    async def story() -> None:
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 This is no TLS\r\n\r\n")
            await writer.drain()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(TheaterError, match=r"shop\.test:\d+ and the gateway cannot agree on TLS"):
                await ask(tmp_path, f"https://shop.test:{port}/", loopback)

    asyncio.run(story())


def test_the_machines_own_names_lead_to_where_they_lead(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response(b"home"))) as far:
            url = f"http://localhost:{far.port}/"
            assert (await ask(tmp_path, url, dialling.system_lookup()))["body"] == b"home"
            with pytest.raises(TheaterError, match=r"localhost is .* \(loopback\) is not granted"):
                await ask(tmp_path, url, dialling.system_lookup(), private=())
            with pytest.raises(TheaterError, match=r"the name nobody\.invalid has no address"):
                await ask(tmp_path, "http://nobody.invalid/", dialling.system_lookup(), timeout=10_000)

    asyncio.run(story())


def test_a_lookup_that_takes_long_is_not_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async def slow(host: str, port: int) -> Sequence[str]:
            await asyncio.sleep(PATIENCE)
            return []

        with pytest.raises(TheaterError, match="had no whole response within 50ms"):
            await ask(tmp_path, "http://slow.test/", slow, timeout=50)

    asyncio.run(story())


def test_no_socket_is_made_for_what_is_not_granted() -> None:
    """What is checked last is what the kernel is given, whatever was checked before."""

    async def story() -> None:
        async with dialling.session(loopback, (), dialling.tls()) as session:
            assert session.connector is not None
            made_for = session.connector._socket_factory  # type: ignore[attr-defined]
            for place in (("127.0.0.1", 80), ("169.254.169.254", 80), ("::1", 80, 0, 0), ("::ffff:10.0.0.1", 80, 0, 0)):
                with pytest.raises(InvalidInput, match="is not granted"):
                    made_for((2 if "." in place[0] else 10, 1, 6, "", place))

    asyncio.run(story())


@given(
    st.sampled_from(["http", "https"]),
    st.one_of(
        st.from_regex(r"[a-z0-9-]{1,8}(\.[a-z]{1,5}){0,2}", fullmatch=True),
        st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
        st.ip_addresses(v=4).map(str),
    ),
    st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}")),
    st.text(st.sampled_from("/.a%2F5ce;?&=[]@:*~é!$'"), max_size=20),
)
def test_what_is_sent_is_what_was_checked(scheme: str, host: str, port: str, rest: str) -> None:
    try:
        checked = Url.parse(f"{scheme}://{host}{port}/{rest}")
    except InvalidInput:
        return
    sent = URL(str(checked), encoded=True)
    assert (sent.scheme, sent.port, sent.raw_path_qs) == (checked.scheme, checked.port, checked.path + checked.query)
    if checked.address is None:
        assert sent.raw_host == checked.host
    else:
        assert sent.raw_host is not None
        assert ip_address(sent.raw_host) == checked.address
