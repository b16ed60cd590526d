"""Which programs an actor may run, and with what: nothing but programs that its manifest names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from theater.core import granted_paths, schema
from theater.core.granted_paths import Path
from theater.core.permissions import Asked
from theater.core.quantities import GIB, MIB, show, show_duration, show_size
from theater.core.schema import Place, key
from theater.errors import InvalidInput

_DAY = 86_400_000  # ms
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_PATTERN = re.compile(_VARIABLE.pattern + r"\*?")

_LOADING = re.compile(
    r"(LD_|DYLD_|GLIBC_|GCONV_|MALLOC_|PYTHON|PERL|RUBY|NODE_|JAVA_|JDK_|_JAVA_|GIT_|BASH_|LUA_|PHP).*"
    r"|PATH|HOME|IFS|ENV|CDPATH|SHELLOPTS|BASHOPTS|PS4|PROMPT_COMMAND|TMPDIR|EDITOR|VISUAL|PAGER|CLASSPATH|LOCPATH"
)
"""Variables that make a program load or run something else. Only their own whole names grant them."""


def program(value: object) -> str:
    """A program as a manifest names it: by a name that is looked for in the server's PATH, or by an absolute path.

    Raises:
        InvalidInput: it is neither.
    """
    if not isinstance(value, str) or not value or "\0" in value or value in (".", ".."):
        raise InvalidInput(f'found {show(value)}; allowed: a name such as "git", or an absolute path')
    if "/" in value and (not value.startswith("/") or value.endswith("/")):
        raise InvalidInput(f'found {show(value)}; allowed: a name such as "git", or an absolute path')
    return value


def _programs(value: object, place: Place) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"found {show(value)}; allowed: an array of programs")
    return tuple(dict.fromkeys(program(each) for each in value))


def _variables(value: object, place: Place) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"found {show(value)}; allowed: an array of names")
    for pattern in value:
        if not isinstance(pattern, str) or _PATTERN.fullmatch(pattern) is None:
            raise InvalidInput(f'found {show(pattern)}; allowed: names such as "TZ", and beginnings such as "APP_*"')
    return tuple(dict.fromkeys(value))


def _folders(value: object, place: Place) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(granted_paths.read(folder)) for folder in schema.texts(value, place)))


@dataclass(frozen=True, slots=True)
class Process:
    """Permissions of the handler `process`.

    Args:
        programs: that it may run: names that are looked for in the server's PATH, and absolute paths.
        environment: variables that it may give them: names, and beginnings of names with a `*` behind them.
        cwd: folders, beside the manifest or absolute, in which and below which they may run; the first is where one
            runs that says nothing about it.
        count: how many may run at once.
        timeout: ms that each may run; None for any time.
        grace: ms between SIGTERM and SIGKILL when that time is over.
        output: bytes that each may write to standard output and standard error together; None for any number.
        memory: bytes of memory of its own that each of its processes may have; None for any number.
        cpu: ms of processor time that each of its processes may take; None for any time.
        processes: how many processes each may be at once; None for any number.
        files: how many descriptors each of its processes may have open.
    """

    programs: tuple[str, ...] = key(_programs, ())
    environment: tuple[str, ...] = key(_variables, ())
    cwd: tuple[str, ...] = key(_folders, ())
    count: int = key(schema.integer(1, 1000), 4)
    timeout: int | None = key(schema.milliseconds(1, 366 * _DAY, infinity=True), None)
    grace: int = key(schema.milliseconds(0, 60_000), 2000)
    output: int | None = key(schema.optional(schema.bytes_from(1, 1024 * GIB)), None)
    memory: int | None = key(schema.optional(schema.bytes_from(MIB, 1024 * GIB)), None)
    cpu: int | None = key(schema.milliseconds(1000, 366 * _DAY, infinity=True), None)
    processes: int | None = key(schema.optional(schema.integer(1, 100_000)), None)
    files: int = key(schema.integer(3, 1_000_000), 1024)

    def gives(self, name: str) -> bool:
        """Whether the actor may give a program the variable `name`."""
        return _VARIABLE.fullmatch(name) is not None and self._has_variable(name)

    def _has_variable(self, name: str) -> bool:
        return any(_covers(pattern, name) for pattern in self.environment)

    def placed(self, folder: str) -> Self:
        """The same permissions with absolute folders.

        Args:
            folder: absolute path of the manifest's folder.
        """
        base = granted_paths.read(folder)
        return replace(self, cwd=tuple(str(granted_paths.read(each).within(base)) for each in self.cwd))

    def excess(self, granted: Self) -> str | None:
        if more := [each for each in self.programs if each not in granted.programs]:
            return f"run {', '.join(map(show, more))}"
        if more := [each for each in self.environment if not granted._has_variable(each)]:
            return f"give programs the variables {', '.join(more)}"
        theirs = [granted_paths.read(each) for each in granted.cwd]
        for folder in self.cwd:
            if not any(_lies_in(granted_paths.read(folder), each) for each in theirs):
                return f"run programs in {show(folder)}"
        return self._larger(granted)

    def _larger(self, granted: Self) -> str | None:
        for name, shown in _BOUNDS.items():
            ours, theirs = getattr(self, name), getattr(granted, name)
            if theirs is not None and (ours is None or ours > theirs):
                return f"have {name} = {'no bound' if ours is None else shown(ours)}, its parent {shown(theirs)}"
        return None

    def used(self, calls: Sequence[Asked]) -> Self:
        """Programs, variables and folders of those that were started."""
        configs = [call.args[0] for call in calls if call.function == "os-spawn" and not call.refused and call.args]
        started = [config for config in configs if isinstance(config, Mapping)]
        programs = {str(config.get("program")) for config in started}
        names = {str(pair[0]) for config in started for pair in config.get("env") or ()}
        return replace(
            self,
            programs=tuple(each for each in self.programs if _is_used(each, programs)),
            environment=tuple(sorted(name for name in names if self.gives(name))),
            cwd=tuple(each for each in self.cwd if self._is_run_in(each, started)),
        )

    def _is_run_in(self, folder: str, started: Sequence[Mapping[str, Any]]) -> bool:
        for config in started:
            if config.get("cwd") is None:
                found: str | None = next(iter(self.cwd), None)
            else:
                found = self.folder_of(str(config["cwd"]))
            if found == folder:
                return True
        return False

    def folder_of(self, path: str) -> str | None:
        """The innermost of the granted folders that `path` lies in."""
        try:
            found = granted_paths.nearest(granted_paths.read(path), self.cwd)
        except InvalidInput:
            return None
        return found[0] if found is not None else None


_BOUNDS: Mapping[str, Callable[[int], str]] = {
    "count": str,
    "timeout": show_duration,
    "output": show_size,
    "memory": show_size,
    "cpu": show_duration,
    "processes": str,
    "files": str,
}


def _is_used(granted: str, programs: set[str]) -> bool:
    """A program may be asked for by the path that its name stands for, which only the server knows."""
    return granted in programs or any(each.startswith("/") and each.endswith(f"/{granted}") for each in programs)


def _covers(pattern: str, name: str) -> bool:
    """Whether every variable that `name` stands for, which may be a pattern itself, fits `pattern`."""
    if name == pattern:
        return True
    return pattern.endswith("*") and name.startswith(pattern[:-1]) and _LOADING.fullmatch(name.rstrip("*")) is None


def _lies_in(path: Path, folder: Path) -> bool:
    return path.below(folder) is not None
