"""From a manifest on disk to what a server needs: its text, the digests of its contents, the contents.

The component is a file beside the manifest, content that the server has already (`store:<digest>`), or what
`theater build` makes; that is made first when it is missing or older than its source. A Python actor's build is a
*program*: a file that names the runner component it is loaded into, so it comes with that component.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from theater import config
from theater.build.python import MAGIC
from theater.build.runner import find
from theater.core.codec import content_digest, unpack
from theater.core.manifest import Language, Manifest, parse
from theater.core.toml_text import LONGEST_TEXT
from theater.errors import ComponentError, ManifestError, WireError

MANIFEST = "manifest.toml"
_LONGEST = 1 << 20
"""Bytes that are read of a manifest at all; `parse` allows far fewer."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a start needs.

    Args:
        manifest: its text.
        where: its path, for sentences.
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
    file, text, manifest = read_manifest(given)
    initial = _initial_state(file, manifest)
    if manifest.component is not None and manifest.component.startswith("store:"):
        return Deployment(text, str(file), manifest.component.removeprefix("store:"), init_state=initial)
    made = _component(file, manifest, say)
    runner = _runner(made)
    if runner is None and manifest.build is not None:
        made = _build(file, manifest, standalone=False, say=say)
        runner = _runner(made)
    if runner is None:
        raise ComponentError(f"{made} was built for a Python runner that this machine does not have; build it again")
    digest = _digest(made)
    if runner == made:
        return Deployment(text, str(file), digest, init_state=initial, contents={digest: made})
    contents = {digest: made, runner.stem: runner}
    return Deployment(text, str(file), runner.stem, digest, initial, contents)


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


def is_program(made: Path) -> bool:
    """Whether a file is a program for the Python runner, and so no component."""
    with made.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _runner(made: Path) -> Path | None:
    """The component that runs what was made: itself, or a program's runner; None if this machine does not have that."""
    content = made.read_bytes()
    if not content.startswith(MAGIC):
        return made
    try:
        program = unpack(content[len(MAGIC) :], max_len=len(content))
        return find(config.cache(), str(program["runner"]))
    except (WireError, KeyError, TypeError) as error:
        raise ComponentError(f"{made} begins like a program and is none; build it again") from error


def _digest(made: Path) -> str:
    return content_digest(made.read_bytes()).hex()


def _initial_state(file: Path, manifest: Manifest) -> bytes | None:
    if manifest.init_state_inline is not None:
        return manifest.init_state_inline.encode()
    if manifest.init_state is None:
        return None
    path = file.parent / manifest.init_state
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{file}: cannot read init_state {path}: {error.strerror}") from error
