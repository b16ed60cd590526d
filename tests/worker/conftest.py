"""Mail without a server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from exchange import Exchange


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """A supervisor's ends of lines, and a folder."""
    folder = Path(tempfile.mkdtemp(prefix="tx"))
    made = Exchange(folder)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)
