"""The standard library, carried inside the component.

There are files only while the component is made. So every module of the library is compiled then and kept as bytes,
and an actor can import what nobody thought of when the runner was built.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import marshal
import os
import sys
import textwrap
import zlib
from collections.abc import Iterator
from types import CodeType, ModuleType

COMMON = (
    "array abc ast base64 binascii bisect calendar cmath collections contextlib copy csv dataclasses datetime decimal "
    "difflib enum fractions functools hashlib heapq hmac html inspect io itertools json logging math numbers operator "
    "pprint queue random re secrets statistics string struct textwrap time traceback types typing unicodedata "
    "urllib.parse uuid weakref zlib"
)
"""Imported when the component is made, so that actors find them in memory."""

_LEFT_OUT = frozenset(
    "__pycache__ ensurepip idlelib multiprocessing pydoc_data site-packages test tkinter turtledemo unittest venv "
    "_pydatetime.py _pydecimal.py _pyio.py doctest.py pdb.py pydoc.py turtle.py".split()
)
"""What needs a terminal, a window or other processes, and the twins in Python of modules that are there in C."""


class Carried(importlib.abc.InspectLoader, importlib.abc.MetaPathFinder):
    """Imports from compiled modules in memory.

    Args:
        folder: the folder that holds the standard library while the component is made.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._packages: set[str] = set()
        self._compiled: dict[str, bytes] = {}
        for name, path in _modules(folder):
            self._carry(name, path)

    def _carry(self, name: str, path: str) -> None:
        with open(path, "rb") as file:
            source = file.read()
        try:
            code = compile(source, os.path.relpath(path, self._folder), "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return
        self._compiled[name] = zlib.compress(marshal.dumps(code))
        if path.endswith("/__init__.py"):
            self._packages.add(name)

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None):
        if fullname not in self._compiled:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=self.is_package(fullname))

    def is_package(self, fullname: str) -> bool:
        return fullname in self._packages

    def get_code(self, fullname: str) -> CodeType:
        return marshal.loads(zlib.decompress(self._compiled[fullname]))

    def get_source(self, fullname: str) -> None:
        return None


def carry() -> Carried:
    """Takes the library in; call it while there are files."""
    for name in COMMON.split():
        importlib.import_module(name)
    return Carried(os.path.dirname(textwrap.__file__))


def detach(*finders: importlib.abc.MetaPathFinder) -> None:
    """From now on imports come from `finders` and never from files, which will not be there."""
    sys.path.clear()
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter, *finders]


def _modules(folder: str) -> Iterator[tuple[str, str]]:
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for file in sorted(files):
            if file.endswith(".py") and file not in _LEFT_OUT:
                path = os.path.join(where, file)
                parts = os.path.relpath(path, folder).removesuffix(".py").split("/")
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path
