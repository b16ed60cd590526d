"""Every actor has randomness of its own, and the record knows it.

A program is loaded once and copied for each of its actors. A generator seeded before would give all of them one
sequence, and an actor the same one in each life. So until a life begins nothing is drawn from the host, and its first
call seeds every generator from the host, whose answers the chain records.
"""

import os
import random
from typing import Any

_SEED_BYTES = 32

asleep = True
"""Whether this life has not begun yet: its first call wakes it."""

_seed = random.Random.seed
_urandom = os.urandom
_unseeded = [random._inst]


def guard() -> None:
    """From now on, and until `wake`, generators that ask for a seed are remembered and anything else is refused.

    This also spares every chain the 2.5 KB of randomness that componentize-py would draw at the first call.
    """
    random.Random.seed = _guarded_seed
    random.seed = random._inst.seed
    os.urandom = random._urandom = _guarded_urandom


def wake() -> None:
    """Begins a life: seeds `random`, and every generator that the program made while it was loaded."""
    global asleep
    asleep = False
    for generator in _unseeded:
        generator.seed(_urandom(_SEED_BYTES))


def _guarded_seed(generator: random.Random, a: Any = None, version: int = 2) -> None:
    if asleep and a is None:
        a = 0
        if generator not in _unseeded:
            _unseeded.append(generator)
    _seed(generator, a, version)


def _guarded_urandom(size: int) -> bytes:
    if asleep:
        raise RuntimeError(
            "a program has no randomness while it is loaded, since all actors made from it would share it; "
            "ask for it in init"
        )
    return _urandom(size)
