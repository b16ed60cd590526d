"""theater:otp/secrets: values that the manifest names and no record holds."""

from __future__ import annotations

from collections.abc import Mapping

from theater.host.base import Refused


class Secrets:
    """The interface. That the answer is hidden in the record is the business of the record (core/secrets.py).

    Args:
        values: by name, those of this life.
    """

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._values = values

    def get(self, name: str) -> bytes:
        try:
            return self._values[name]
        except KeyError:
            raise Refused(f"the manifest names no secret {name!r} under [secrets]") from None
