"""An actor's source as data: modules that are imported from memory, and the actor's class among them."""

import importlib
import importlib.abc
import importlib.util
import linecache
from types import CodeType, ModuleType
from typing import Any

import theater

_PLAIN = "MessageServerClient", "Actor", "HttpHandlers"


class LoadFailed(Exception):
    """A program cannot be run; the text is for the person who wrote it."""


class Modules(importlib.abc.InspectLoader, importlib.abc.MetaPathFinder):
    """Imports the program's modules, once there is a program.

    Attributes:
        files: where its modules stand in it.
    """

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._paths: dict[str, str] = {}
        self._sources: dict[str, str] = {}

    def add(self, path: str, source: bytes) -> None:
        """Takes in one module.

        Args:
            path: where it stands in the program, for instance `shop/prices.py`.
        """
        name = _module_name(path)
        text = importlib.util.decode_source(source)
        self.files.add(path)
        self._paths[name], self._sources[name] = path, text
        for package in _packages_above(name):
            self._sources.setdefault(package, "")
            self._paths.setdefault(package, f"{package.replace('.', '/')}/__init__.py")
        # No time of change: linecache never looks for a file. It is how a traceback shows the line.
        linecache.cache[path] = len(source), None, text.splitlines(keepends=True), path

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None):
        if fullname not in self._sources:
            return None
        return importlib.util.spec_from_loader(
            fullname, self, origin=self._paths[fullname], is_package=self.is_package(fullname)
        )

    def is_package(self, fullname: str) -> bool:
        return self._paths[fullname].endswith("/__init__.py")

    def get_source(self, fullname: str) -> str:
        return self._sources[fullname]

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._sources[fullname], self._paths[fullname])


modules = Modules()


def load(files: list[tuple[str, bytes]], entry: str) -> Any:
    """The actor of a program: an object of its class, or of the plain classes it defines.

    Args:
        files: relative paths and their source.
        entry: the module that defines the actor.

    Raises:
        LoadFailed: it defines no actor, or several.
        BaseException: what the program raised while it was imported.
    """
    for path, source in files:
        modules.add(path, source)
    return _actor_in(importlib.import_module(entry))


def _actor_in(module: ModuleType) -> Any:
    found = _actor_classes(module)
    if len(found) == 1:
        return found[0]()
    if found:
        names = ", ".join(sorted(cls.__name__ for cls in found))
        raise LoadFailed(f"{module.__name__} has several actors ({names}); leave one in this module")
    if any(isinstance(vars(module).get(name), type) for name in _PLAIN):
        return module
    raise LoadFailed(f"{module.__name__} has no actor; define a class that derives from theater.Actor")


def _actor_classes(module: ModuleType) -> list[type[theater.Actor]]:
    """The actors that a module defines, else those that it imports; a class that another derives from is none."""
    present = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, theater.Actor) and value is not theater.Actor
    }
    own = {cls for cls in present if cls.__module__ == module.__name__} or present
    return [cls for cls in own if not any(other is not cls and issubclass(other, cls) for other in own)]


def _module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _packages_above(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]
