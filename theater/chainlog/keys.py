"""The key of a home: what its server signs checkpoints with, and what others know it by.

    key        the secret, 64 hexadecimal digits and a line feed, mode 0600; read by the server, and by whoever drops
               old entries and signs for that (theater/server/upkeep.py)
    key.pub    the public key, in the same form; whoever gets a copy of the home gets this one

The server makes them at its first start and never sends the secret anywhere. Without the secret it makes a new one,
since a server that does not start proves nothing either; what was signed before stays signed by the old key, and says
so.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from theater.config import Home
from theater.core.signed_checkpoint import SEED_SIZE, Signer
from theater.durable import replace
from theater.errors import IntegrityError, InvalidInput, disk_error

_FORM = re.compile(r"[0-9a-f]{64}\n?", re.ASCII)


def open_signer(home: Home) -> Signer:
    """Who signs for a home; its key is made if there is none.

    Raises:
        IntegrityError: the key is damaged.
        DiskFull: there is no room for a new one.
    """
    seed = _read(home.key)
    if seed is None:
        seed = os.urandom(SEED_SIZE)
        _write(home.key, seed, 0o600)
    signer = Signer(seed)
    if _read(home.public_key) != signer.public:
        _write(home.public_key, signer.public, 0o644)
    return signer


def known_signer(home: Home) -> Signer | None:
    """Who signs for a home, if its secret is here; none is made.

    Raises:
        IntegrityError: the key is damaged.
    """
    seed = _read(home.key)
    return Signer(seed) if seed is not None else None


def public_key(home: Home) -> bytes | None:
    """The public key of a home; None if its server has never made one.

    Raises:
        IntegrityError: the file is damaged.
    """
    return _read(home.public_key)


def given_key(words: str) -> bytes:
    """The public key that a user means: its 64 digits, or a file that holds them.

    Raises:
        InvalidInput: it is neither.
    """
    if _FORM.fullmatch(words):
        return bytes.fromhex(words)
    try:
        found = _read(Path(words))
    except IntegrityError as error:
        raise InvalidInput(str(error)) from error
    if found is None:
        raise InvalidInput(f"{words!r} is no key: neither 64 hexadecimal digits in lower case, nor a file with them")
    return found


def _read(path: Path) -> bytes | None:
    try:
        text = path.read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, f"reading the key {path}") from error
    if not _FORM.fullmatch(text):
        raise IntegrityError(f"{path} is no key: it does not hold 64 hexadecimal digits")
    return bytes.fromhex(text)


def _write(path: Path, key: bytes, mode: int) -> None:
    """Writes a key so that a power cut leaves the whole of it or nothing."""
    try:
        replace(path, f"{key.hex()}\n".encode(), mode=mode)
    except OSError as error:
        raise disk_error(error, f"writing the key {path}") from error
