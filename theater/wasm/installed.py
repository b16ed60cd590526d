"""Which wasmtime is installed.

Each worker's ancestors ask that when they begin. importlib.metadata knows, but brings a reader of e-mails and one of
zip files along, which take longer to import than most of what a worker needs; so the name of the folder beside the
package is looked at first, which holds the version.
"""

from __future__ import annotations

import functools
import os
from importlib.util import find_spec
from typing import Final

_PREFIX: Final = "wasmtime-"
_SUFFIX: Final = ".dist-info"


@functools.cache
def wasmtime_version() -> str:
    """The version; wasmtime is not loaded for it.

    Raises:
        importlib.metadata.PackageNotFoundError: none is installed.
    """
    found = [name for name in _beside() if name.startswith(_PREFIX) and name.endswith(_SUFFIX)]
    if len(found) == 1:
        return found[0].removeprefix(_PREFIX).removesuffix(_SUFFIX)
    from importlib.metadata import version

    return version("wasmtime")


def _beside() -> list[str]:
    """The names in the folder in which the package lies."""
    spec = find_spec("wasmtime")
    if spec is None or spec.origin is None:
        return []
    try:
        return os.listdir(os.path.dirname(os.path.dirname(spec.origin)))
    except OSError:
        return []
