"""Granted folders without an actor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from theater.core.permissions.filesystem import Filesystem
from theater.host.folders import Folders
from theater.worker.folders import open_folders

ACTOR = "11111111-1111-4111-8111-111111111111"


def granted(
    beside: Path,
    *,
    durability: str = "process",
    before_change: Callable[[], object] = lambda: None,
    remaining: Callable[[], float | None] = lambda: None,
    home: str = "/nowhere/home",
    where: str | None = None,
    **permissions: Any,
) -> Folders:
    """What a life with these permissions has whose manifest is in the folder `beside`."""
    manifest = str(beside / "manifest.toml") if where is None else where
    assignment: Any = SimpleNamespace(
        actor=ACTOR, durability=durability, content=f"{home}/content", where=manifest, incarnation=1
    )
    return open_folders(assignment, Filesystem(**permissions), before_change, remaining)
