"""Where the result of a build goes, and how it gets there: whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from theater.core.manifest import Manifest
from theater.errors import BuildFailed


def target(project: Path, manifest: Manifest, suffix: str) -> Path:
    """The file to write: what the manifest calls its component, else one named after the actor in `build`.

    Raises:
        BuildFailed: the component is content of the store, so there is nothing to build.
    """
    if manifest.component is None:
        return project / "build" / f"{manifest.name}.{suffix}"
    if manifest.component.startswith("store:"):
        raise BuildFailed(f"the component of {manifest.name} is {manifest.component}, so there is nothing to build")
    return project / manifest.component


def replace(path: Path, content: bytes) -> None:
    """Writes `content` beside `path` and then moves it there.

    Raises:
        BuildFailed: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.write_bytes(content)
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise BuildFailed(f"cannot write {path}: {error.strerror}") from error
