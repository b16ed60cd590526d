"""The core signatures of WIT functions: the canonical ABI's flattening, and nothing else of it.

A component function crosses as numbers: up to 16 flat parameters and one flat result, more of them through memory.
Source: "Flattening" in design/mvp/CanonicalABI.md of the component model.
"""

from __future__ import annotations

from enum import Enum
from itertools import zip_longest
from typing import NamedTuple

from theater.wasm.types import Signature, Type, cases

MAX_FLAT_PARAMS = 16
MAX_FLAT_RESULTS = 1

_FLAT = {"u64": ("i64",), "s64": ("i64",), "f32": ("f32",), "f64": ("f64",), "string": ("i32", "i32")}


class Direction(Enum):
    """Which way a function crosses: a guest calls the host (lowered import), or is called (lifted export)."""

    IMPORT = "import"
    EXPORT = "export"


class CoreSignature(NamedTuple):
    """Parameters and results of a core function, as `i32`, `i64`, `f32`, `f64`."""

    params: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.params)}) -> ({', '.join(self.results)})"


def core_signature(signature: Signature, direction: Direction) -> CoreSignature:
    """The core signature of a function.

    Args:
        signature: without named types (`wit.resolve`).
        direction: of the call; they differ in how a large result is handed over.
    """
    params = tuple(part for _, tree in signature.params for part in flatten(tree))
    results = () if signature.result is None else flatten(signature.result)
    if len(params) > MAX_FLAT_PARAMS:
        params = ("i32",)
    if len(results) <= MAX_FLAT_RESULTS:
        return CoreSignature(params, results)
    if direction is Direction.IMPORT:
        return CoreSignature((*params, "i32"), ())
    return CoreSignature(params, ("i32",))


def flatten(tree: Type) -> tuple[str, ...]:
    """The core values that a value of type `tree` becomes."""
    if isinstance(tree, str):
        return _FLAT.get(tree, ("i32",))
    kind = tree[0]
    if kind == "list":
        return ("i32", "i32")
    if kind == "tuple":
        return tuple(part for inner in tree[1] for part in flatten(inner))
    if kind == "record":
        return tuple(part for _, inner in tree[1] for part in flatten(inner))
    if kind == "flags":
        return ("i32",) * -(-len(tree[1]) // 32)
    if kind in ("own", "borrow", "enum"):
        return ("i32",)
    payloads = [() if payload is None else flatten(payload) for _, payload in cases(tree)]
    return ("i32", *(_join([part for part in column if part]) for column in zip_longest(*payloads)))


def _join(parts: list[str]) -> str:
    """The core type that can hold what any of the cases has at one place."""
    kinds = set(parts)
    if len(kinds) == 1:
        return parts[0]
    return "i32" if kinds == {"i32", "f32"} else "i64"
