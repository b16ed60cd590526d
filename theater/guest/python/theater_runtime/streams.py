"""Standard output and error, which the host keeps as the actor's log: one write for each line.

Python is started unbuffered inside the component, where every piece of a `print` would be a host call with its own
entry in the chain. These streams write whole lines, and what is left of one at the end of a call.
"""

import io
import sys
from typing import TextIO


def _lines(descriptor: int) -> TextIO:
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", newline="\n", line_buffering=True
    )


_out = _lines(1)
_err = _lines(2)


def install() -> None:
    """Replaces `sys.stdout` and `sys.stderr`."""
    sys.stdout = sys.__stdout__ = _out
    sys.stderr = sys.__stderr__ = _err


def flush() -> None:
    """Writes what is left of unfinished lines."""
    _out.flush()
    _err.flush()
