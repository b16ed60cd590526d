"""A command line with a home of its own, and scripted servers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from commandline import Scripted, Theater


@pytest.fixture
def theater(tmp_path_factory: pytest.TempPathFactory) -> Theater:
    """The command line with an empty home and no server."""
    return Theater(tmp_path_factory.mktemp("h"))


@pytest.fixture
def serve(theater: Theater) -> Iterator[Callable[[], Scripted]]:
    """Starts scripted servers on the home of `theater`, and ends them."""
    with ExitStack() as stack:

        def start() -> Scripted:
            scripted = Scripted.on(theater)
            stack.callback(scripted.close)
            return scripted

        yield start


@pytest.fixture
def server(serve: Callable[[], Scripted]) -> Scripted:
    """A scripted server."""
    return serve()
