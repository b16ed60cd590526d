"""New projects: a folder with a manifest, a source, a README and a test that passes.

A template is a folder of files with `{{name}}`, `{{language}}` and `{{source}}` in them. What is the same in every
language lies in `templates/common/<template>`; a file of the same name in `templates/<language>/<template>` takes its
place. So a language is added by adding its source.
"""

from __future__ import annotations

from pathlib import Path

from theater.core.manifest import ACTOR_NAME, ACTOR_NAME_WORDS
from theater.core.quantities import show
from theater.errors import BuildFailed, InvalidInput, WrongState

TEMPLATES = Path(__file__).parents[1] / "templates"

_COMMON = "common"
_SUFFIXES = {"python": ".py"}  # where it is not the language's name


def languages() -> list[str]:
    """The languages that projects can be created in."""
    return sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir() and path.name != _COMMON)


def templates(language: str) -> list[str]:
    """The templates of a language."""
    return sorted(path.name for path in (TEMPLATES / language).iterdir() if path.is_dir())


def create(directory: Path, name: str, language: str = "python", template: str = "basic") -> list[Path]:
    """Creates a project.

    Args:
        directory: is made; may exist if it is empty.
        name: of the actor.
        language: one of `languages()`.
        template: one of `templates(language)`.

    Returns:
        The files that were written.

    Raises:
        InvalidInput: the name is none for an actor, or there is no such language or template.
        WrongState: the directory has something in it, or is a file.
        BuildFailed: a file cannot be written.
    """
    if ACTOR_NAME.fullmatch(name) is None:
        raise InvalidInput(f"{show(name)} cannot be an actor's name; allowed: {ACTOR_NAME_WORDS}")
    files = _files(language, template)
    _check_empty(directory)
    source = f"actor{_SUFFIXES.get(language, f'.{language}')}"
    words = {"{{name}}": name, "{{language}}": language, "{{source}}": source}
    return [_write(directory / relative, origin, words) for relative, origin in sorted(files.items())]


def _files(language: str, template: str) -> dict[str, Path]:
    """The origin of each file, by its path in the new project."""
    _check_choice("language", language, languages())
    _check_choice("template", template, templates(language))
    return {
        str(path.relative_to(folder)): path
        for folder in (TEMPLATES / _COMMON / template, TEMPLATES / language / template)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _check_choice(what: str, given: str, known: list[str]) -> None:
    if given not in known:
        raise InvalidInput(f"there is no {what} {show(given)}; allowed: {', '.join(known)}")


def _check_empty(directory: Path) -> None:
    if directory.is_dir():
        if any(directory.iterdir()):
            raise WrongState(f"{directory} is not empty; create the project in a new folder")
    elif directory.exists() or directory.is_symlink():
        raise WrongState(f"{directory} is a file; create the project in a new folder")


def _write(path: Path, origin: Path, words: dict[str, str]) -> Path:
    text = origin.read_text("utf-8")
    for placeholder, word in words.items():
        text = text.replace(placeholder, word)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise BuildFailed(f"cannot write {path}: {error.strerror}") from error
    return path
