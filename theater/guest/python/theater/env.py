"""Environment variables that the manifest grants (handler `environment`)."""

from theater._host import interface

_environment = interface("environment")


def get(name: str, default: str | None = None) -> str | None:
    """A variable's value."""
    found = _environment.get_var(name)
    return default if found is None else found


def exists(name: str) -> bool:
    """Whether there is a variable of this name."""
    return _environment.exists(name)


def all() -> dict[str, str]:
    """All variables that the actor may see."""
    return dict(_environment.list_vars())
