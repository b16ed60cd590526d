"""An actor in C: compiled together with the guest library, and made into a component.

The compiler is the one of the `ziglang` package, which brings the C library for WebAssembly with it and builds that
once per machine; else a clang that has it. The compiler's own words are the error: file, line, and the place.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from theater import config
from theater.build.progress import Progress
from theater.core.manifest import Build
from theater.errors import BuildFailed
from theater.wasm.componentize import componentize

GUEST = Path(__file__).parents[1] / "guest" / "c"

_TARGET = ("--target=wasm32-wasi", "-mexec-model=reactor")
# Asserts stay, which zig would drop: an actor that ends is started again, one that goes on with a wrong state is not.
# The names of functions stay too, for backtraces.
# A stack of 1 MiB is what wasm's linker has in mind; zig's 16 would be a quarter of an actor's memory.
_FLAGS = ("-O2", "-UNDEBUG", "-Wall", "-fno-color-diagnostics", "-Wl,--strip-debug", "-Wl,-z,stack-size=1048576")
# What zig does by itself: the stack lies below all data, so that running out of it is a trap and no change of the data;
# and the printf that knows long doubles, since the other one says on a terminal that it does not.
_CLANG_FLAGS = ("-Wl,--stack-first", "-lc-printscan-long-double")
_PART = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*[<"]theater_(http|process)\.h[">]', re.MULTILINE)
"""How a source says that it uses a part of the guest library that only some actors have in them."""
_LONGEST_REPORT = 16_000  # characters
_TRIAL = "#include <stdlib.h>\nvoid *trial(void) { return malloc(1); }\n"


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler for WebAssembly.

    Args:
        command: its first words.
        environment: what it needs beside ours.
        first_time: a sentence about what its first run does, if that takes long; empty if not.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    first_time: str = ""


def build(project: Path, wish: Build, progress: Progress) -> bytes:
    """The component of a source in C.

    Args:
        project: the folder of the manifest; the compiler runs in it.
        wish: the source is a file, or a folder of which every `.c` file is compiled.
        progress: told every second that the compiler works, and its warnings.

    Raises:
        BuildFailed: there is no compiler, it refuses the source, or the module cannot be a component.
    """
    sources = _sources(project, wish.source)
    compiler = find_compiler(config.cache())
    with tempfile.TemporaryDirectory(prefix="theater-build-") as scratch:
        module = Path(scratch) / "module.wasm"
        command = [*compiler.command, *_TARGET, *_FLAGS, "-I", str(GUEST), *wish.flags]
        # The guest library comes first: what it defines in place of the C library is then not looked for there.
        command += [str(GUEST / name) for name in ("theater.c", *_parts(project, wish.source))]
        command += [*sources, "-o", str(module)]
        _run(command, project, compiler, progress)
        return componentize(module.read_bytes())


def find_compiler(cache: Path) -> Compiler:
    """The compiler of this machine.

    Args:
        cache: the machine's cache, in which a compiler may keep the C library it built.

    Raises:
        BuildFailed: there is none; the sentence says how to get one.
    """
    if importlib.util.find_spec("ziglang") is not None:
        return _zig(cache / "zig")
    path = shutil.which("clang")
    if path is not None and _can_compile(clang := Compiler((path, *_CLANG_FLAGS), {})):
        return clang
    raise BuildFailed(
        "building C needs a compiler for WebAssembly; install one with `pip install 'theater[c]'` "
        "(or clang with wasi-libc)"
    )


def _zig(directory: Path) -> Compiler:
    first = "" if directory.exists() else "building the C library for WebAssembly, once on this machine"
    # One directory for both, or zig leaves one of its own in the project.
    environment = {"ZIG_GLOBAL_CACHE_DIR": str(directory), "ZIG_LOCAL_CACHE_DIR": str(directory)}
    return Compiler((sys.executable, "-m", "ziglang", "cc"), environment, first)


def _can_compile(clang: Compiler) -> bool:
    """Whether this clang has the C library and the linker for WebAssembly; most have neither."""
    with tempfile.TemporaryDirectory(prefix="theater-build-") as scratch:
        command = [*clang.command, *_TARGET, "-x", "c", "-", "-o", str(Path(scratch) / "trial.wasm")]
        return subprocess.run(command, input=_TRIAL.encode(), capture_output=True, check=False).returncode == 0


def _sources(project: Path, source: str) -> list[str]:
    path = project / source
    if path.is_file():
        return [source]
    if not path.is_dir():
        raise BuildFailed(f"there is no file or folder {path}, which [build] source names")
    found = sorted(str(file.relative_to(project)) for file in path.rglob("*.c") if file.is_file())
    if not found:
        raise BuildFailed(f"{path}, which [build] source names, has no .c file")
    return found


def _parts(project: Path, source: str) -> list[str]:
    """The parts of the guest library that the sources, and the headers beside them, include."""
    path = project / source
    near = path if path.is_dir() else path.parent
    read = [path] if path.is_file() else []
    read += [file for file in near.rglob("*.[ch]") if file.is_file() and (file.suffix == ".h" or path.is_dir())]
    return sorted({f"theater_{found.decode()}.c" for file in read for found in _PART.findall(file.read_bytes())})


def _run(command: list[str], project: Path, compiler: Compiler, progress: Progress) -> None:
    what = compiler.first_time or "compiling C"
    with (
        tempfile.TemporaryFile() as report,
        subprocess.Popen(
            command,
            cwd=project,
            env={**os.environ, **compiler.environment},
            stdin=subprocess.DEVNULL,
            stdout=report,
            stderr=report,
        ) as process,
    ):
        try:
            _wait(process, what, progress)
        except BaseException:
            process.kill()
            raise
        report.seek(0)
        words = _readable(report.read())
    if process.returncode != 0:
        raise BuildFailed(f"the C compiler refused the source:\n{words or 'it said nothing'}")
    if words:
        progress(words)


def _wait(process: subprocess.Popen[bytes], what: str, progress: Progress) -> None:
    seconds = 0
    while True:
        progress(f"{what} ({seconds} s)" if seconds else what)
        try:
            process.wait(1)
            return
        except subprocess.TimeoutExpired:
            seconds += 1


def _readable(report: bytes) -> str:
    text = report.decode(errors="replace").strip()
    return text if len(text) <= _LONGEST_REPORT else text[:_LONGEST_REPORT] + "\n…"
