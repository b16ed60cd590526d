"""`--retention`: how much of its own chain a server keeps, in the words of a manifest's `[chain] retention`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from theater.core.manifest import Retention

OPTION = "--retention"


def read(texts: Sequence[str]) -> Retention | None:
    """What the options say together; None if there are none.

    Args:
        texts: `entries=N`, `bytes=SIZE` or `age=TIME` each.

    Raises:
        click.UsageError: one of them is none of these, or there twice.
    """
    from theater.core import schema
    from theater.core.manifest import Retention
    from theater.core.quantities import show
    from theater.core.toml_text import Document
    from theater.errors import ManifestError

    found: dict[str, object] = {}
    for text in texts:
        name, is_pair, value = text.partition("=")
        if not is_pair or name in found:
            wrong = "is there twice" if is_pair else "has no ="
            allowed = "entries=N, bytes=SIZE, age=TIME, each once"
            raise click.UsageError(f"{OPTION}: {show(text)} {wrong}; allowed: {allowed}")
        found[name] = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else value
    try:
        return schema.read(Retention, found, schema.Place(Document(OPTION, found))) if found else None
    except ManifestError as error:
        raise click.UsageError(error.message) from error
