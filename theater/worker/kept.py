"""What a host interface has set up for its actor outside, kept beside the chain.

It outlives the incarnations of an actor that goes on with its state, as timers do (theater/worker/timers.py), and is
forgotten before an init. The file is replaced atomically.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from theater.core.codec import pack, unpack
from theater.core.secrets import Veil
from theater.durable import replace, sync_folder
from theater.errors import IntegrityError, WireError, disk_error

_LARGEST = 64 << 20


class Kept:
    """One value (core/values.py), or None.

    Args:
        path: the file; read if it exists.
        release: puts what is recorded on the disk: what is beside the chain must not tell of entries that are lost.
        veil: hides the secrets of the actor in the file.
        durable: whether what was kept outlives the machine.
    """

    def __init__(
        self, path: Path, release: Callable[[], None], veil: Veil | None = None, *, durable: bool = False
    ) -> None:
        self._path = path
        self._release = release
        self._veil = veil
        self._durable = durable
        self._value = self._read()

    def get(self) -> Any:
        return self._value

    def put(self, value: Any) -> None:
        """Keeps another value.

        Raises:
            DiskFull, IntegrityError: the disk does not take it; what was kept before is kept still.
        """
        if value is None and self._value is None:
            return
        self._release()
        try:
            if value is None:
                self._path.unlink(missing_ok=True)
                if self._durable:
                    sync_folder(self._path.parent)
            else:
                shown = value if self._veil is None else self._veil.hide(value)
                replace(self._path, pack(shown), durable=self._durable)
        except OSError as error:
            raise disk_error(error, f"writing {self._path}") from error
        self._value = value

    def _read(self) -> Any:
        try:
            value = unpack(self._path.read_bytes(), max_len=_LARGEST, references=self._veil is not None)
            return value if self._veil is None else self._veil.show(value)
        except (FileNotFoundError, WireError, IntegrityError):
            return None  # Nothing is kept; or it is not what we wrote, and better forgotten than the end of every life.
