"""From a project's source to what a server runs.

One module for each language, each with a function that is told the folder, the manifest and whom to tell about
progress. Here a language is chosen, and what was made is held against the manifest: a build that could not be started
is a failure now, with the line that the manifest lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from theater.build.progress import Progress, silent
from theater.core.component_contract import check
from theater.core.manifest import Build, Language, Manifest
from theater.errors import BuildFailed, ComponentError

__all__ = ["build"]


def build(project: Path, manifest: Manifest, *, standalone: bool = False, progress: Progress = silent) -> Path:
    """Builds an actor.

    Args:
        project: the folder of the manifest.
        manifest: with a [build] table.
        standalone: make a component where a Python actor would be a program for the runner; other languages have
            nothing else.
        progress: told what is being done, if it takes time.

    Returns:
        The file that was written: what the manifest calls its component, else `build/<name>.wasm` (`.program` for a
        Python actor).

    Raises:
        BuildFailed: the source could not be made into a component; the message has the compiler's words.
        ComponentError: the component does not fit the manifest.
    """
    wish = _wish(manifest)
    if wish.language is Language.PYTHON:
        from theater.build import python

        return python.build(project, manifest, standalone, progress)
    component = _compiler(wish.language)(project, wish, progress)
    _check_contract(manifest, component)
    from theater.build.output import replace, target

    written = target(project, manifest, "wasm")
    replace(written, component)
    return written


def _wish(manifest: Manifest) -> Build:
    if manifest.build is None:
        raise BuildFailed(f"{manifest.name} has no [build] table that says where its source is and in what language")
    return manifest.build


def _compiler(language: Language) -> Callable[[Path, Build, Progress], bytes]:
    # Imported late: a Python actor's build needs no wasmtime.
    if language is Language.WAT:
        from theater.build import wat

        return wat.build
    if language is Language.C:
        from theater.build import c

        return c.build
    raise BuildFailed(f"this version does not build {language.value}; it builds python, wat and c")


def _check_contract(manifest: Manifest, component: bytes) -> None:
    from theater.wasm.assemble import validated

    found = validated(component)
    problems = check(
        manifest,
        {name: set(interface.functions) for name, interface in found.imports.items()},
        {name: set(interface.functions) for name, interface in found.exports.items()},
    )
    if problems:
        raise ComponentError("; ".join(problems), problems=problems)
