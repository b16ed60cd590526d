"""The http client against real servers on loopback: what is sent, what comes back, and what does not happen."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from remote import PATIENCE, Answer, Received, by_path, remote, response, says

from theater import log
from theater.core.permissions.http_client import HttpClient
from theater.errors import TheaterError
from theater.gateway.credentials import Credentials
from theater.gateway.http_client import Sender

Reply = dict[str, Any]


async def nowhere(host: str, port: int) -> Sequence[str]:
    raise OSError("no such name")


def names(**addresses: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """A resolver that knows some names, without their .test."""

    async def lookup(host: str, port: int) -> Sequence[str]:
        return addresses[host.removesuffix(".test")].split()

    return lookup


class Client:
    """A sender for which everything on loopback is granted unless a test says otherwise."""

    def __init__(self, home: Path, lookup: Any = nowhere, **permissions: Any) -> None:
        granted = {"allow": ("* http://127.0.0.1:*/*",), "private": ("127.0.0.1",), **permissions}
        self.sender = Sender(HttpClient(**granted), Credentials(home, {}, log.logger()), lookup)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sender.close()

    async def get(self, url: str, *headers: tuple[str, str], seconds: float = PATIENCE) -> Reply:
        return await self.send("GET", url, *headers, seconds=seconds)

    async def send(
        self, method: str, url: str, *headers: tuple[str, str], body: bytes | None = None, seconds: float = PATIENCE
    ) -> Reply:
        request = {"method": method, "uri": url, "headers": list(headers), "body": body}
        return await self.sender.send(request, seconds)

    async def refusal(self, method: str, url: str, *headers: tuple[str, str], body: bytes | None = None) -> str:
        """The sentence with which a request ends."""
        with pytest.raises(TheaterError) as refused:
            await self.send(method, url, *headers, body=body)
        return refused.value.message


def of(reply: Reply, name: str) -> str | None:
    return next((value for key, value in reply["headers"] if key == name), None)


def test_a_request_arrives_as_it_is_asked_for_and_so_does_its_response(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response(b"yes", "X-One: 1", "X-One: 2"))) as far, Client(tmp_path) as client:
            reply = await client.send("POST", f"{far.origin}/v1/a%20b?q=%2F&x=[]", ("X-Me", "ä"), body=b"body")
            assert reply["status"] == 200
            assert reply["body"] == b"yes"
            assert [pair for pair in reply["headers"] if pair[0] == "x-one"] == [("x-one", "1"), ("x-one", "2")]
            (request,) = far.received
            assert (request.method, request.target, request.body) == ("POST", "/v1/a%20b?q=%2F&x=[]", b"body")
            assert request.header("host") == f"127.0.0.1:{far.port}"
            assert request.header("user-agent") == "theater"
            assert request.header("content-type") is None
            assert request.header("content-length") == "4"

    asyncio.run(story())


def test_a_connection_is_used_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response(b"yes"))) as far, Client(tmp_path) as client:
            for _ in range(3):
                await client.get(f"{far.origin}/")
            assert [request.connection for request in far.received] == [1, 1, 1]

    asyncio.run(story())


def test_what_has_no_body_has_none(tmp_path: Path) -> None:
    async def story() -> None:
        empty = b"HTTP/1.1 204 No Content\r\n\r\n"
        long = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
        async with remote(by_path(none=empty, head=long, zero=response())) as far, Client(tmp_path) as client:
            assert (await client.get(f"{far.origin}/none"))["body"] is None
            assert (await client.send("HEAD", f"{far.origin}/head"))["body"] is None
            assert (await client.get(f"{far.origin}/zero"))["body"] == b""

    asyncio.run(story())


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw", "gzip twice"])
def test_what_comes_compressed_is_given_as_it_was(tmp_path: Path, coding: str) -> None:
    async def story() -> None:
        text = b"some text, again and again. " * 200_000
        raw = zlib.compressobj(wbits=-15)
        coded = {
            "gzip": gzip.compress(text),
            "deflate": zlib.compress(text),
            "raw": raw.compress(text) + raw.flush(),
            "gzip twice": gzip.compress(text[:100]) + gzip.compress(text[100:]),
        }[coding]
        header = "Content-Encoding: " + ("gzip" if "gzip" in coding else "deflate")
        async with remote(says(response(coded, header))) as far, Client(tmp_path, max_response=len(text)) as client:
            reply = await client.get(f"{far.origin}/")
            assert reply["body"] == text
            assert of(reply, "content-encoding") is None
            assert of(reply, "content-length") is None
            assert far.received[0].header("accept-encoding") == "gzip, deflate"

    asyncio.run(story())


def test_a_coding_that_nobody_asked_for_is_passed_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response(b"\x8b\x01", "Content-Encoding: br"))) as far, Client(tmp_path) as client:
            reply = await client.get(f"{far.origin}/")
            assert (reply["body"], of(reply, "content-encoding")) == (b"\x8b\x01", "br")

    asyncio.run(story())


# ---- what is not sent


def test_only_what_is_allowed_is_sent(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response())) as far:
            allow = (f"GET,POST {far.origin}/v1/*",)
            async with Client(tmp_path, allow=allow) as client:
                await client.get(f"{far.origin}/v1/x")
                for method, url in (
                    ("PUT", f"{far.origin}/v1/x"),
                    ("GET", f"{far.origin}/v2/x"),
                    ("GET", f"{far.origin}/v1/../admin"),
                    ("GET", f"{far.origin}/v1/%2e%2e/admin"),
                    ("GET", f"{far.origin}/v1/..%2fadmin"),
                    ("GET", f"{far.origin}/v1/%252e%252e%252fadmin"),
                    ("GET", f"{far.origin}/v1\\..\\admin"),
                    ("GET", f"http://127.0.0.2:{far.port}/v1/x"),
                    ("GET", f"http://me:secret@127.0.0.1:{far.port}/v1/x"),
                    ("TRACE", f"{far.origin}/v1/x"),
                    ("CONNECT", f"{far.origin}/v1/x"),
                    ("GET", f"ftp://127.0.0.1:{far.port}/v1/x"),
                    ("GET", f"{far.origin}/v1/x\r\nHost: other"),
                ):
                    assert "allow" in await client.refusal(method, url), url
                assert "secret" not in await client.refusal("GET", f"http://me:secret@127.0.0.1:{far.port}/v1/x")
            assert len(far.received) == 1

    asyncio.run(story())


def test_nothing_is_allowed_by_default(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response())) as far, Client(tmp_path, allow=()) as client:
            assert await client.refusal("GET", f"{far.origin}/") == (
                f"GET {far.origin}/ is not granted; the manifest allows nothing"
            )
            assert far.connections == 0

    asyncio.run(story())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "169.254.169.254",
        "10.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "[fe80::1%25lo]",
        "224.0.0.1",
    ],
)
def test_an_address_that_is_not_everybodys_needs_a_grant(tmp_path: Path, host: str) -> None:
    async def story() -> None:
        async with remote(says(response())) as far, Client(tmp_path, allow=("* http://*:*/*",), private=()) as client:
            sentence = await client.refusal("GET", f"http://{host}:{far.port}/")
            assert "is not granted" in sentence or "is no address" in sentence or "is no host" in sentence
            assert far.connections == 0

    asyncio.run(story())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "64:ff9b::7f00:1"])
def test_a_name_does_not_lead_to_what_is_not_granted(tmp_path: Path, address: str) -> None:
    async def story() -> None:
        lookup = names(evil=address)
        async with Client(tmp_path, lookup, allow=("* http://evil.test:*/*",), private=()) as client:
            sentence = await client.refusal("GET", "http://evil.test:9/")
            assert sentence.startswith(f"evil.test is {address}; the address ")
            assert "is not granted" in sentence

    asyncio.run(story())


def test_a_name_is_followed_to_those_of_its_addresses_that_are_granted(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response(b"here"))) as far:
            lookup = names(here="10.1.2.3 127.0.0.1")
            allow, private = ("GET http://here.test:*/*",), (f"127.0.0.1:{far.port}",)
            async with Client(tmp_path, lookup, allow=allow, private=private) as client:
                assert (await client.get(f"http://here.test:{far.port}/"))["body"] == b"here"
                assert far.received[0].header("host") == f"here.test:{far.port}"

    asyncio.run(story())


def test_what_is_connected_is_what_was_looked_at_although_a_name_changes_its_mind(tmp_path: Path) -> None:
    """A resolver that answers something else each time: no connection is made to what was not looked at."""

    async def story() -> None:
        answers = iter([["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]])

        async def lookup(host: str, port: int) -> Sequence[str]:
            return next(answers)

        async def closing(request: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(response(b"", "Connection: close"))

        async with remote(closing) as far:
            async with Client(tmp_path, lookup, allow=("* http://rebind.test:*/*",)) as client:
                await client.get(f"http://rebind.test:{far.port}/")
                client.sender._session.connector.clear_dns_cache()  # type: ignore[union-attr]
                assert "link-local" in await client.refusal("GET", f"http://rebind.test:{far.port}/")
            assert far.connections == 1

    asyncio.run(story())


def test_no_proxy_or_password_file_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with remote(says(response(b"direct"))) as far, Client(tmp_path) as client:
            assert (await client.get(f"{far.origin}/"))["body"] == b"direct"
            assert far.received[0].target == "/"
            assert far.received[0].header("authorization") is None

    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    asyncio.run(story())


def test_cookies_are_the_actors_business(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response(b"", "Set-Cookie: a=b; Path=/"))) as far, Client(tmp_path) as client:
            reply = await client.get(f"{far.origin}/")
            assert of(reply, "set-cookie") == "a=b; Path=/"
            await client.get(f"{far.origin}/")
            assert far.received[1].header("cookie") is None

    asyncio.run(story())


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("x", "a\r\nEvil: 1", "line end"),
        ("x", "a\nb", "line end"),
        ("x", "a\0b", "control character"),
        ("x\r\nEvil", "1", "no name of a header"),
        ("", "1", "no name of a header"),
        ("Host", "other.example", "the gateway's business"),
        ("Content-Length", "4", "the gateway's business"),
        ("Transfer-Encoding", "chunked", "the gateway's business"),
        ("Connection", "upgrade", "the gateway's business"),
        ("Proxy-Authorization", "Basic eA==", "the gateway's business"),
        ("x", "y" * 9000, "9000 bytes"),
    ],
)
def test_headers_that_would_change_the_message_are_refused(tmp_path: Path, name: str, value: str, why: str) -> None:
    async def story() -> None:
        async with remote(says(response())) as far, Client(tmp_path) as client:
            assert why in await client.refusal("GET", f"{far.origin}/", (name, value))
            assert far.connections == 0

    asyncio.run(story())


def test_many_headers_and_a_large_body_are_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response())) as far, Client(tmp_path, max_request=10) as client:
            many = [(f"x-{number}", "1") for number in range(101)]
            assert "101 headers" in await client.refusal("GET", f"{far.origin}/", *many)
            large = [(f"x-{number}", "1" * 8000) for number in range(9)]
            assert "64KiB" in await client.refusal("GET", f"{far.origin}/", *large)
            assert "max_request" in await client.refusal("POST", f"{far.origin}/", body=b"x" * 11)
            assert far.connections == 0

    asyncio.run(story())


# ---- redirects


def elsewhere(url: str, status: int = 302, body: bytes = b"") -> bytes:
    return response(body, f"Location: {url}", status=f"{status} Moved")


def test_a_redirect_is_followed_and_told(tmp_path: Path) -> None:
    async def story() -> None:
        answers = by_path(a=elsewhere("../b?x#part"), b=response(b"there", "Theater-Redirected: a lie"))
        async with remote(answers) as far, Client(tmp_path) as client:
            reply = await client.get(f"{far.origin}/a/deep")
            assert reply["body"] == b"there"
            told = [value for name, value in reply["headers"] if name == "theater-redirected"]
            assert told == [f"GET {far.origin}/b?x"]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "status", "becomes"),
    [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("PUT", 302, "PUT"),
        ("PUT", 303, "GET"),
        ("HEAD", 303, "HEAD"),
        ("DELETE", 301, "DELETE"),
    ],
)
def test_the_method_and_body_after_a_redirect(tmp_path: Path, method: str, status: int, becomes: str) -> None:
    async def story() -> None:
        async with remote(by_path(a=elsewhere("/b", status), b=response())) as far, Client(tmp_path) as client:
            await client.send(method, f"{far.origin}/a", ("content-type", "text/x"), body=b"body")
            followed = far.received[1]
            assert followed.method == becomes
            kept = becomes == method
            assert followed.body == (b"body" if kept else b"")
            assert followed.header("content-type") == ("text/x" if kept else None)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254:80 (link-local)"),
        ("http://127.0.0.1:1/", "is not granted"),
        ("//[::1]/", "is not granted"),
        ("http://2130706433/", "is no address"),
        ("file:///etc/passwd", "is no URL"),
        ("/\\evil.test/", "backslash"),
        ("http://me:pass@127.0.0.1/", "user or password"),
        ("http://other.test/", "127.0.0.1:80 (loopback) is not granted"),
    ],
)
def test_a_redirect_leads_nowhere_else_than_a_request(tmp_path: Path, place: str, why: str) -> None:
    async def story() -> None:
        async with remote(says(elsewhere(place))) as far:
            private = (f"127.0.0.1:{far.port}",)
            async with Client(tmp_path, names(other="127.0.0.1"), allow=("* http://*:*/*",), private=private) as client:
                assert why in await client.refusal("GET", f"{far.origin}/")
            assert len(far.received) == 1

    asyncio.run(story())


def test_a_redirect_is_held_to_the_allow_list(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(by_path(v1=elsewhere("/admin"), admin=response())) as far:
            async with Client(tmp_path, allow=(f"GET {far.origin}/v1/*",)) as client:
                sentence = await client.refusal("GET", f"{far.origin}/v1/x")
                assert f"is redirected: GET {far.origin}/admin is not granted" in sentence
            assert len(far.received) == 1

    asyncio.run(story())


def test_redirects_end(tmp_path: Path) -> None:
    async def story() -> None:
        async def further(request: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(elsewhere(f"/{int(request.target[1:]) + 1}"))

        async with remote(further) as far, Client(tmp_path, redirects=3) as client:
            assert "more than 3 times" in await client.refusal("GET", f"{far.origin}/0")
            assert len(far.received) == 4
        async with remote(by_path(a=elsewhere("/b"), b=elsewhere("/a"))) as far, Client(tmp_path) as client:
            assert "in a loop" in await client.refusal("GET", f"{far.origin}/a")
            assert len(far.received) == 2

    asyncio.run(story())


def test_without_redirects_the_actor_gets_them(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(elsewhere("/b", body=b"moved"))) as far, Client(tmp_path, redirects=0) as client:
            reply = await client.get(f"{far.origin}/a")
            assert (reply["status"], of(reply, "location"), reply["body"]) == (302, "/b", b"moved")

    asyncio.run(story())


def test_what_lets_somebody_in_is_not_sent_to_another_origin(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response())) as other, remote(says(elsewhere(f"{other.origin}/"))) as far:
            async with Client(tmp_path) as client:
                await client.get(f"{far.origin}/", ("Authorization", "me"), ("Cookie", "c"), ("X-Other", "x"))
            assert far.received[0].header("authorization") == "me"
            assert other.received[0].header("authorization") is None
            assert other.received[0].header("cookie") is None
            assert other.received[0].header("x-other") == "x"

    asyncio.run(story())


# ---- limits, and servers that misbehave


def test_a_slow_server_is_not_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async def never(request: Received, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(PATIENCE)

        async with remote(never) as far, Client(tmp_path, timeout=50) as client:
            assert await client.refusal("GET", f"{far.origin}/") == (
                f"GET {far.origin}/ had no whole response within 50ms"
            )
            await far.until(lambda: far.ended == 1)

    asyncio.run(story())


def test_a_body_that_trickles_in_is_not_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async def trickle(request: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)

        async with remote(trickle) as far, Client(tmp_path, timeout=100) as client:
            assert "no whole response" in await client.refusal("GET", f"{far.origin}/")

    asyncio.run(story())


def test_the_callers_time_bounds_a_request_too(tmp_path: Path) -> None:
    async def story() -> None:
        async def never(request: Received, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(PATIENCE)

        async with remote(never) as far, Client(tmp_path) as client:
            with pytest.raises(TheaterError, match="within 50ms"):
                await client.get(f"{far.origin}/", seconds=0.05)

    asyncio.run(story())


async def _endless(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x" * 65536)
        await writer.drain()


async def _chunks(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()


LARGE = [
    _endless,
    _chunks,
    says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"),
    says(response(gzip.compress(bytes(200 << 20), 1), "Content-Encoding: gzip")),
    says(response(zlib.compress(bytes(200 << 20), 1), "Content-Encoding: deflate")),
]


@pytest.mark.parametrize("answer", LARGE, ids=["endless", "chunked", "length", "gzip bomb", "deflate bomb"])
def test_a_body_over_the_limit_is_refused(tmp_path: Path, answer: Answer) -> None:
    async def story() -> None:
        async with remote(answer) as far, Client(tmp_path, max_response=1 << 20) as client:
            assert await client.refusal("GET", f"{far.origin}/") == (
                f"the response to GET {far.origin}/ is larger than 1MiB (max_response)"
            )
            await far.until(lambda: far.ended == 1)

    asyncio.run(story())


async def _vanish_in_body(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


async def _vanish_in_chunk(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha")
    await writer.drain()
    writer.close()


async def _vanish(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _reset(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


BAD = {
    "in the body": (_vanish_in_body, "in the middle of its response"),
    "in a chunk": (_vanish_in_chunk, "in the middle of its response"),
    "at once": (_vanish, "without a response"),
    "no HTTP": (says(b"SSH-2.0-OpenSSH\r\n\r\n"), "is not HTTP"),
    "a huge header": (says(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"), "is not HTTP"),
    "many headers": (says(response(b"", *(f"X-{n}: 1" for n in range(1000)))), "is not HTTP"),
    "two lengths": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 2\r\n\r\nabcd"), "is not HTTP"),
    "broken gzip": (says(response(b"\x1f\x8bxxxxxxxxxxxxxxx", "Content-Encoding: gzip")), "is not gzip"),
    "half a gzip": (says(response(gzip.compress(b"x" * 99)[:-9], "Content-Encoding: gzip")), "ends in the middle"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_response_is_a_sentence(tmp_path: Path, what: str) -> None:
    async def story() -> None:
        answer, why = BAD[what]
        async with remote(answer) as far, Client(tmp_path) as client:
            sentence = await client.refusal("POST", f"{far.origin}/x")
            assert why in sentence
            assert "\n" not in sentence
            assert len(far.received) == 1  # It is not sent twice.

    asyncio.run(story())


def test_who_is_not_there_is_named(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(b"")) as far:
            port = far.port
        async with Client(tmp_path, allow=("* http://*:*/*",)) as client:
            assert f"cannot connect to 127.0.0.1:{port}" in await client.refusal("GET", f"http://127.0.0.1:{port}/")
            assert "the name nobody.test has no address" in await client.refusal("GET", "http://nobody.test/")

    asyncio.run(story())


def test_who_is_cancelled_hangs_up(tmp_path: Path) -> None:
    async def story() -> None:
        async def never(request: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0)

        async with remote(never) as far, Client(tmp_path) as client:
            task = asyncio.create_task(client.get(f"{far.origin}/"))
            await far.until(lambda: far.received)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await far.until(lambda: far.ended == 1)

    asyncio.run(story())
