"""Where the values of secrets come from: the server's environment, and files, as manifests say.

A life begins with what is there then: a value that was changed is a new one from the next life on. What a value was is
kept in the home (theater/store/secrets.py) before the life begins, since without it nobody could replay the chain.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from theater.config import Home
from theater.core.manifest import Manifest, SecretSource
from theater.core.secrets import LEAST, MOST, Secret, Veil
from theater.errors import StartFailed
from theater.server.cast import Actor, packed_manifest
from theater.store.secrets import keep, kept

_READABLE_BY_OTHERS = 0o007


class Vault:
    """The secrets of a home.

    Args:
        environment: of the server.
    """

    def __init__(self, home: Home, environment: Mapping[str, str]) -> None:
        self._folder = home.secrets
        self._environment = environment

    def open(self, actor: Actor) -> str | None:
        """Gets the secrets of a life that is about to begin; returns the folder of all that its actor ever had.

        Raises:
            StartFailed: one is not there, or cannot be used.
        """
        manifest, folder = actor.manifest, self._folder / actor.id
        if manifest.secrets:
            keep(folder, {each.name: self._value(each, actor) for each in manifest.secrets})
        return str(folder) if manifest.secrets or folder.is_dir() else None

    def veil(self, *actors: str | None) -> Veil | None:
        """What hides the secrets of some actors; None if they have none."""
        found: dict[tuple[str, bytes], Secret] = {}
        for actor in actors:
            for secret in kept(self._folder / actor) if actor is not None else ():
                found[secret.name, secret.tag] = secret
        return Veil(list(found.values())) if found else None

    def _value(self, source: SecretSource, actor: Actor) -> bytes:
        who = f"the secret {source.name!r} of {actor.manifest.name}"
        if source.file is not None:
            path = Path(actor.where).parent / source.file
            if not path.is_absolute():
                raise StartFailed(f"{who}: the actor was started without a file, so {path} is beside nothing")
            value = _read(path, who)
        else:
            value = _from_environment(self._environment, source.env or "", who)
        _check(value, who, actor.manifest)
        return value


def _from_environment(environment: Mapping[str, str], variable: str, who: str) -> bytes:
    value = environment.get(variable)
    if value is None:
        raise StartFailed(f"{who}: the server's environment has no variable {variable}")
    return os.fsencode(value)


def _read(path: Path, who: str) -> bytes:
    """The content of a file that belongs to nobody else, without one end of line at its end."""
    try:
        # Not to wait for whoever writes into a pipe: the whole server would.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with open(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise StartFailed(f"{who}: {path} is no file")
            if stat.S_IMODE(found.st_mode) & _READABLE_BY_OTHERS:
                raise StartFailed(f"{who}: everybody on this machine may use {path}; say `chmod 600 {path}`")
            value = file.read(MOST + 3)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise StartFailed(f"{who}: cannot read {path}: {why}") from error
    if value.endswith(b"\n"):
        value = value[: -2 if value.endswith(b"\r\n") else -1]
    return value


def _check(value: bytes, who: str, manifest: Manifest) -> None:
    if not LEAST <= len(value) <= MOST:
        raise StartFailed(
            f"{who} has {len(value)} bytes; allowed: {LEAST} to {MOST}, since a shorter one occurs by accident"
        )
    if value in packed_manifest(manifest):
        raise StartFailed(f"{who} is written in the manifest, which everybody may read; choose another value")
