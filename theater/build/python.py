"""A Python actor's build: its source, checked and put into one file that the runner takes in.

The file is called a program. It begins with the line `theater-program 1`; the rest is canonical msgpack:

    runner     blake3 of the runner component that it is for, in hex
    entry      the name of the module that defines the actor
    modules    relative path -> source, for instance {"actor.py": b"import theater..."}

One source and one runner give one program, byte for byte. A standalone build makes a component that contains Python,
the guest library and the source, for places that have no runner, or for an actor that needs installed packages.
"""

from __future__ import annotations

import ast
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from theater import config
from theater.build.compiled import ensure_compiled
from theater.build.componentize import INTERFACES, componentize
from theater.build.output import replace, target
from theater.build.progress import Progress, silent
from theater.build.runner import runner
from theater.core.codec import pack
from theater.core.handlers import (
    ACTOR,
    FREE_INTERFACES,
    HTTP_HANDLERS,
    MESSAGE_SERVER_CLIENT,
    MONITOR_HANDLERS,
    OWN_TYPES,
    PROCESS_HANDLERS,
    SUPERVISOR_HANDLERS,
    get,
    granted_imports,
    handled_exports,
)
from theater.core.manifest import Manifest
from theater.errors import BuildFailed
from theater.store.programs import MAGIC

MAX_MODULES = 1000
MAX_MODULE = 1 << 20
"""Bytes of the largest module."""
MAX_PROGRAM = 8 << 20
"""Bytes of all modules together."""

GUEST_PYTHON = (3, 14)
"""The Python inside the runner, which componentize-py decides."""

_ENTRY = "actor"
_NAMES_TAKEN = sys.stdlib_module_names | {
    "theater",
    "theater_runtime",
    "theater_runner",
    "theater_standalone",
    "theater_program",
    "wit_world",
    "componentize_py_types",
    "componentize_py_runtime",
    "componentize_py_async_support",
    "poll_loop",
}
_PLAIN_CLASSES = {"Actor", "MessageServerClient", "HttpHandlers"}
_SERVED = {
    ACTOR,
    HTTP_HANDLERS,
    MESSAGE_SERVER_CLIENT,
    MONITOR_HANDLERS,
    PROCESS_HANDLERS,
    SUPERVISOR_HANDLERS,
}
"""The exports that the guest library has handlers for."""
_NEEDED = {"theater:simple/types"}
"""What the guest library always imports."""


@dataclass(frozen=True, slots=True)
class Program:
    """An actor's source.

    Args:
        entry: the name of the module that defines the actor.
        modules: source by relative path.
    """

    entry: str
    modules: dict[str, bytes]

    def packed(self, runner_digest: str) -> bytes:
        """The program's file, for a runner named by its blake3 in hex."""
        return MAGIC + pack({"runner": runner_digest, "entry": self.entry, "modules": self.modules})


def build(
    project: Path,
    manifest: Manifest,
    standalone: bool = False,
    progress: Progress = silent,
    *,
    cache: Path | None = None,
) -> Path:
    """Builds a Python actor.

    Args:
        project: the folder of the manifest.
        manifest: with a [build] table for Python.
        standalone: make a component of its own instead of a program for the runner. One that has a handler which a
            package has brought becomes one in any case: the runner knows the interfaces that are built in.
        progress: told what is being done, if it takes time.
        cache: the machine's cache, where the runner is; the user's if left out.

    Returns:
        The file that was written.

    Raises:
        BuildFailed: the source is no actor, or something could not be built.
    """
    standalone = standalone or not manifest.handler_types <= OWN_TYPES
    program = read_program(project, manifest)
    wanted, other = ("wasm", "program") if standalone else ("program", "wasm")
    result = target(project, manifest, wanted)
    if standalone:
        content = _component(program, manifest, progress)
    else:
        content = _program(program, manifest, progress, config.cache() if cache is None else cache)
    replace(result, content)
    _remove(target(project, manifest, other), result)
    return result


def read_program(project: Path, manifest: Manifest) -> Program:
    """Reads an actor's source and checks what can be seen without running it.

    Raises:
        BuildFailed: with file, line and text of what is wrong.
    """
    if manifest.build is None:
        raise BuildFailed(f"{manifest.name} has no [build] table that says where its source is")
    source = project / manifest.build.source
    if source.is_dir():
        program = Program(_ENTRY, dict(_read(source, path) for path in _sources(source)))
        if f"{_ENTRY}.py" not in program.modules:
            raise BuildFailed(f"{source} has no {_ENTRY}.py, where the actor of a folder of modules is defined")
    elif source.is_file():
        program = Program(source.stem, dict([_read(source.parent, source)]))
    else:
        raise BuildFailed(f"there is no file or folder {source}, which [build] source names")
    _check(program, source)
    return program


# ---- reading


def _sources(folder: Path) -> Iterator[Path]:
    """The modules in a folder, but for hidden ones and what Python left there."""
    for path in sorted(folder.rglob("*.py")):
        above = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in above):
            yield path


def _read(folder: Path, path: Path) -> tuple[str, bytes]:
    name = path.relative_to(folder).as_posix()
    size = path.stat().st_size
    if size > MAX_MODULE:
        raise BuildFailed(f"{name} has {size} bytes; a module may have {MAX_MODULE}. Keep data in the store")
    return name, path.read_bytes()


# ---- checking


def _check(program: Program, source: Path) -> None:
    if len(program.modules) > MAX_MODULES:
        raise BuildFailed(f"{source} has {len(program.modules)} modules; a program may have {MAX_MODULES}")
    size = sum(map(len, program.modules.values()))
    if size > MAX_PROGRAM:
        raise BuildFailed(f"the modules of {source} have {size} bytes; a program may have {MAX_PROGRAM}")
    for path in program.modules:
        _check_name(path)
    trees = {path: _parsed(path, text) for path, text in program.modules.items()}
    entry = trees[f"{program.entry}.py"]
    if source.is_file():
        _check_neighbours(entry, source)
    if not _may_define_actor(entry, {_top(path) for path in program.modules}):
        raise BuildFailed(f"{program.entry}.py defines no actor; write a class that derives from theater.Actor")


def _check_name(path: str) -> None:
    for part in path.removesuffix(".py").split("/"):
        if not part.isidentifier():
            raise BuildFailed(f"{path} cannot be imported: {part} is no name of a module; use letters, digits and '_'")
    if _top(path) in _NAMES_TAKEN:
        raise BuildFailed(f"{path} would hide the module {_top(path)} that Python or Theater brings; rename it")


def _top(path: str) -> str:
    return path.removesuffix(".py").partition("/")[0]


def _parsed(path: str, source: bytes) -> ast.Module:
    try:
        return ast.parse(source, path, feature_version=min(GUEST_PYTHON, sys.version_info[:2]))
    except SyntaxError as error:
        raise BuildFailed(_shown(path, error)) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise BuildFailed(f"{path} cannot be read as Python: {error or 'it is nested too deeply'}") from error


def _shown(path: str, error: SyntaxError) -> str:
    """Where and what, as `file:line: text`, with the line and a mark under the place."""
    head = f"{path}:{error.lineno or 1}: {error.msg}"
    if not error.text:
        return head
    line = error.text.rstrip()
    indent = len(line) - len(line.lstrip())
    mark = " " * max((error.offset or 1) - 1 - indent, 0) + "^"
    return f"{head}\n    {line.lstrip()}\n    {mark}"


def _check_neighbours(tree: ast.Module, source: Path) -> None:
    """A module beside a single-file actor is not part of the program, though it looks as if it were."""
    for statement in tree.body:
        for name in _imported(statement):
            top = name.partition(".")[0]
            if top not in _NAMES_TAKEN and (
                (source.parent / f"{top}.py").is_file() or (source.parent / top / "__init__.py").is_file()
            ):
                raise BuildFailed(
                    f"{source.name}:{statement.lineno}: {top} is not part of the program, which is one file; put the "
                    f"modules into a folder, the actor in it as {_ENTRY}.py, and name the folder as [build] source"
                )


def _imported(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        yield statement.module


def _may_define_actor(tree: ast.Module, own: set[str]) -> bool:
    """False if the module certainly has no actor.

    Args:
        own: top-level names of the program's modules, from which an actor's class may come under any name.
    """
    actors = {"Actor"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").partition(".")[0] in own):
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "theater":
            actors.update(alias.asname for alias in node.names if alias.name == "Actor" and alias.asname)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return any(cls.name in _PLAIN_CLASSES or any(_may_be_actor(base, actors) for base in cls.bases) for cls in classes)


def _may_be_actor(base: ast.expr, actors: set[str]) -> bool:
    if isinstance(base, ast.Name):
        return base.id in actors or base.id.endswith("Actor")
    return isinstance(base, ast.Attribute)


# ---- writing


def _program(program: Program, manifest: Manifest, progress: Progress, cache: Path) -> bytes:
    """The program's file, once the runner has shown that it can load it."""
    component = runner(cache, progress)
    compiled = ensure_compiled(cache / "artefacts", component, progress, fuel=manifest.limits.fuel is not None)
    # Imported late: a standalone build needs no wasmtime.
    from theater.build import trial

    trial.load(compiled, program.modules, program.entry)
    return program.packed(component.stem)


def _component(program: Program, manifest: Manifest, progress: Progress) -> bytes:
    """A component that contains the program."""
    with tempfile.TemporaryDirectory(prefix="theater-build-") as scratch:
        world = Path(scratch) / "wit"
        world.mkdir()
        (world / "world.wit").write_text(_world(manifest), encoding="utf-8")
        fresh = Path(scratch) / "component.wasm"
        componentize(
            "theater_standalone",
            fresh,
            progress,
            world="theater:python/standalone",
            wit=(*INTERFACES, *(Path(wit) for wit in _wit_of_packages(manifest)), world),
            modules={"theater_program": f"ENTRY = {program.entry!r}\nMODULES = {list(program.modules.items())!r}\n"},
            packages=True,
        )
        return fresh.read_bytes()


def _wit_of_packages(manifest: Manifest) -> list[str]:
    """The folders of WIT files that packages have brought with handlers of the manifest."""
    return sorted({wit for type_ in manifest.handler_types if (wit := get(type_).wit) is not None})


def _world(manifest: Manifest) -> str:
    """A world that imports and exports what the manifest's handlers stand for, and no more."""
    types = manifest.handler_types
    imports = (granted_imports(types) - FREE_INTERFACES) | _NEEDED
    exports = handled_exports(types) & _SERVED
    lines = [
        *(f"    import {name};" for name in sorted(imports)),
        *(f"    export {name};" for name in sorted(exports)),
    ]
    return "\n".join(["package theater:python;", "", "world standalone {", *lines, "}", ""])


def _remove(other: Path, result: Path) -> None:
    """Removes what a build of the other kind left: a build leaves exactly one result."""
    if other != result:
        other.unlink(missing_ok=True)
