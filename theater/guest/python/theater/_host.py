"""The host's side: the imported interfaces, and what their answers mean in Python."""

import importlib
from collections.abc import Callable
from typing import Any

from componentize_py_types import Err

from theater.errors import CallFailed


class _Absent:
    """Stands for an interface that this component was built without."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, function: str) -> Any:
        raise CallFailed(f"this component was built without {self._name}; grant it in the manifest and build again")


def interface(name: str) -> Any:
    """The generated module of an imported interface."""
    try:
        return importlib.import_module(f"wit_world.imports.{name}")
    except ModuleNotFoundError:
        return _Absent(name.replace("_", "-"))


def ask(function: Callable[..., Any], *args: Any) -> Any:
    """What a host function answers.

    Raises:
        CallFailed: it answered with an error.
    """
    try:
        return function(*args)
    except Err as refused:
        raise CallFailed(refused.value) from None


def milliseconds(seconds: float) -> int:
    """Seconds as the host counts them."""
    if seconds < 0:
        raise ValueError(f"a time of {seconds} seconds is negative")
    return round(seconds * 1000)
