"""How `list<u8>` crosses the boundary of a component."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """One of the two ways; both give the same Python values."""

    BYTES = "bytes"
    """As a string in the form that `adapter` describes: the component was wrapped, and the function rewritten."""
    PLAIN = "plain"
    """As a list, cell by cell: the component is as its author made it, or the function was not rewritten."""
