"""`theater validate`: would it start?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from theater.errors import ComponentError

from ..options import App, json_option, theater_command
from ..output import line, print_json, progress, safe

if TYPE_CHECKING:
    from theater.core.manifest import Manifest


@theater_command("validate")
@click.argument("path", default=".", type=click.Path(path_type=Path))
@json_option
def command(app: App, path: Path) -> None:
    """Checks a manifest and its component.

    PATH is a manifest, or the folder of one. The component is compiled, and held against the manifest: it must
    export what its handlers need and import nothing that they do not grant. Nothing is built and nothing started.
    """
    from theater.host import extensions
    from theater.store.deployment import read_manifest

    extensions.offer()
    file, _, manifest = read_manifest(path)
    with progress(f"checking {file}") as say:
        component = _check_component(app, file, manifest, say)
    if app.json:
        print_json({"ok": True, "manifest": str(file), "name": manifest.name, "component": component})
    else:
        line(f"{safe(str(file))} is valid: {manifest.name} {safe(manifest.version)}")
        line(f"{safe(component)} fits it" if component else "its component is not built yet; `theater build` builds it")


def _check_component(app: App, file: Path, manifest: Manifest, say: Callable[[str], None]) -> str | None:
    """Checks what the manifest's component is; returns its path, or None if it must be built first.

    Raises:
        ComponentError: there is none, it cannot be loaded, or it does not fit.
        BuildFailed: the source of a Python actor is wrong.
    """
    from theater.build.python import read_program
    from theater.core.manifest import Language
    from theater.store.programs import is_program

    found = _component(app, file, manifest)
    if found is not None and not is_program(found):
        _check_contract(file, manifest, found, say)
    elif manifest.build is not None and manifest.build.language is Language.PYTHON:
        read_program(file.parent, manifest)
    return None if found is None else str(found)


def _component(app: App, file: Path, manifest: Manifest) -> Path | None:
    from theater.store.deployment import find_component, stored_component

    digest = stored_component(manifest)
    if digest is not None:
        from theater.store.content import ContentStore

        content = ContentStore(app.files().content)
        content.check(digest)
        return Path(content.path(digest))
    return find_component(file, manifest)


def _check_contract(file: Path, manifest: Manifest, component: Path, say: Callable[[str], None]) -> None:
    from theater import config
    from theater.build.compiled import ensure_compiled
    from theater.core.codec import content_digest
    from theater.core.component_contract import check
    from theater.wasm.artefacts import ArtefactCache

    directory = config.cache() / "artefacts"
    fuel = manifest.limits.fuel is not None
    ensure_compiled(directory, component, say, fuel=fuel)
    artefact = ArtefactCache(directory).find(content_digest(component.read_bytes()).hex(), fuel)
    assert artefact is not None, "what was just compiled is in the cache"
    meta = artefact.meta
    problems = check(manifest, _by_interface(meta.imports), _by_interface(meta.exports))
    if problems:
        raise ComponentError(f"{file}: {'; '.join(problems)}", problems=problems)


def _by_interface(functions: Iterable[tuple[str, str]]) -> dict[str, Collection[str]]:
    found: dict[str, set[str]] = {}
    for interface, function in functions:
        found.setdefault(interface, set()).add(function)
    return dict(found)
