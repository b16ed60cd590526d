"""Credentials: added where they belong, hidden in what comes back, and read from a file that is the server's alone."""

from __future__ import annotations

import asyncio
import base64
import gzip
import os
from pathlib import Path
from typing import Any

import pytest
import structlog
from remote import PATIENCE, Remote, by_path, remote, response, says

from theater import log
from theater.core.permissions.http_client import HttpClient
from theater.errors import TheaterError, UnknownSecret
from theater.gateway.credentials import Credentials
from theater.gateway.http_client import Sender

KEY = "s3cret-of-ours"
ENVIRONMENT = {"KEY": KEY, "SHORT": "1234567", "LINES": "12345678\nx: y"}


def write(home: Path, text: str, mode: int = 0o600) -> None:
    path = home / "credentials.toml"
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)


def credentials(home: Path) -> Credentials:
    return Credentials(home, ENVIRONMENT, log.logger())


async def fetch(home: Path, far: Remote, path: str = "/", *headers: tuple[str, str], **more: Any) -> dict[str, Any]:
    """What comes back to an actor that has the credential `key`."""

    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    granted = HttpClient(**{"allow": ("* http://*:*/*",), "private": ("127.0.0.1",), "credentials": ("key",), **more})
    sender = Sender(granted, credentials(home), nowhere)
    try:
        request = {"method": "GET", "uri": far.origin + path, "headers": list(headers), "body": None}
        return await sender.send(request, PATIENCE)
    finally:
        await sender.close()


def key_for(far: Remote, path: str = "/*", more: str = 'prefix = "Bearer "') -> str:
    return f'[key]\nenv = "KEY"\nurls = ["{far.origin}{path}"]\n{more}\n'


def test_a_credential_is_added_to_what_it_is_for_and_to_nothing_else(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response())) as far:
            write(tmp_path, key_for(far, "/mine/*"))
            await fetch(tmp_path, far, "/mine/x", ("Authorization", "the actor's"))
            await fetch(tmp_path, far, "/other", ("Authorization", "the actor's"))
            await fetch(tmp_path, far, "/mine/x", credentials=())
            assert [request.header("authorization") for request in far.received] == [
                f"Bearer {KEY}",
                "the actor's",
                None,
            ]
            assert sum(name.lower() == "authorization" for name, _ in far.received[0].headers) == 1

    asyncio.run(story())


def test_a_redirect_takes_a_credential_only_to_where_it_belongs(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response())) as other:
            there, back = f"Location: {other.origin}/", "Location: /mine"
            answers = by_path(
                out=response(b"", there, status="307 There"),
                back=response(b"", back, status="307 Here"),
                mine=response(),
            )
            async with remote(answers) as far:
                write(tmp_path, key_for(far))
                await fetch(tmp_path, far, "/out")
                await fetch(tmp_path, far, "/back")
                assert [request.header("authorization") for request in far.received] == [f"Bearer {KEY}"] * 3
                assert other.received[0].header("authorization") is None

    asyncio.run(story())


@pytest.mark.parametrize(
    "echo",
    [
        KEY.encode(),
        f"Bearer {KEY}".encode(),
        base64.b64encode(b"x:" + KEY.encode()),
        KEY.encode().hex().encode(),
        f"before {KEY}{KEY} after".encode(),
    ],
)
def test_what_is_echoed_is_hidden(tmp_path: Path, echo: bytes) -> None:
    async def story() -> None:
        plain = response(echo, f"X-Echo: {echo.decode()}")
        packed = response(gzip.compress(echo), "Content-Encoding: gzip")
        async with remote(by_path(plain=plain, packed=packed)) as far:
            write(tmp_path, key_for(far))
            one = await fetch(tmp_path, far, "/plain")
            two = await fetch(tmp_path, far, "/packed")
            assert b"[secret key]" in one["body"]
            assert one["body"] == two["body"]
            assert KEY not in str(one)
            assert echo.decode() not in str(one)

    asyncio.run(story())


def test_a_coding_in_which_a_credential_could_hide_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with remote(says(response(b"?", "Content-Encoding: br"))) as far:
            write(tmp_path, key_for(far))
            with pytest.raises(TheaterError, match='answered in the coding "br"; allowed: gzip, deflate, none'):
                await fetch(tmp_path, far)

    asyncio.run(story())


def test_errors_and_redirects_do_not_tell_a_credential(tmp_path: Path) -> None:
    async def story() -> None:
        answers = by_path(
            ftp=response(b"", f"Location: ftp://x/{KEY}", status="302 There"),
            path=response(b"", f"Location: /end?{KEY}", status="302 There"),
            bad=f"HTTP/1.1 {KEY}\r\n\r\n".encode(),
            end=response(),
        )
        async with remote(answers) as far:
            write(tmp_path, key_for(far))
            for path in ("/ftp", "/bad"):
                with pytest.raises(TheaterError) as refused:
                    await fetch(tmp_path, far, path)
                assert KEY not in f"{refused.value} {refused.value.__cause__} {refused.value.details}"
            told = dict((await fetch(tmp_path, far, "/path"))["headers"])["theater-redirected"]
            assert told == f"GET {far.origin}/end?[secret key]"

    asyncio.run(story())


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    urls = 'urls = ["https://a/*"]'
    read = credentials(tmp_path)
    with pytest.raises(UnknownSecret, match="has no credential key"):
        read.of(["key"])
    write(tmp_path, f'[key]\nvalue = "first-value"\n{urls}')
    assert read.of(["key"])[0].value == "first-value"
    write(tmp_path, f'[key]\nvalue = "other-value"\nheader = "X-Key"\n{urls}')
    assert (read.of(["key"])[0].value, read.of(["key"])[0].header) == ("other-value", "x-key")
    write(tmp_path, "[key")
    with pytest.raises(UnknownSecret, match="cannot be used; its log says why"):
        read.of(["key"])
    (tmp_path / "credentials.toml").unlink()
    with pytest.raises(UnknownSecret, match="has no credential key"):
        read.of(["key"])


def test_a_value_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    (tmp_path / "key").chmod(0o600)
    write(tmp_path, '[key]\nfile = "key"\nurls = ["https://a/*"]')
    (found,) = credentials(tmp_path).of(["key"])
    assert found.value == KEY
    assert KEY not in repr(found)


URLS = 'urls = ["https://a/*"]'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f'[key]\nvalue = "{KEY}"', "urls is missing"),
        (f"[key]\n{URLS}", "one of value, env and file"),
        (f'[key]\nvalue = "{KEY}"\nenv = "KEY"\n{URLS}', "one of value, env and file"),
        (f"[key]\nvalue = 12345678\n{URLS}", "a text"),
        (f'[key]\nvalue = "1234567"\n{URLS}', "has 7 characters"),
        (f'[key]\nenv = "SHORT"\n{URLS}', "has 7 characters"),
        (f'[key]\nenv = "LINES"\n{URLS}', "printable ASCII"),
        (f'[key]\nenv = "NONE"\n{URLS}', "no variable NONE"),
        (f'[key]\nfile = "none"\n{URLS}', "cannot read"),
        (f'[key]\nvalue = "{KEY}"\nheader = "Host"\n{URLS}', "allowed: a header"),
        (f'[key]\nvalue = "{KEY}"\nheader = "a: b"\n{URLS}', "allowed: a header"),
        (f'[key]\nvalue = "{KEY}"\nprefix = "a\\nb"\n{URLS}', "allowed: a short text"),
        (f'[key]\nvalue = "{KEY}"\nurls = ["https://a"]', "allowed: a URL with a path"),
        (f'[key]\nvalue = "{KEY}"\nurl = "x"\n{URLS}', "did you mean urls?"),
        (f'[key]\nvalue = "{KEY}', "not TOML"),
        (f'["a b"]\nvalue = "{KEY}"\n{URLS}', "is no name"),
        (f'key = "{KEY}"', "a table [NAME]"),
    ],
)
def test_what_is_wrong_with_the_file_is_logged_without_its_values(tmp_path: Path, text: str, why: str) -> None:
    write(tmp_path, text)
    with structlog.testing.capture_logs() as lines, pytest.raises(UnknownSecret) as refused:
        credentials(tmp_path).of(["key"])
    assert why in lines[0]["why"]
    assert KEY not in f"{lines} {refused.value}"


def test_a_file_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    for mode in (0o640, 0o604, 0o620):
        write(tmp_path, f'[key]\nvalue = "{KEY}"\n{URLS}', mode)
        with structlog.testing.capture_logs() as lines, pytest.raises(UnknownSecret):
            credentials(tmp_path).of(["key"])
        assert "chmod 600" in lines[0]["why"]
    (tmp_path / "credentials.toml").unlink()
    os.mkfifo(tmp_path / "credentials.toml")
    with structlog.testing.capture_logs() as lines, pytest.raises(UnknownSecret):
        credentials(tmp_path).of(["key"])
    assert "is no file" in lines[0]["why"]
