"""From a manifest on disk to what a server needs: its text, the digests of its contents, the contents.

The component is a file beside the manifest, content that the server has already (`store:<digest>`), or what
`theater build` made. A Python actor's build is a *program*: a file that names the runner component it is loaded into,
so it comes with that component. Nothing is built here (theater/client/deploy.py has that done first), so a server
that starts an actor for another one reads the same way as a client.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from theater.core.codec import content_digest
from theater.core.manifest import Manifest, parse
from theater.core.toml_text import LONGEST_TEXT
from theater.errors import ComponentError, ManifestError
from theater.store.programs import is_program, runner_of

MANIFEST = "manifest.toml"
_LONGEST = 1 << 20
"""Bytes that are read of a manifest at all; `parse` allows far fewer."""

_STORED = "store:"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a start needs.

    Args:
        manifest: its text.
        where: its absolute path, for sentences, and for finding manifests that it mentions.
        component: digest of the component in hex.
        program: digest of the program in hex, for a component that is a runner.
        init_state: the manifest's initial state.
        contents: by digest in hex, the files that the server must have.
    """

    manifest: str
    where: str
    component: str
    program: str | None = None
    init_state: bytes | None = None
    contents: Mapping[str, Path] = field(default_factory=dict)


def read_manifest(given: Path) -> tuple[Path, str, Manifest]:
    """The manifest's file, its text and its meaning.

    Args:
        given: the file, or a folder with a `manifest.toml`.

    Raises:
        ManifestError: it cannot be read, or is wrong.
    """
    file = given / MANIFEST if given.is_dir() else given
    text = read_text(file)
    return file, text, parse(text, str(file))


def read_text(file: Path) -> str:
    """The text of a manifest or tree file, unparsed.

    Raises:
        ManifestError: it cannot be read, is no text, or is far longer than any manifest.
    """
    try:
        with file.open("rb") as source:
            data = source.read(_LONGEST + 1)
        if len(data) > _LONGEST:
            raise ManifestError(f"{file} has more than {_LONGEST} bytes; allowed: {LONGEST_TEXT}")
        return data.decode()
    except OSError as error:
        raise ManifestError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{file}: byte {error.start} is not UTF-8; a manifest is UTF-8 text") from error


def find_component(file: Path, manifest: Manifest) -> Path | None:
    """Where the component or program of a manifest is; None if it has to be built first.

    Raises:
        ComponentError: there is none, and nothing to build it from.
    """
    places = [file.parent / name for name in manifest.component_paths]
    found = next((place for place in places if place.is_file()), None)
    if found is None and manifest.build is None:
        raise ComponentError(f"there is no component {places[0]}")
    return found


def stored_component(manifest: Manifest) -> str | None:
    """The digest of a component that is named by it, in hex; None for one that is a file."""
    name = manifest.component
    return name.removeprefix(_STORED) if name is not None and name.startswith(_STORED) else None


def of_store(file: Path, text: str, manifest: Manifest, component: str) -> Deployment:
    """What a start needs whose component is content that the server has.

    Raises:
        ManifestError: the initial state cannot be read.
    """
    return Deployment(text, _where(file), component, init_state=_initial_state(file, manifest))


def of_file(file: Path, text: str, manifest: Manifest, made: Path) -> Deployment | None:
    """What a start needs whose component or program is a file; None if this machine does not have a program's runner.

    Raises:
        ManifestError: the initial state cannot be read.
        ComponentError: the component cannot be read, or is no program although it begins like one.
    """
    where, initial = _where(file), _initial_state(file, manifest)
    try:
        digest = digest_of(made)
        if not is_program(made):
            return Deployment(text, where, digest, init_state=initial, contents={digest: made})
        runner = runner_of(made)
    except OSError as error:
        raise ComponentError(f"cannot read {made}: {error.strerror}") from error
    if runner is None:
        return None
    return Deployment(text, where, runner.stem, digest, initial, {digest: made, runner.stem: runner})


def _where(file: Path) -> str:
    """The file in its folder as that is, without links and `..` in its path: what the manifest grants stands there."""
    return os.path.join(os.path.realpath(file.parent), file.name)


def without_runner(made: Path) -> ComponentError:
    """The error about a program that nothing on this machine can run."""
    return ComponentError(f"{made} was built for a Python runner that this machine does not have; build it again")


def digest_of(file: Path) -> str:
    """The digest of a file's content, in hex. What has been read once is not read again until it changes."""
    found = file.stat()
    return _digest_of(file, found.st_mtime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=1024)
def _digest_of(file: Path, changed_ns: int, size: int, inode: int) -> str:
    return content_digest(file.read_bytes()).hex()


def initial_state_file(file: Path, manifest: Manifest) -> Path | None:
    """The file of the initial state, if the manifest names one."""
    return None if manifest.init_state is None else file.parent / manifest.init_state


def _initial_state(file: Path, manifest: Manifest) -> bytes | None:
    if manifest.init_state_inline is not None:
        return manifest.init_state_inline.encode()
    path = initial_state_file(file, manifest)
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{file}: cannot read init_state {path}: {error.strerror}") from error
