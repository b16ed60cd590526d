"""Small disks, for tests of what happens when one is full."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


def mount(folder: Path, size: int) -> None:
    """Mounts a disk of `size` bytes at `folder`; skips the test where that cannot be done."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")


def unmount(folder: Path) -> None:
    """Takes the disk away, also if somebody still uses it."""
    subprocess.run(["umount", "-l", str(folder)], check=True)
