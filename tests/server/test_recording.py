"""The chain that stands in tests/core/vectors/recorded.json is what its actor does, on this machine as well."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
import wasmtime
from recording import RECORDED, SOURCE, record

from theater import config
from theater.chainlog import ChainReader, verify_chain
from theater.config import Home
from theater.core.chain import SNAPSHOT, Lifecycle, Outcome
from theater.core.codec import content_digest
from theater.replay.home import replay_home
from theater.store.content import ContentStore

NOTED = json.loads(RECORDED.read_text())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with the recorded chain, and what it refers to."""
    home = Home(tmp_path / "home").create()
    store = ContentStore(home.content)
    for digest, content in NOTED["content"].items():
        assert store.put(bytes.fromhex(content)) == digest
    chain = home.chain(NOTED["actor"])
    chain.parent.mkdir()
    chain.write_bytes(bytes.fromhex(NOTED["chain"]))
    return home


def test_it_is_the_chain_of_that_component(home: Home) -> None:
    verdict = verify_chain(home.chain(NOTED["actor"]), actor=NOTED["actor"], content=ContentStore(home.content))
    assert (verdict.ok, verdict.entries, verdict.head) == (True, NOTED["entries"], NOTED["head"])
    with ChainReader(home.chain(NOTED["actor"])) as reader:
        payloads = [entry.read() for entry in reader.read(1000)]
    wasm = wasmtime.wat2wasm(SOURCE.read_text())
    assert payloads[0].component == content_digest(bytes(wasm))  # type: ignore[union-attr]
    outcomes = [found for found in payloads if isinstance(found, Outcome)]
    assert [found.ending for found in outcomes] == ["ok", "ok", "ok", "trap", "ok", "ok", "ok"]
    assert outcomes[0].root is not None
    assert SNAPSHOT in {found.event for found in payloads if isinstance(found, Lifecycle)}


def test_it_still_replays_to_its_head(home: Home) -> None:
    here = importlib.metadata.version("wasmtime")
    if here != NOTED["wasmtime"]:
        pytest.skip(f"it was recorded with wasmtime {NOTED['wasmtime']}, and this is {here}; see recording.py")
    (verdict,) = replay_home(Home(home.root), config.cache() / "artefacts", [NOTED["actor"]])
    assert verdict.ok, verdict.error
    assert (verdict.entries, verdict.head) == (NOTED["entries"], NOTED["head"])


def test_it_can_be_recorded_anew() -> None:
    again = record()
    assert again.keys() == NOTED.keys()
    assert len(again["content"]) == len(NOTED["content"])
