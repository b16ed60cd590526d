"""Python source to a component: componentize-py in a process of its own, in a folder that is thrown away.

It compiles nothing to native code; it starts CPython inside a sandbox, imports the application there, and writes the
memory that results into the component. So what it prints when it fails is the traceback of that import.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from theater.build.mend import LEAKING, NotUnderstood, mended
from theater.build.progress import Progress
from theater.errors import BuildFailed

GUEST = Path(__file__).parent.parent / "guest" / "python"
WIT = Path(__file__).parent.parent / "wit"

INTERFACES = (WIT / "simple", WIT / "otp")

_TIMEOUT = 600.0
"""Seconds after which an import inside the component is taken for one that never ends."""
_TICK = 1.0
_COMMAND = (sys.executable, "-c", "import sys, componentize_py; sys.exit(componentize_py.script())")
_LINES_SHOWN = 30


def version() -> str:
    """The version of componentize-py, which decides the Python inside."""
    return metadata.version("componentize-py")


def componentize(
    application: str,
    output: Path,
    progress: Progress,
    *,
    world: str,
    wit: Sequence[Path],
    modules: Mapping[str, str],
    packages: bool,
) -> None:
    """Makes a component of a module of the guest folder.

    Args:
        application: the module that defines the exports.
        output: the component's file.
        progress: told every second that the work goes on.
        world: the full name of the world.
        wit: folders with the world and the interfaces it names.
        modules: source of more modules that the application imports.
        packages: whether the application may import what is installed in this environment.

    Raises:
        BuildFailed: with what componentize-py printed.
    """
    with tempfile.TemporaryDirectory(prefix="theater-build-") as scratch:
        source = Path(scratch) / "source"
        # A copy, since Python writes what it compiles beside the source.
        shutil.copytree(GUEST, source, ignore=shutil.ignore_patterns("__pycache__", "wit"))
        for name, text in modules.items():
            (source / f"{name}.py").write_text(text, encoding="utf-8")
        options = [option for folder in wit for option in ("-d", str(folder))]
        command = [*_COMMAND, *options, "-w", world, "componentize", application, "-p", str(source), "-o", str(output)]
        _run(command, _environment(None if packages else Path(scratch)), progress)
    if version() in LEAKING:
        _mend(output)


def _mend(output: Path) -> None:
    try:
        output.write_bytes(mended(output.read_bytes()))
    except NotUnderstood as error:
        raise BuildFailed(f"what componentize-py {version()} made is not as expected: {error}") from error


def _environment(empty: Path | None) -> dict[str, str]:
    """The environment of componentize-py, which adds the packages of $VIRTUAL_ENV to what can be imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if empty is not None:
        environment["VIRTUAL_ENV"] = str(empty)
    return environment


def _run(command: Sequence[str], environment: Mapping[str, str], progress: Progress) -> None:
    began = time.monotonic()
    with (
        tempfile.TemporaryFile() as printed,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            while process.poll() is None:
                _wait(process)
                elapsed = time.monotonic() - began
                if elapsed > _TIMEOUT:
                    raise BuildFailed(f"componentize-py did not end within {_TIMEOUT:.0f} s; does an import never end?")
                progress(f"making a component of Python ({elapsed:.0f} s)")
        except BaseException:
            process.kill()
            raise
        if process.returncode != 0:
            printed.seek(0)
            raise BuildFailed(f"componentize-py failed:\n{_last_lines(printed.read())}")


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_TICK)
    except subprocess.TimeoutExpired:
        pass


def _last_lines(printed: bytes) -> str:
    """The Python traceback in what componentize-py printed, without the stack of the tool itself."""
    text = printed.decode(errors="replace").partition("\nStack backtrace:")[0]
    return "\n".join(text.strip().splitlines()[-_LINES_SHOWN:])
