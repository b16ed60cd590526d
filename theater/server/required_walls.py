"""Whether all walls can be put around workers, asked before anything is opened: some servers are to have no less."""

from __future__ import annotations

import subprocess
import sys

from theater.errors import WallMissing
from theater.walls import privileges
from theater.walls.standing import Standing, Wall, namespaces, offered

_PATIENCE_S = 20.0
_LEAVE = "from theater.walls.namespaces import leave_the_network as leave; print(leave() or '', end='')"


def require_all() -> None:
    """Does nothing where every wall can stand.

    Raises:
        WallMissing: one cannot, and why.
    """
    refuse_what_is_missing(Standing((*offered().walls, _namespaces())))


def refuse_what_is_missing(found: Standing) -> None:
    """Raises `WallMissing` unless all of these stand."""
    if found.missing:
        raise WallMissing(f"--require-walls, and not all stand: {found.complaint()}")


def stop_speculating() -> None:
    """Turns off speculation that has leaked memory, for this process and all that it will start.

    Raises:
        WallMissing: the processor, or how the kernel was booted, leaves no choice.
    """
    if not privileges.stop_speculating():
        raise WallMissing(
            "--speculation-controls, and a process cannot turn speculation off here: the processor does not need it, "
            "or the kernel was booted without (spec_store_bypass_disable=prctl spectre_v2_user=prctl lets it)"
        )


def _namespaces() -> Wall:
    """Asked in a process of its own, for the answer changes whoever asks."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _LEAVE], capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return namespaces(f"it could not be tried: {error}")
    return namespaces(done.stdout or None)
