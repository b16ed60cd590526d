"""An actor in WebAssembly's text format: assembled, and checked, in milliseconds."""

from __future__ import annotations

from pathlib import Path

from theater.build.progress import Progress
from theater.core.manifest import Build
from theater.errors import BuildFailed
from theater.wasm.assemble import assemble


def build(project: Path, wish: Build, progress: Progress) -> bytes:
    """The component of a source in the text format.

    Raises:
        BuildFailed: the source cannot be read, or is no component; with file, line and column.
    """
    path = project / wish.source
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BuildFailed(f"{wish.source}: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise BuildFailed(f"cannot read {path}, which [build] source names: {error.strerror}") from error
    return assemble(text, wish.source)
