"""Keys that let somebody in: X25519 pairs, as CURVE has them (RFC 26 of ZeroMQ). Pure.

They sign nothing. The key that signs checkpoints (core/signatures.py) is another one, of another kind; neither can be
used in the place of the other. A key is 32 bytes and is written as 64 hexadecimal digits, since the Z85 that ZeroMQ
writes has characters that a shell understands.
"""

from __future__ import annotations

import re
from typing import Final

from theater.core.codec import content_digest

KEY_SIZE: Final = 32
"""Bytes of a key, secret or public."""

_FORM = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FINGERPRINT_DIGITS = 16


def public_of(secret: bytes) -> bytes:
    """The public key that belongs to a secret one of `KEY_SIZE` bytes."""
    # Its import takes longer than a command to a server of this machine, which needs no key.
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def read_key(text: str) -> bytes | None:
    """The key that `text` writes; None if it is no key."""
    return bytes.fromhex(text) if _FORM.fullmatch(text) else None


def fingerprint(public: bytes) -> str:
    """What a person compares, and a record names: the beginning of a public key's digest."""
    return content_digest(public).hex()[:_FINGERPRINT_DIGITS]
