"""The layers of theater/README.md, held against every import of the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAP = (ROOT / "theater" / "README.md").read_text()
SOURCES = sorted(
    path
    for folder in ("theater", "cli")
    for path in (ROOT / folder).rglob("*.py")
    if not {"guest", "templates"} & set(path.relative_to(ROOT).parts)
)
ADDRESSES = {
    "wasmtime": {"wasm"},
    "zmq": {"bus"},
    "msgpack": {"core"},
    "blake3": {"core"},
    "cryptography": {"core"},
    "structlog": {"log"},
    "zstandard": {"chainlog"},
    "aiohttp": {"gateway"},
    "uvloop": {"service"},
    "click": {"cli"},
    "rich": {"cli"},
}
IMPURE = {"os", "time", "random", "socket", "subprocess", "threading", "select", "secrets", "datetime", "pathlib", "io"}


def layers() -> dict[str, int]:
    """Folder or module -> layer, as the table of the map says."""
    found = {}
    for number, what in re.findall(r"^\| (\d) \| ([^|]+) \|", MAP, re.MULTILINE):
        for name in re.sub(r"\(.*?\)", "", what).split(","):
            found[name.strip().removesuffix(".py")] = int(number)
    return found


LAYERS = layers()


def home(path: Path) -> str:
    """The folder, or top-level module, that a source belongs to."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "theater" and len(parts) > 1 else parts[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "theater":
                yield from ((node.lineno, f"theater.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def ours(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "theater" and len(parts) > 1 else "cli" if parts[0] == "theater_cli" else None


def test_every_folder_has_a_layer() -> None:
    assert {home(path) for path in SOURCES} - {"__init__"} <= set(LAYERS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_from_lower_layers_and_its_own_folder(path: Path) -> None:
    own = home(path)
    for line, module in imports(path):
        target = ours(module)
        if target is not None and target != own and own != "__init__":
            assert LAYERS[target] < LAYERS[own], f"{path}:{line} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_third_party_package_has_one_address(path: Path) -> None:
    for line, module in imports(path):
        allowed = ADDRESSES.get(module.split(".")[0])
        if allowed is not None:
            assert home(path) in allowed, f"{path}:{line} imports {module}"


@pytest.mark.parametrize("path", sorted((ROOT / "theater" / "core").glob("*.py")), ids=lambda path: path.name)
def test_the_core_knows_no_clock_no_chance_and_no_files(path: Path) -> None:
    for line, module in imports(path):
        assert module.split(".")[0] not in IMPURE, f"{path}:{line} imports {module}"


def test_one_module_forks_and_one_that_is_executed_by_itself() -> None:
    forks = re.compile(r"\bos\.(fork|forkpty)\(|\b_SYS_CLONE\b")
    assert [path.name for path in SOURCES if forks.search(path.read_text())] == ["keeper.py", "spawner.py"]


def test_the_supervisor_loads_no_wasmtime() -> None:
    """It supervises processes that run wasm, and must survive whatever wasm does to a process."""
    probe = "import sys, theater.server.main; print(sorted(name for name in sys.modules if name == 'wasmtime'))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
