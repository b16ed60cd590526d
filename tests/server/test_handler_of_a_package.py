"""examples/handler: a handler that a package brings, installed, granted, recorded, replayed, and held to its schema."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from house import House, make_house

EXAMPLE = Path(__file__).parents[2] / "examples" / "handler"


@dataclass
class Site:
    """A server in whose environment the package is installed."""

    house: House
    packages: Path

    @property
    def environment(self) -> dict[str, str]:
        path = [str(self.packages), os.environ.get("PYTHONPATH", "")]
        return {"PYTHONPATH": os.pathsep.join(part for part in path if part)}

    def theater(self, *words: str, code: int = 0, with_package: bool = True) -> str:
        """What a command writes, in a process that has the package or has it not."""
        more = self.environment if with_package else {}
        command = [sys.executable, "-m", "theater_cli", "--home", str(self.house.home), *words]
        environment = {**os.environ, **more}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(probe: bytes) -> Iterator[Site]:
    pytest.importorskip("setuptools", "77", reason="the example is built with it")
    house = make_house(probe)
    try:
        source = house.folder / "source"
        shutil.copytree(EXAMPLE, source)
        shutil.copytree(source / "actor", house.folder / "actor")
        made = Site(house, house.folder / "packages")
        options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", str(made.packages)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, timeout=120)
        made.theater("build", str(house.folder / "actor"))
        house.server = house.popen(**made.environment)
        house.await_server()
        yield made
    finally:
        house.close()


@pytest.fixture(scope="module")
def actor(site: Site) -> str:
    """The id of the actor of the example."""
    return site.theater("start", str(site.house.folder / "actor"), "--id-only").strip()


def test_it_answers_and_outlives_the_actor(site: Site, actor: str) -> None:
    ask = site.house.client.request
    assert json.loads(ask(actor, b'"home"')) == {"visits": 1, "home": 1, "all": ["page-home", "visits"]}
    site.house.kill_worker(actor)
    assert json.loads(ask(actor, b'"news"'))["visits"] == 2


def test_what_is_not_granted_is_refused_in_its_own_words(site: Site, actor: str) -> None:
    path = site.house.folder / "actor" / "narrow.toml"
    text = (path.parent / "manifest.toml").read_text()
    path.write_text(text.replace('"page-*"', '"page-home"').replace("visitors", "narrow"))
    shutil.copy(path.parent / "build" / "visitors.wasm", path.parent / "build" / "narrow.wasm")
    narrow = site.theater("start", str(path), "--id-only").strip()
    said = site.theater("message", narrow, "--request", '"news"', code=6)
    assert "the counter 'page-news' is not granted; allowed: visits, page-home" in said


def test_it_is_recorded_and_replays_without_the_package(site: Site, actor: str) -> None:
    events = site.theater("events", actor, "--type", "host-call", "--json")
    assert "example:tally/counters@0.1.0" in events
    (verdict,) = json.loads(site.theater("replay", actor, "--json", with_package=False))["actors"]
    assert verdict["ok"], verdict


def test_its_permissions_are_shown_and_suggested(site: Site, actor: str) -> None:
    assert 'counters = ["page-home", "page-news", "visits"]' in site.theater("permissions", actor, "--suggest")


def test_a_typing_error_in_its_permission_has_a_line_and_a_suggestion(site: Site) -> None:
    path = site.house.folder / "typo.toml"
    path.write_text((site.house.folder / "actor" / "manifest.toml").read_text().replace("counters =", "counter ="))
    said = site.theater("validate", str(path), code=3)
    assert "typo.toml:12: [[handler]] of type tally: counter is not a key" in said
    assert "did you mean counters?" in said


def test_without_the_package_there_is_no_such_handler(site: Site) -> None:
    said = site.theater("validate", str(site.house.folder / "actor"), code=3, with_package=False)
    assert 'found "tally"; allowed: runtime, ' in said


def test_a_package_that_cannot_be_loaded_is_named_and_harms_no_other(site: Site, tmp_path: Path) -> None:
    for folder, entry in [
        ("broken", "broken = nowhere_at_all:EXTENSION"),
        ("greedy", "timing = theater_tally:EXTENSION"),
    ]:
        info = tmp_path / f"{folder}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {folder}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[theater.handlers]\n{entry}\n")
    both = Site(site.house, Path(f"{site.packages}{os.pathsep}{tmp_path}"))
    both.theater("validate", str(site.house.folder / "actor"))
    path = tmp_path / "broken.toml"
    path.write_text('name = "a"\ncomponent = "a.wasm"\n[[handler]]\ntype = "broken"\n')
    said = both.theater("validate", str(path), code=3)
    assert "nowhere_at_all:EXTENSION, which brings it, cannot be loaded: No module named" in said
    path.write_text('name = "a"\ncomponent = "a.wasm"\n[[handler]]\ntype = "timing"\nmost = 3\n')
    assert "of type timing: most is not a key" in both.theater("validate", str(path), code=3)


def test_a_server_without_the_package_leaves_its_actors_alone(site: Site, actor: str) -> None:
    house = site.house
    house.client.stop_server()
    assert house.await_end() == 0
    house.open()
    assert actor not in [row.id for row in house.client.list()]
    house.client.stop_server()
    assert house.await_end() == 0
    house.server = house.popen(**site.environment)
    house.await_server()
    assert json.loads(house.client.request(actor, b'"again"'))["again"] == 1


def test_help_loads_no_package(site: Site) -> None:
    """Nor does a command that meets no such handler."""
    code = "import sys; from theater_cli.main import theater; theater(['--help'], standalone_mode=False); "
    code += "print(sorted(name for name in sys.modules if name in ('theater.host.extensions', 'theater_tally')))"
    environment = {**os.environ, **site.environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
