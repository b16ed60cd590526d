"""One runner for all tests: from the machine's cache, where it is built and compiled if it is not there yet."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

import pytest
from loaded import Loaded
from recording_host import Answers, RecordingHost

from theater import config
from theater.build.compiled import ensure_compiled
from theater.build.runner import runner
from theater.wasm.artefacts import Artefact, ArtefactCache


@pytest.fixture(scope="session")
def artefact() -> Artefact:
    """The compiled runner."""
    component = runner(config.cache())
    compiled = config.cache() / "artefacts"
    ensure_compiled(compiled, component)
    found = ArtefactCache(compiled).find(component.stem, fuel=False)
    assert found is not None
    return found


@pytest.fixture
def load(artefact: Artefact) -> Callable[..., Loaded]:
    """Loads a program, source as text or texts by path, which may be indented as the test is."""

    def load(source: str | dict[str, str], answers: Answers | None = None) -> Loaded:
        texts = {"actor.py": source} if isinstance(source, str) else source
        modules = {path: dedent(text).lstrip("\n").encode() for path, text in texts.items()}
        return Loaded(artefact, RecordingHost(answers), modules)

    return load
