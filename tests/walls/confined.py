"""Runs a piece of Python in a process of its own, which may give up whatever it likes."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import Any

_PRELUDE = """
import ctypes, errno, json, os, socket, struct
from theater.walls import kernel, landlock, namespaces, privileges, resources, rooms, seccomp, standing
from theater.walls.landlock import Right
from theater.walls.syscalls import NUMBERS

def tried(action):
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
"""


@dataclass(frozen=True)
class Confined:
    """How it ended.

    Args:
        status: exit status; the negative number of the signal that ended it.
        said: the value that it gave to `say`, if it did.
    """

    status: int
    said: Any


def confined(code: str) -> Confined:
    """Runs `code`, which may call `tried(action)` and `say(value)`."""
    say = "def say(value): print(json.dumps(value), flush=True)\n"
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + say + textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert done.returncode <= 0, done.stderr
    return Confined(done.returncode, json.loads(lines[-1]) if lines else None)
