"""Ed25519 (RFC 8032), for the texts that a server signs: checkpoints, and statements about what was dropped. Pure.

The library is imported late: what a worker loads knows such texts, but nothing of it signs or checks one.
"""

from __future__ import annotations

from typing import Protocol


class Signs(Protocol):
    """Who can sign a text; each kind of text has a first line of its own, so that none can be taken for another."""

    public: bytes

    def sign_text(self, text: bytes) -> bytes:
        """The signature over a text, 64 bytes."""


def is_signed(key: bytes, text: bytes, signature: bytes) -> bool:
    """Whether the signature is that of a public key over a text."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True
