"""Facts of the machine and of what is installed, without which no figure says anything."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("theater", "wasmtime", "pyzmq", "msgpack", "blake3", "pykka", "thespian", "xoscar", "ray")


def facts() -> dict[str, Any]:
    """Cores, memory, processor, kernel, Python, versions."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "processor": _processor(),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "versions": {name: found for name in PACKAGES if (found := version(name)) is not None},
    }


def load() -> list[float]:
    """Load averages of the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def version(package: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
