"""Fixtures for all tests."""

from __future__ import annotations

import compileall
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import disks
import pytest
import ready_commands
from effort import effort
from hypothesis import settings

from theater.replay import guard

settings.register_profile("theater", deadline=None, max_examples=effort(40, 400))  # a busy machine is no defect
settings.load_profile("theater")

_ROOT = Path(__file__).parents[1]
_WITH_PROCESSES = ("build", "cli", "guest", "server", "wasm", "worker")


def pytest_configure(config: pytest.Config) -> None:
    """Hundreds of processes are started here, and not all of them may write down what they compile."""
    if not hasattr(config, "workerinput"):
        for package in ("theater", "cli"):
            compileall.compile_dir(_ROOT / package, quiet=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests are shared out among processes, the long files must not be what is left to the end."""
    items.sort(key=lambda item: item.path.parent.name not in _WITH_PROCESSES)


@pytest.fixture(scope="session", autouse=True)
def _replays_are_copies() -> None:
    """The processes that execute guests again are many, and import much (ready_commands.py)."""
    guard._child = ready_commands.replay_child


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
