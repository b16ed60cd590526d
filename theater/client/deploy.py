"""From a manifest on disk to a deployment (theater/store/deployment.py), with its component built where it has to be:
when it is missing, older than its source, or made for a runner that is not here. A tree file is all its manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from theater.core.manifest import Language, Manifest
from theater.core.tree_file import parse
from theater.host import extensions
from theater.store.deployment import (
    Deployment,
    find_component,
    of_file,
    of_store,
    read_manifest,
    read_text,
    stored_component,
    without_runner,
)
from theater.store.programs import is_program


@dataclass(frozen=True, slots=True)
class TreeDeployment:
    """What a server needs to run a tree.

    Args:
        tree: the text of the tree file.
        where: its absolute path, for sentences.
        children: by their names, what the children need.
    """

    tree: str
    where: str
    children: Mapping[str, Deployment]

    @property
    def contents(self) -> dict[str, Path]:
        """By digest in hex, the files that the server must have."""
        return {digest: file for child in self.children.values() for digest, file in child.contents.items()}


def prepare_tree(file: Path, say: Callable[[str], None]) -> TreeDeployment:
    """Everything that a tree file needs; manifests are beside it, and one that serves for many is read once.

    Raises:
        ManifestError: the file or a manifest is wrong or cannot be read.
        ComponentError, BuildFailed: a component is missing or could not be built.
    """
    extensions.offer()
    text = read_text(file)
    where = str(file.absolute())
    rows = parse(text, str(file)).children
    ready = {path: prepare(file.parent / path, say) for path in dict.fromkeys(row.manifest for row in rows)}
    return TreeDeployment(text, where, {row.name: ready[row.manifest] for row in rows})


def prepare(given: Path, say: Callable[[str], None]) -> Deployment:
    """Everything that a start of this manifest needs, with its component built if it has to be.

    Args:
        given: the manifest, or a folder with one.
        say: is called with what is being done.

    Raises:
        ManifestError: the manifest, or a file it names, cannot be read or is wrong.
        ComponentError: there is no component, and nothing to build it from.
        BuildFailed: the build did not succeed.
    """
    extensions.offer()
    file, text, manifest = read_manifest(given)
    stored = stored_component(manifest)
    if stored is not None:
        return of_store(file, text, manifest, stored)
    made = _component(file, manifest, say)
    found = of_file(file, text, manifest, made)
    if found is None and manifest.build is not None:
        made = _build(file, manifest, standalone=False, say=say)
        found = of_file(file, text, manifest, made)
    if found is None:
        raise without_runner(made)
    return found


def _component(file: Path, manifest: Manifest, say: Callable[[str], None]) -> Path:
    """Where the component or program is, after it has been built if it is missing or older than its source."""
    made = find_component(file, manifest)
    if made is None:
        return _build(file, manifest, standalone=False, say=say)
    if manifest.build is not None and _newest(file.parent / manifest.build.source) > made.stat().st_mtime_ns:
        alone = manifest.build.language is Language.PYTHON and not is_program(made)
        return _build(file, manifest, standalone=alone, say=say)
    return made


def _build(file: Path, manifest: Manifest, *, standalone: bool, say: Callable[[str], None]) -> Path:
    from theater.build import build

    say(f"building {manifest.name}")
    return build(file.parent, manifest, standalone=standalone, progress=say)


def _newest(source: Path) -> int:
    """When a source was changed last, nanoseconds since 1970; 0 if there is none, as where only its build is kept."""
    files = [source, *source.rglob("*")] if source.is_dir() else [source]
    return max(
        (path.stat().st_mtime_ns for path in files if path.exists() and "__pycache__" not in path.parts), default=0
    )


__all__ = ["Deployment", "prepare"]
