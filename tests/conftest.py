"""Fixtures for all tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import disks
import pytest
from hypothesis import settings

settings.register_profile("theater", deadline=None)  # a busy machine is no defect
settings.load_profile("theater")

# Hundreds of processes are started here: each would compile Theater anew where this is set.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_WITH_PROCESSES = ("build", "cli", "guest", "server", "wasm", "worker")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests are shared out among processes, the long files must not be what is left to the end."""
    items.sort(key=lambda item: item.path.parent.name not in _WITH_PROCESSES)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a short path, since there may be sockets in it, whose paths have at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="tt"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of one MiB; skips the test where none can be mounted."""
    disk = tmp_path / "small"
    disk.mkdir()
    disks.mount(disk, 1 << 20)
    try:
        yield disk
    finally:
        disks.unmount(disk)
