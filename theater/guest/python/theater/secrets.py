"""Secrets: what the manifest names under `[secrets]`, and what the record has only the names of."""

from theater._host import ask, interface

_secrets = interface("secrets")


def secret(name: str) -> bytes:
    """The value of a secret. In the chain, the log and the kept state its name stands wherever it is written.

    Raises:
        CallFailed: the manifest names no such secret, or the host does not allow it.
    """
    return ask(_secrets.get, name)
