"""The canonical ABI of the component model, as far as a forwarder needs it: how values lie in memory and in parameters.

Of a value of type `list<u8>` and one of type `string` the ABI says the same, an address and a length. That is what lets
the adapter put one in the place of the other: nothing but the bytes behind the address changes.
Source: design/mvp/CanonicalABI.md of the component model, "Alignment", "Element Size" and "Flattening".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from theater.wasm.types import Type, cases, children, wit

MAX_FLAT_PARAMETERS = 16
"""More core parameters than this become one address of a tuple in memory."""
MAX_FLAT_RESULTS = 1
"""More core results than this are written to an address that the caller gives."""

_SIZES = {
    **dict.fromkeys(("bool", "s8", "u8"), 1),
    **dict.fromkeys(("s16", "u16"), 2),
    **dict.fromkeys(("s32", "u32", "f32", "char"), 4),
    **dict.fromkeys(("s64", "u64", "f64"), 8),
}
_CORE = {"s64": "i64", "u64": "i64", "f32": "f32", "f64": "f64"}


class Layout(NamedTuple):
    """Size and alignment in linear memory, in bytes."""

    size: int
    alignment: int


def aligned(offset: int, alignment: int) -> int:
    """The least multiple of `alignment` that is not less than `offset`."""
    return -(-offset // alignment) * alignment


def layout(t: Type | None) -> Layout:
    """Size and alignment of a value of type `t`; of nothing, for a case without payload."""
    if t is None:
        return Layout(0, 1)
    if t == "string" or t[0] == "list":
        return Layout(8, 4)
    if isinstance(t, str):
        return Layout(_SIZES[t], _SIZES[t])
    if t[0] in ("record", "tuple"):
        return _layout_of_product(children(t))
    if t[0] == "flags":
        return _layout_of_flags(len(t[1]))
    if t[0] in ("variant", "option", "result", "enum"):
        return _layout_of_sum(t)
    raise ValueError(f"no layout is known for {wit(t)}")


def _layout_of_product(members: Iterable[Type]) -> Layout:
    size, alignment = 0, 1
    for member in members:
        inner = layout(member)
        size = aligned(size, inner.alignment) + inner.size
        alignment = max(alignment, inner.alignment)
    return Layout(aligned(size, alignment), alignment)


def _layout_of_flags(count: int) -> Layout:
    if count <= 8:
        return Layout(1, 1)
    return Layout(2, 2) if count <= 16 else Layout(4 * -(-count // 32), 4)


def _layout_of_sum(t: Type) -> Layout:
    payloads = [layout(payload) for _, payload in cases(t)]
    discriminant = discriminant_size(t)
    alignment = max(discriminant, *(p.alignment for p in payloads))
    size = aligned(discriminant, max(p.alignment for p in payloads)) + max(p.size for p in payloads)
    return Layout(aligned(size, alignment), alignment)


def discriminant_size(t: Type) -> int:
    """Bytes of the number that says which case a variant, option, result or enum has."""
    count = len(cases(t))
    return 1 if count <= 1 << 8 else 2 if count <= 1 << 16 else 4


def payload_offset(t: Type) -> int:
    """Where the payload of a variant, option or result begins."""
    return aligned(discriminant_size(t), max(layout(payload).alignment for _, payload in cases(t)))


def members_at(t: Type) -> Iterator[tuple[int, Type]]:
    """The members of a record or tuple with their offsets."""
    offset = 0
    for member in children(t):
        inner = layout(member)
        offset = aligned(offset, inner.alignment)
        yield offset, member
        offset += inner.size


def flat(t: Type | None) -> list[str]:
    """The core types that a value of type `t` takes as parameters or results."""
    if t is None:
        return []
    if t == "string" or t[0] == "list":
        return ["i32", "i32"]
    if isinstance(t, str):
        return [_CORE.get(t, "i32")]
    if t[0] in ("record", "tuple"):
        return [core for member in children(t) for core in flat(member)]
    if t[0] == "flags":
        return ["i32"] * -(-len(t[1]) // 32)
    if t[0] in ("variant", "option", "result", "enum"):
        return ["i32", *_joined(payload for _, payload in cases(t))]
    raise ValueError(f"no flat form is known for {wit(t)}")


def _joined(payloads: Iterable[Type | None]) -> list[str]:
    """Core types that can carry any of the payloads."""
    joined: list[str] = []
    for payload in payloads:
        for i, core in enumerate(flat(payload)):
            if i == len(joined):
                joined.append(core)
            elif joined[i] != core:
                joined[i] = "i32" if {joined[i], core} == {"i32", "f32"} else "i64"
    return joined
