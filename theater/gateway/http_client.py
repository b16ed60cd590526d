"""The http client: sends what an actor asks for, as far as its manifest grants it, and gives back what came.

What may be sent is decided in theater/core/http_exchange.py, for the request and again for each redirect; to which
addresses, in dialling.py for each connection. Credentials are added here, behind the record of the actor, and hidden in
all that goes back: response and errors. A request ends with the call that made it: when its time is over, and when the
life does that asked for it.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from theater.core.addresses import refusal
from theater.core.handlers import HTTP_CLIENT_SEND
from theater.core.http_exchange import REDIRECTED, Outgoing, is_redirect, outgoing, redirected
from theater.core.permissions.http_client import HttpClient
from theater.core.quantities import show, show_duration
from theater.core.secrets import Veil
from theater.errors import InvalidInput, LimitExceeded, NoServer, TheaterError, TimedOut
from theater.gateway import bodies, dialling
from theater.gateway.credentials import Credential, Credentials, added, veil
from theater.gateway.dialling import Lookup
from theater.gateway.lent_files import Opened, opened_directly
from theater.log import Logger
from theater.service.admitted import Admitted
from theater.service.office import Operation

Response = dict[str, Any]
"""WIT `http-response`."""

_OF_CONNECTION: Final = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
_OF_CODING: Final = frozenset({"content-encoding", "content-length"})
_AGENT: Final = ("user-agent", "theater")


class Sender:
    """The http client of one life.

    Args:
        permissions: what its manifest grants.
        credentials: those of the server.
        lookup: finds addresses of names.
        tls: makes what servers are proven by.
    """

    def __init__(
        self,
        permissions: HttpClient,
        credentials: Credentials,
        lookup: Lookup,
        tls: Callable[[], Any] = dialling.tls,
    ) -> None:
        self._permissions = permissions
        self._allow = permissions.patterns()
        self._grants = permissions.grants()
        self._credentials = credentials
        self._lookup = lookup
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Any, seconds: float) -> Response:
        """Sends a request and waits for its response, whole.

        Args:
            request: WIT `http-request`.
            seconds: that the caller waits.

        Raises:
            TheaterError: there is no response, or none that the actor may have.
        """
        credentials = self._credentials.of(self._permissions.credentials)
        hidden = veil(credentials)
        limit = self._permissions.timeout / 1000
        try:
            wanted = outgoing(request, self._allow, self._permissions.max_request)
            try:
                async with asyncio.timeout(max(0.0, min(limit, seconds))):
                    response = await self._follow(wanted, credentials)
            except TimeoutError:
                waited = show_duration(round(min(limit, seconds) * 1000))
                raise TimedOut(f"{wanted.what} had no whole response within {waited}") from None
        except TheaterError as error:
            raise error if hidden is None else type(error)(hidden.redact(error.message)) from None
        return response if hidden is None else _redacted(response, hidden)

    async def close(self) -> None:
        """Lets go of all connections."""
        if self._session is not None:
            await self._session.close()

    async def _follow(self, wanted: Outgoing, credentials: Sequence[Credential]) -> Response:
        seen = [wanted]
        while True:
            async with await self._respond(wanted, credentials) as response:
                location = response.headers.get("location")
                if not is_redirect(response.status) or location is None or self._permissions.redirects == 0:
                    return await self._taken(wanted, response, seen[1:], bool(credentials))
            if len(seen) > self._permissions.redirects:
                raise LimitExceeded(f"{seen[0].what} is redirected more than {self._permissions.redirects} times")
            wanted = redirected(wanted, response.status, location, self._allow)
            if any((wanted.method, wanted.url) == (each.method, each.url) for each in seen):
                raise LimitExceeded(f"{seen[0].what} is redirected in a loop, to {wanted.url} again")
            seen.append(wanted)

    async def _respond(self, wanted: Outgoing, credentials: Sequence[Credential]) -> aiohttp.ClientResponse:
        url = wanted.url
        if url.address is not None and (kind := refusal(url.address, url.port, self._grants)) is not None:
            raise dialling.refused(str(url.address), kind, url.port, url.host)
        headers = CIMultiDict(added(wanted, credentials))
        headers["accept-encoding"] = bodies.ACCEPTED
        headers.setdefault(*_AGENT)
        try:
            return await self._connections().request(
                wanted.method,
                URL(str(url), encoded=True),
                headers=headers,
                data=wanted.body,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(wanted, error) from None

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = dialling.session(self._lookup, self._grants, self._tls())
        return self._session

    async def _taken(
        self, wanted: Outgoing, response: aiohttp.ClientResponse, hops: Sequence[Outgoing], is_guarded: bool
    ) -> Response:
        """What an actor gets of a response."""
        coding = response.headers.get("content-encoding", "").strip().lower()
        if coding == "identity":
            coding = ""
        if coding and is_guarded and not bodies.is_decoded(coding):
            raise InvalidInput(f"{wanted.what} is answered in the coding {show(coding)}; allowed: gzip, deflate, none")
        most = self._permissions.max_response
        length = response.content_length
        bodiless = wanted.method == "HEAD" or response.status in (204, 304)
        if length is not None and length > most and not bodiless:
            response.close()
            raise bodies.too_large(wanted.what, most)
        body: bytes | None = None
        if not bodiless:
            try:
                body = await bodies.read(response.content.iter_any(), coding, most, wanted.what)
            except (aiohttp.ClientError, OSError) as error:
                raise _failure(wanted, error) from None
            except TheaterError:
                response.close()
                raise
        gone = _OF_CONNECTION | (_OF_CODING if body is not None and bodies.is_decoded(coding) else frozenset())
        headers = [(_text(name).lower(), _text(value)) for name, value in response.raw_headers]
        headers = [(name, value) for name, value in headers if name not in gone and name != REDIRECTED]
        headers += [(REDIRECTED, hop.what) for hop in hops]
        return {"status": response.status, "headers": headers, "body": body}


class HttpClientDesk:
    """The http clients of all lives.

    Args:
        home: the home's folder, where the credentials are.
        opened: how their files are opened.
    """

    def __init__(self, home: Path, log: Logger, opened: Opened = opened_directly) -> None:
        self._credentials = Credentials(home, os.environ, log, opened)
        self._senders: dict[Admitted, Sender] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._tls = functools.cache(dialling.tls)  # Reading all authorities takes a while.

    @property
    def ops(self) -> Mapping[str, Operation]:
        return {HTTP_CLIENT_SEND: self._send}

    async def _send(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        sender = self._senders.get(life)
        if sender is None:
            raise InvalidInput(f"the manifest of {life.name} does not grant requests to the network")
        return await sender.send(args[0], deadline - time.monotonic())

    def admitted(self, life: Admitted) -> None:
        granted = life.permissions.get("http-client")
        if isinstance(granted, HttpClient):
            self._senders[life] = Sender(granted, self._credentials, dialling.system_lookup(), self._tls)

    def dismissed(self, life: Admitted, for_good: bool) -> None:
        sender = self._senders.pop(life, None)
        if sender is not None:
            task = asyncio.get_running_loop().create_task(sender.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        senders, self._senders = list(self._senders.values()), {}
        await asyncio.gather(*(sender.close() for sender in senders), *self._ending, return_exceptions=True)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _redacted(response: Response, hidden: Veil) -> Response:
    body = response["body"]
    headers = [(hidden.redact(name), hidden.redact(value)) for name, value in response["headers"]]
    return {**response, "headers": headers, "body": None if body is None else hidden.redact_bytes(body)}


def _failure(wanted: Outgoing, error: aiohttp.ClientError | OSError) -> TheaterError:
    """What went wrong with the network, in a sentence."""
    what, where = wanted.what, wanted.url.authority
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return InvalidInput(
                f"{what}: the certificate of {where} is not to be trusted: {_why(error.certificate_error)}"
            )
        case aiohttp.ClientConnectorSSLError():
            return NoServer(f"{what}: {where} and the gateway cannot agree on TLS: {_why(error.os_error)}")
        case aiohttp.ClientConnectorDNSError():
            return NoServer(f"{what}: the name {wanted.url.host} has no address: {_why(error.os_error)}")
        case aiohttp.ClientConnectorError():
            return NoServer(f"{what}: cannot connect to {where}: {_why(error.os_error)}")
        case aiohttp.ClientPayloadError():
            return NoServer(f"{what}: {where} ended the connection in the middle of its response")
        case aiohttp.ServerDisconnectedError():
            return NoServer(f"{what}: {where} ended the connection without a response")
        case aiohttp.ClientResponseError():
            return InvalidInput(f"{what}: what {where} answers is not HTTP that can be read: {show(error.message)}")
        case _:
            return NoServer(f"{what}: the connection to {where} failed: {_why(error)}")


def _why(error: BaseException) -> str:
    said = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(said).split()) or type(error).__name__
