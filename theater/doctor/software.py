"""What is installed: Python and its packages against what this version needs, compilers, compiled components."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from theater import config
from theater.build.c import find_compiler
from theater.doctor.finding import Finding, note, ok, problem
from theater.errors import BuildFailed, InvalidInput, TheaterError
from theater.wasm.installed import wasmtime_version

_NEED = re.compile(r"^([A-Za-z0-9._-]+)\s*([<>=!~,.\d ]*)\s*(?:;\s*(.*))?$")
_OPTIONAL = frozenset({"componentize-py", "uvloop"})
_PATIENCE_S = 20.0


def examine() -> Iterator[Finding]:
    yield ok("packages", "python", f"Python {platform.python_version()} ({platform.python_implementation()})")
    yield from packages(_needs())
    yield _wasmtime()
    yield from _toolchains()
    yield _cache()


# ---- packages


def _needs() -> Sequence[str]:
    """What this version needs: of a checkout, what that says now; else what was installed."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    if project.exists():
        found = tomllib.loads(project.read_text()).get("project", {})
        if found.get("name") == "theater":
            return list(map(str, found.get("dependencies", ())))
    return importlib.metadata.requires("theater") or ()


def packages(needs: Iterable[str]) -> Iterator[Finding]:
    """Each package that is needed.

    Args:
        needs: as package metadata has them: `click>=8.1.7`, `ziglang>=0.14; extra == "c"`.
    """
    fine = []
    for need in needs:
        found = _NEED.match(need)
        if found is None or (found[3] and "extra" in found[3]):
            continue
        name, bounds = found[1], found[2].strip()
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield package(name, None, bounds)
            continue
        if meets(installed, bounds):
            fine.append(f"{name} {installed}")
        else:
            yield package(name, installed, bounds)
    if fine:
        yield ok("packages", "packages", ", ".join(fine))


def package(name: str, installed: str | None, bounds: str) -> Finding:
    """One that is not as it is needed."""
    says = f"{name} {bounds} is needed, and {installed or 'none'} is installed"
    advice = f"`pip install '{name}{bounds}'`"
    if name in _OPTIONAL and installed is None:
        return note("packages", name, says, advice)
    return problem("packages", name, says, advice, InvalidInput)


def meets(installed: str, bounds: str) -> bool:
    """Whether a version is within bounds such as `>=3.14,<4`."""
    have = _numbers(installed)
    for bound in filter(None, (each.strip() for each in bounds.split(","))):
        sign = "".join(char for char in bound if char in "<>=!~")
        wanted = _numbers(bound[len(sign) :])
        width = max(len(have), len(wanted))
        left, right = (each + (0,) * (width - len(each)) for each in (have, wanted))
        good = {
            ">=": left >= right, "<=": left <= right, ">": left > right, "<": left < right, "==": left == right,
            "!=": left != right, "~=": left >= right and left[: len(wanted) - 1] == wanted[:-1],
        }.get(sign, True)  # fmt: skip
        if not good:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version.strip())
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _wasmtime() -> Finding:
    try:
        version = wasmtime_version()
    except importlib.metadata.PackageNotFoundError:
        return problem("packages", "wasmtime", "wasmtime is not installed", "`pip install theater` again", InvalidInput)
    advice = "compare it now and then with https://github.com/bytecodealliance/wasmtime/security/advisories"
    says = f"wasmtime {version}, installed {_installed_at('wasmtime')}"
    return note("packages", "wasmtime", f"{says}; whether it has known faults is not known here", advice)


def _installed_at(name: str) -> str:
    """The day on which a package was installed."""
    files = importlib.metadata.distribution(name).files or ()
    meta = next((file for file in files if file.name == "METADATA"), None)
    try:
        moment = Path(str(meta.locate())).stat().st_mtime if meta is not None else None
    except OSError:
        moment = None
    return "at an unknown time" if moment is None else time.strftime("%Y-%m-%d", time.gmtime(moment))


# ---- toolchains


def _toolchains() -> Iterator[Finding]:
    if importlib.util.find_spec("componentize_py") is not None:
        yield ok(
            "toolchains", "python", f"actors in Python can be built (componentize-py {_version('componentize-py')})"
        )
    else:
        yield note("toolchains", "python", "actors in Python cannot be built", "`pip install componentize-py`")
    yield _c()
    yield ok("toolchains", "wat", "actors in the text form of WebAssembly can be built: wasmtime does it")
    yield _rust()


def _c() -> Finding:
    try:
        compiler = find_compiler(config.cache())
    except BuildFailed as error:
        return note("toolchains", "c", "actors in C cannot be built", error.message)
    except TheaterError as error:
        return note("toolchains", "c", f"it is not known whether actors in C can be built: {error.message}")
    return ok(
        "toolchains", "c", f"actors in C can be built ({' '.join(Path(part).name for part in compiler.command[:3])})"
    )


def _rust() -> Finding:
    """`theater build` does not do it: cargo makes the component, and the manifest names it."""
    if shutil.which("cargo") is None:
        return note("toolchains", "rust", "cargo is not there", "actors in Rust are built with it: https://rustup.rs")
    if shutil.which("rustup") is not None and "wasm32-wasip2" not in _said("rustup", "target", "list", "--installed"):
        return note("toolchains", "rust", "cargo is there, its target is not", "`rustup target add wasm32-wasip2`")
    return ok("toolchains", "rust", f"actors in Rust can be built by cargo ({_said('cargo', '--version').strip()})")


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


# ---- compiled components


def _cache() -> Finding:
    try:
        folder = config.cache() / "artefacts"
        sizes = [path.stat().st_size for path in folder.glob("*.cwasm")]
    except (InvalidInput, OSError) as error:
        return problem("cache", "components", str(error), "make $THEATER_CACHE a folder of yours", InvalidInput)
    return ok("cache", "components", f"{len(sizes)} compiled components, {sum(sizes) / (1 << 20):.0f} MiB, in {folder}")
