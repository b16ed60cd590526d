"""How values become the bytes that cross the boundary.

A codec is anything with `encode(value) -> bytes` and `decode(data) -> value`; `decode` raises `Error` for bytes that
it does not understand, since those come from somebody else.
"""

import json
import re
from array import array
from itertools import accumulate
from typing import Any, NoReturn

from theater.errors import Error

MAX_DEPTH = 256
"""Lists and objects within each other. The parser recurses on the stack of the sandbox, where an overflow is a crash
and not an exception, so that a few thousand brackets from anybody would end the actor."""

_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_STEPS = bytes(1 if byte in b"[{" else 255 for byte in range(256))
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# The C halves of json's decoder and encoder, made once. What json does around them for each text takes twice as long as
# they do on a small one, and an actor reads and writes two texts in every call: message and state.
_decoder = json.JSONDecoder(parse_constant=_refuse)
_scan = _decoder.scan_once
_open_containers: dict[int, Any] = {}
_chunks = json.encoder.c_make_encoder(
    _open_containers,
    json.JSONEncoder().default,
    json.encoder.encode_basestring_ascii,
    None,  # no indent
    ":",
    ",",
    False,  # keys in the order of the dict
    False,  # no key is skipped
    False,  # no NaN
)


class Json:
    """Values as JSON: None, bool, int, float, str, list, and dict with str keys."""

    @staticmethod
    def encode(value: Any) -> bytes:
        """The JSON text of `value`, in ASCII.

        Raises:
            TypeError, ValueError: JSON has no such value. That is a defect of the actor, so it is no `Error`.
        """
        try:
            return "".join(_chunks(value, 0)).encode()
        except BaseException:
            # It would take what it had open when it failed for a circle the next time.
            _open_containers.clear()
            raise

    @staticmethod
    def decode(data: bytes) -> Any:
        """The value that a JSON text stands for.

        Raises:
            Error: `data` is not UTF-8, not JSON, or nested deeper than `MAX_DEPTH`.
        """
        try:
            if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
                _check_depth(data)
            return _parsed(data.decode())
        except ValueError as error:
            raise Error(f"this is not JSON: {error}") from None


class Raw:
    """Bytes as they are."""

    @staticmethod
    def encode(value: bytes) -> bytes:
        return bytes(value)

    @staticmethod
    def decode(data: bytes) -> bytes:
        return data


def _parsed(text: str) -> Any:
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except StopIteration:
        pass
    # White space around the value, or an error, whose place this finds.
    return _decoder.decode(text)


def _check_depth(data: bytes) -> None:
    """Raises ValueError if brackets outside of strings are nested too deeply.

    Only texts with many brackets come here. Everything runs inside C functions and in time linear in the size of the
    text, also for a text made to be slow: the pattern never backtracks, and takes a string that does not end as one.
    """
    brackets = _STRINGS.sub(b"", data).translate(None, _NO_BRACKETS)
    depths = accumulate(array("b", brackets.translate(_STEPS)))
    if max(depths, default=0) > MAX_DEPTH:
        raise ValueError(f"lists and objects are nested deeper than {MAX_DEPTH}")
