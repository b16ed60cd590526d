"""Randomness of the handler `random`: seeded, if the manifest says so, and recorded call by call.

Python's own `random`, `secrets` and `uuid` work, too, and need no handler. Every function raises `CallFailed` when the
host refuses.
"""

from theater._host import ask, interface

_random = interface("random")


def random_bytes(length: int) -> bytes:
    """As many random bytes."""
    return ask(_random.random_bytes, length)


def between(least: int, most: int) -> int:
    """A number between two others, as `random-range` draws it."""
    return ask(_random.random_range, least, most)


def number() -> float:
    """A number from 0 up to, but not including, 1."""
    return ask(_random.random_float)


def uuid() -> str:
    """A random UUID as text."""
    return ask(_random.generate_uuid)
