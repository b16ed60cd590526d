"""Mail without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from exchange import Exchange


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    """A supervisor's ends of lines, and a folder."""
    made = Exchange(tmp_path)
    yield made
    made.close()
