"""What is no request, and what takes too long or too much: refused by a status, and soon.

The fast actor answers everything with 200, so whatever is not refused shows. It says how many requests have reached it
in its chain.
"""

from __future__ import annotations

import pytest
from house import House, eventually
from web import Line, Web, request

HOST = b"Host: a\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
GET = b"GET / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"

REFUSED = {
    "length and chunks": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 4, 4\r\n\r\nabcd",
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "a length twice": POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "a length with a sign": POST + b"Content-Length: +4\r\n\r\nabcd",
    "a negative length": POST + b"Content-Length: -4\r\n\r\n",
    "a hexadecimal length": POST + b"Content-Length: 0x4\r\n\r\nabcd",
    "a length with an underscore": POST + b"Content-Length: 1_0\r\n\r\nabcdabcdab",
    "an empty length": POST + b"Content-Length: \r\n\r\n",
    "an endless length": POST + b"Content-Length: 99999999999999999999999999\r\n\r\n",
    "a folded header": GET + b"A: b\r\n c\r\n\r\n",
    "a folded first header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare line feed in the headers": b"GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: a\rA: b\r\n\r\n",
    "NUL in a value": GET + b"A: b\0c\r\n\r\n",
    "NUL in a name": GET + b"A\0: b\r\n\r\n",
    "NUL in the path": b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a control character in a value": GET + b"A: \x01\r\n\r\n",
    "a space before a colon": POST + b"Content-Length : 4\r\n\r\nabcd",
    "a header without a name": GET + b": b\r\n\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding after chunked": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a coding before chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding behind a control character": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a line feed in a chunk's extension": CHUNKED + b"\r\n4;a\nb\r\nabcd\r\n0\r\n\r\n",
    "chunks with bare line feeds": CHUNKED + b"\r\n4\nabcd\n0\n\n",
    "a chunk with a prefix": CHUNKED + b"\r\n0x4\r\nabcd\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"\r\n-4\r\nabcd\r\n0\r\n\r\n",
    "a chunk that is longer than it says": CHUNKED + b"\r\n4\r\nabcdXX\r\n0\r\n\r\n",
    "two hosts": GET + HOST + b"\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a host with a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a host with a user": b"GET / HTTP/1.1\r\nHost: me@a\r\n\r\n",
    "another host in the target": b"GET http://b/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target that is no path": b"GET a HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tunnel": b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "an unknown version": b"GET / HTTP/1.2\r\n" + HOST + b"\r\n",
    "an old version": b"GET /\r\n\r\n",
    "a later version": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "bytes in the target": b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "an unknown method": b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    "an escape of nothing": b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n",
    "an escaped NUL": b"GET /a%00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "escapes that are not UTF-8": b"GET /%ff HTTP/1.1\r\n" + HOST + b"\r\n",
}
LARGE = {
    "a long line": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a long header": GET + b"A: " + b"x" * 40_000 + b"\r\n\r\n",
    "many headers": GET + b"".join(b"A%d: b\r\n" % number for number in range(2000)) + b"\r\n",
    "a head of some headers": GET + b"".join(b"A%d: " % at + b"x" * 8000 + b"\r\n" for at in range(3)) + b"\r\n",
}
QUICK = 'head_timeout = "500ms"\nbody_timeout = "500ms"\nidle_timeout = "1s"\nmax_body = "100KiB"\nconnections = 20'


@pytest.fixture(scope="module")
def plain(house: House) -> Web:
    return Web.started(house, "plain", 'listen = ["127.0.0.1:*"]', fast=True)


@pytest.fixture(scope="module")
def strict(house: House) -> Web:
    return Web.started(house, "strict", QUICK, fast=True)


def calls(web: Web) -> int:
    """How many entries the actor's chain has: each request that reaches it makes two."""
    return web.house.client.inspect(web.name).row.entries


@pytest.mark.parametrize("what", REFUSED)
def test_what_another_server_may_read_differently_is_refused(plain: Web, what: str) -> None:
    """And nothing that follows it on the connection is taken for a request."""
    before = calls(plain)
    with plain.line() as line:
        line.send(REFUSED[what] + (GET + b"\r\n" if "escape" not in what else b""))
        answer = line.answer()
        assert answer.status in (400, 0), answer
        assert "escape" in what or line.is_closed()
    assert calls(plain) == before


def test_the_extension_of_a_chunk_is_skipped(plain: Web) -> None:
    with plain.line() as line:
        assert line.send(CHUNKED + b'\r\n4;a="b"\r\nabcd\r\n0\r\n\r\n').answer().status == 200
        assert line.send(GET + b"\r\n").answer().status == 200


@pytest.mark.parametrize("what", LARGE)
def test_a_head_that_is_too_large_is_refused(plain: Web, what: str) -> None:
    before = calls(plain)
    with plain.line() as line:
        try:
            line.send(LARGE[what])
        except ConnectionError:
            pass  # It was refused before it was sent.
        assert line.answer().status in (400, 431, 0)
    assert calls(plain) == before


def test_a_head_that_never_ends_is_refused_by_its_size(plain: Web) -> None:
    with plain.line() as line:
        line.send(GET)
        sent = 0
        try:
            while sent < 100_000:
                line.send(b"A: " + b"x" * 500 + b"\r\n")
                sent += 1
        except ConnectionError:
            pass
        assert sent < 100_000


def test_a_body_is_refused_by_its_length_before_it_is_read(plain: Web) -> None:
    """A thousand of them are."""
    gigabyte = POST + b"Content-Length: 1073741824\r\n\r\n"
    for _ in range(100):
        with plain.line() as line:
            answer = line.send(gigabyte + b"x" * 1000).answer()
            assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_a_body_of_a_gigabyte_is_refused_while_it_is_sent(house: House) -> None:
    """Against a limit of 10 MB, in chunks without a length: no more than that is ever kept."""
    web = Web.started(house, "large", 'max_body = "10MiB"', fast=True, limits='message = "16MiB"\n')
    megabyte = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    sent = 0
    with web.line() as line:
        line.send(CHUNKED + b"\r\n")
        try:
            while sent < 1024:
                line.send(megabyte)
                sent += 1
        except OSError:
            pass
        assert line.answer().status in (413, 0)
    assert resident(house.service("gateway")) < 300 << 20
    assert web.get("/").status == 200


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_chunked_body_is_bounded_too(strict: Web) -> None:
    with strict.line() as line:
        answer = line.send(CHUNKED + b"\r\n" + b"8000\r\n" + b"x" * 32768 + b"\r\n").send(
            (b"8000\r\n" + b"x" * 32768 + b"\r\n") * 3
        )
        assert answer.answer().status == 413


def test_a_head_that_comes_slowly_is_refused_by_its_time(strict: Web) -> None:
    with strict.line() as line:
        line.send(b"GET / HT")
        assert line.answer().status == 408
        assert line.is_closed()


def test_who_says_nothing_is_hung_up_on(strict: Web) -> None:
    with strict.line() as line:
        assert line.answer().status in (408, 0)
        assert line.is_closed()


def test_a_body_that_comes_slowly_is_refused_by_its_time(strict: Web) -> None:
    with strict.line() as line:
        assert line.send(POST + b"Content-Length: 4\r\n\r\nab").answer().status == 408
        assert line.is_closed()


def test_an_idle_connection_is_closed(strict: Web) -> None:
    with strict.line() as line:
        assert line.send(GET + b"\r\n").answer().status == 200
        assert line.is_closed()


def test_one_connection_too_many_is_told_to_come_later(strict: Web) -> None:
    lines = [strict.line() for _ in range(20)]
    try:
        for line in lines:
            assert line.send(GET + b"\r\n").answer().status == 200
        with strict.line() as line:
            answer = line.send(GET + b"\r\n").answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    finally:
        for line in lines:
            line.socket.close()
    eventually(lambda: strict.get("/").status == 200)


def test_slow_clients_hold_up_nobody(house: House) -> None:
    """200 that send a byte now and then, while others ask."""
    web = Web.started(house, "slowed", 'head_timeout = "60s"', fast=True)
    slow = [Line(web.port).send(b"GET / HTTP/1.1\r\nA: ") for _ in range(200)]
    try:
        for number in range(100):
            for line in slow[:: 10 + number % 3]:
                line.send(b"x")
            assert web.get("/").status == 200
    finally:
        for line in slow:
            line.socket.close()


def test_who_reads_no_answers_is_cut_off_and_holds_up_nobody(house: House) -> None:
    web = Web.started(house, "unread", 'idle_timeout = "1s"')
    with web.line() as line:
        line.socket.setsockopt(1, 8, 4096)  # SO_RCVBUF: little fits on the way.
        line.send(request("GET", "/big?n=900000") * 30)
        assert web.get("/hello/x").status == 200

        def is_cut() -> bool:
            try:
                line.send(b"G")
            except ConnectionError:
                return True
            return False

        eventually(is_cut, "the connection is cut")
