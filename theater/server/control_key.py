"""The key by which clients elsewhere know a server: made once, at the first start that lets anybody in from elsewhere.

    control-key        the secret, 64 hexadecimal digits and a line feed, mode 0600
    control-key.pub    the public key, in the same form; clients have to have it

It is another one than the home's `key` (theater/chainlog/keys.py), which signs and lets nobody in. Whoever has this one
can pass for the server; a damaged one is not replaced by itself, since every client would have to be told.
"""

from __future__ import annotations

import os
from pathlib import Path

from theater.config import Home
from theater.core.curve import KEY_SIZE, public_of, read_key
from theater.durable import replace
from theater.errors import IntegrityError, disk_error


def open_control_key(home: Home) -> bytes:
    """The secret key of a home's server; it is made if there is none.

    Raises:
        IntegrityError: the key is damaged, or cannot be read.
        DiskFull: there is no room for a new one.
    """
    secret = _read(home.control_key)
    if secret is None:
        secret = os.urandom(KEY_SIZE)
        _write(home.control_key, secret, 0o600)
    public = public_of(secret)
    if _read(home.public_control_key) != public:
        _write(home.public_control_key, public, 0o644)
    return secret


def public_control_key(home: Home) -> bytes | None:
    """The public key of a home's server; None if it has never let anybody in from elsewhere.

    Raises:
        IntegrityError: the file is damaged.
    """
    return _read(home.public_control_key)


def _read(path: Path) -> bytes | None:
    try:
        text = path.read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, f"reading the key {path}") from error
    key = read_key(text.removesuffix("\n"))
    if key is None:
        raise IntegrityError(f"{path} is no key: it does not hold 64 hexadecimal digits")
    return key


def _write(path: Path, key: bytes, mode: int) -> None:
    try:
        replace(path, f"{key.hex()}\n".encode(), mode=mode)
    except OSError as error:
        raise disk_error(error, f"writing the key {path}") from error
