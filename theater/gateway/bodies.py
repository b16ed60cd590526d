"""The body of a response, read up to a bound that counts what it becomes when it is decoded.

`gzip` and `deflate` are asked for and decoded here, a step at a time, so that a small body that becomes a huge one
costs neither memory nor others' time.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Any, Final

from theater.core.quantities import MIB, show_size
from theater.errors import InvalidInput, LimitExceeded

ACCEPTED: Final = "gzip, deflate"

_STEP: Final = MIB
_GZIP: Final = 16 + zlib.MAX_WBITS
_MAGIC: Final = b"\x1f\x8b"
_CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})


def is_decoded(coding: str) -> bool:
    """Whether a `content-encoding` is one that `read` decodes."""
    return coding in _CODINGS


async def read(chunks: AsyncIterator[bytes], coding: str, most: int, whose: str) -> bytes:
    """A whole body.

    Args:
        chunks: of it, as they come.
        coding: the `content-encoding`, in lower case.
        most: bytes, decoded.
        whose: what it answers, for sentences.

    Raises:
        LimitExceeded: it has more.
        InvalidInput: it is not what its coding says.
    """
    decoder = _Decoder(coding, whose) if is_decoded(coding) else None
    body = bytearray()
    async for chunk in chunks:
        if decoder is None:
            body += chunk
        else:
            decoder.feed(chunk)
            while (step := decoder.step()) and len(body) <= most:
                body += step
                if len(step) == _STEP:
                    await asyncio.sleep(0)
        if len(body) > most:
            raise too_large(whose, most)
    if decoder is not None:
        decoder.end()
    return bytes(body)


def too_large(whose: str, most: int) -> LimitExceeded:
    """The error about a body over the bound."""
    return LimitExceeded(f"the response to {whose} is larger than {show_size(most)} (max_response)")


class _Decoder:
    """Undoes one coding."""

    def __init__(self, coding: str, whose: str) -> None:
        self._coding = coding
        self._whose = whose
        self._rest = b""
        self._engine: Any = None
        self._parts = 0

    def feed(self, chunk: bytes) -> None:
        self._rest += chunk

    def step(self) -> bytes:
        """The next bytes, at most `_STEP`; none when there are none in what was fed."""
        while self._engine is not None or self._begins():
            try:
                made: bytes = self._engine.decompress(self._rest, _STEP)
            except zlib.error as error:
                raise self._broken(str(error)) from None
            self._rest = self._engine.unconsumed_tail
            if self._engine.eof:
                self._rest, self._engine = self._engine.unused_data, None
                self._parts += 1
            elif not made:
                return b""
            if made:
                return made
        return b""

    def end(self) -> None:
        """Raises InvalidInput if more had to come."""
        if self._engine is not None or (self._rest and not self._parts):
            raise self._broken("it ends in the middle")

    def _begins(self) -> bool:
        """Begins the next part, if there is one: gzip may have several, and what follows the last is padding."""
        if len(self._rest) < 2:
            return False
        if self._coding != "deflate":
            if self._parts and not self._rest.startswith(_MAGIC):
                return False
            self._engine = zlib.decompressobj(_GZIP)
        elif not self._parts:
            # The standard says zlib; some servers leave out its header.
            is_zlib = self._rest[0] & 0x0F == 8 and int.from_bytes(self._rest[:2], "big") % 31 == 0
            self._engine = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        return self._engine is not None

    def _broken(self, why: str) -> InvalidInput:
        return InvalidInput(f"the response to {self._whose} is not {self._coding} as it says: {why}")
