"""What an actor may start its children from: manifests on disk and the files they name, or a manifest's text.

The guest names a manifest; the server reads it. So that a guest reaches nothing by that which its operator did not
mean for it, only files in the folder of the actor's own manifest, and below, are read, wherever links lead. The
permission `manifests` of its handler `supervisor` says it otherwise, by patterns, of manifests; such a manifest may
also use what is in its own folder. Whatever a manifest says, its actor has no more than the parent may give it
(theater/core/confinement.py), and no secret that the parent does not have from the same place.

Nothing is built here: that takes minutes, and runs whatever a source says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from theater.core.confinement import excess
from theater.core.manifest import Manifest, SecretSource, parse
from theater.core.permissions.supervisor import Supervisor
from theater.errors import ComponentError, ManifestError, UnknownContent, disk_error
from theater.server.cast import Actor
from theater.server.wishes import Role
from theater.store.content import ContentStore
from theater.store.deployment import (
    MANIFEST,
    Deployment,
    find_component,
    initial_state_file,
    of_file,
    of_store,
    read_text,
    stored_component,
    without_runner,
)

_GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class _Found:
    """A manifest, and the folders in which its files may be; no links lead to those."""

    file: Path
    text: str
    manifest: Manifest
    roots: tuple[Path, ...]


class Larder:
    """Finds what children are made of, and keeps it in the content store."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content

    def role(self, parent: Actor, given: str) -> Role:
        """What a child is to be.

        Args:
            given: the path of a manifest, or of the folder of one, beside the parent's manifest or absolute; or a
                manifest's text, which has more than one line.

        Raises:
            ManifestError: it cannot be read, is wrong, or may not be used.
            UnknownContent: the store does not have the component that it names.
        ComponentError: its component is not there, may not be used, or has to be built first.
            DiskFull, IntegrityError: the content store does not take it.
        """
        folder = _folder_of(parent)
        try:
            ready, manifest = _find(parent, folder, given)
        except (OSError, ValueError) as error:  # What no file can be called, or nobody may look at.
            raise ManifestError(f"cannot use {given[:200]!r}: {error}") from error
        for digest, file in ready.contents.items():
            if not self._content.exists(digest):
                self._take(digest, file)
        if not self._content.exists(ready.component):
            raise UnknownContent(f"the store has no content {ready.component}; put it first")
        initial = None if ready.init_state is None else self._content.put(ready.init_state)
        return Role(manifest, ready.where, ready.component, ready.program, initial)

    def _take(self, digest: str, file: Path) -> None:
        try:
            taken = self._content.put(file.read_bytes())
        except OSError as error:
            raise disk_error(error, f"reading {file}") from error
        if taken != digest:
            raise ComponentError(f"{file} is being changed; try again")


def _folder_of(parent: Actor) -> Path:
    folder = Path(parent.where).parent
    if not folder.is_absolute():
        raise ManifestError(
            f"{parent.manifest.name} was started without a file, so it has no folder to find manifests in"
        )
    return Path(os.path.realpath(folder))


def _find(parent: Actor, folder: Path, given: str) -> tuple[Deployment, Manifest]:
    found = _text(parent, folder, given) if "\n" in given else _file(parent, folder, given)
    _require_no_more(parent, folder, found)
    return _deployment(found), found.manifest


# ---- which manifest


def _file(parent: Actor, folder: Path, given: str) -> _Found:
    path = Path(os.path.realpath(folder / given))
    file = Path(os.path.realpath(path / MANIFEST)) if path.is_dir() else path
    patterns = _patterns(parent)
    roots: tuple[Path, ...] = (folder,)
    if patterns is None:
        if not file.is_relative_to(folder):
            raise ManifestError(f"{given} is not in {folder}, and {_NO_PERMISSION}")
    else:
        roots += (file.parent,)
        if not any(file.match(pattern) or path.match(pattern) for pattern in _absolute(folder, patterns)):
            raise ManifestError(f"{given} fits none of the manifests that its parent may use: {', '.join(patterns)}")
    if not file.is_file():
        raise ManifestError(f"cannot read {file}: there is no such file")
    text = read_text(file)
    return _Found(file, text, parse(text, str(file)), roots)


_NO_PERMISSION = "the permission `manifests` of the handler supervisor does not name it"


def _patterns(parent: Actor) -> tuple[str, ...] | None:
    permissions = next(handler.permissions for handler in parent.manifest.handlers if handler.type == "supervisor")
    return permissions.manifests if isinstance(permissions, Supervisor) else None


def _absolute(folder: Path, patterns: tuple[str, ...]) -> list[str]:
    """The patterns as they fit paths without links."""
    found = []
    for pattern in patterns:
        parts = (folder / pattern).parts
        fixed = next((at for at, part in enumerate(parts) if _GLOB & set(part)), len(parts))
        found.append(os.path.join(os.path.realpath(Path(*parts[:fixed])), *parts[fixed:]))
    return found


def _text(parent: Actor, folder: Path, given: str) -> _Found:
    if _patterns(parent) is not None:
        raise ManifestError("the permission `manifests` of the handler supervisor names files, and this is a text")
    file = folder / f"text of {parent.manifest.name}"
    manifest = parse(given, str(file))
    return _Found(file, given, manifest, (folder,))


def _source(secret: SecretSource, folder: Path) -> str:
    """Where the server finds a secret, however its manifest says it."""
    return f"env {secret.env}" if secret.file is None else f"file {os.path.realpath(folder / secret.file)}"


def _require_no_more(parent: Actor, folder: Path, found: _Found) -> None:
    known = {(secret.name, _source(secret, folder)) for secret in parent.manifest.secrets}
    for secret in found.manifest.secrets:
        if (secret.name, _source(secret, found.file.parent)) not in known:
            raise ManifestError(
                f"{found.file}: {found.manifest.name} cannot name the secret {secret.name}: its parent "
                f"{parent.manifest.name} does not have it from there; name it under [secrets] of that manifest, too"
            )
    more = excess(found.manifest, str(found.file.parent), parent.manifest, str(folder))
    if more is not None:
        raise ManifestError(
            f"{found.file}: {found.manifest.name} may not {more}: its parent {parent.manifest.name} has no such right "
            "to give; add it to the parent's manifest, under [[handler]], or under [[grant]] if only children need it"
        )


# ---- its files


def _deployment(found: _Found) -> Deployment:
    file, text, manifest = found.file, found.text, found.manifest
    initial = initial_state_file(file, manifest)
    if initial is not None:
        _confine(found, initial)
    stored = stored_component(manifest)
    if stored is not None:
        return of_store(file, text, manifest, stored)
    made = find_component(file, manifest)
    if made is None:
        raise ComponentError(f"the component of {manifest.name} has to be built first: `theater build {file.parent}`")
    _confine(found, made)
    ready = of_file(file, text, manifest, made)
    if ready is None:
        raise without_runner(made)
    return ready


def _confine(found: _Found, file: Path) -> None:
    real = Path(os.path.realpath(file))
    if not any(real.is_relative_to(root) for root in found.roots):
        raise ManifestError(f"{found.file} names {file}, which is not in {found.roots[-1]}")
    if real.exists() and not real.is_file():
        raise ManifestError(f"{found.file} names {file}, which is no file")
