"""The C API of wasmtime's component model as plain calls on integers, and the memory they speak about.

wasmtime-py wraps every value in ctypes objects, one by one. The generated code of `direct` instead lays values out in
memory of its own and hands over addresses. That needs what no header promises to Python: the layout of a component
value, the address of a `bytes` object's content, and the right to read wasmtime's memory by address. All of it is
collected here, is pinned to the wasmtime version named in pyproject.toml, and is proved on the installed library by
`direct.self_test`.

A component value is a cell of four 64-bit words: the kind (one byte), then up to three words that depend on it:

    bool, ints, floats, char   the value                       record   count, address of entries
    string, enum               length, address of UTF-8        variant  name length, name address, payload or 0
    list, tuple                count, address of cells         option   payload or 0
    flags                      count, address of names         result   is ok, payload or 0
    resource                   address of the handle

An entry of a record is six words: name length, name address, cell. A name of flags is two: length, address.
Source: include/wasmtime/component/val.h of the wasmtime C API, and wasmtime/_bindings.py of wasmtime-py 50.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from wasmtime import _ffi as ffi

from theater.errors import WasmtimeNotUnderstood
from theater.wasm.installed import wasmtime_version

CELL: Final = 4
"""Words of one component value."""
ENTRY: Final = 6
"""Words of one entry of a record: a name, then a cell."""
NAME: Final = 2
"""Words of one name."""

_IN_ORDER = (
    *("bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string"),
    *("list", "record", "tuple", "variant", "enum", "option", "result", "flags", "resource"),
)
KINDS: Final = {name: number for number, name in enumerate(_IN_ORDER)}
"""The kind of a cell, by the constructor of its type. Not the numbering of types, which has s8 s16 s32 s64 in a row."""


class CallFailed(Exception):
    """A call of the C API failed; for a call into a guest: the guest trapped, and its instance is lost.

    Attributes:
        message: wasmtime's whole text: the wasm backtrace if there is one, and in its last line the cause,
            e.g. `wasm trap: wasm 'unreachable' instruction executed`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


# ---- the version

UNDERSTOOD: Final = "50."
"""The beginning of the versions whose private layout is known. Widen it with pyproject.toml, after the tests passed."""


def not_understood(reason: str, installed: str | None = None) -> WasmtimeNotUnderstood:
    """The error that says which wasmtime is installed, which is needed, and what differs."""
    return WasmtimeNotUnderstood(
        f"wasmtime {installed or wasmtime_version()} is installed, but Theater understands {UNDERSTOOD}x: {reason}; "
        f"install it with `pip install 'wasmtime=={UNDERSTOOD}*'`",
    )


def check_version(installed: str) -> None:
    """Raises WasmtimeNotUnderstood unless this version is one that is known."""
    if not installed.startswith(UNDERSTOOD):
        raise not_understood("its private layout was never looked at", installed)


def check_layout() -> None:
    """Raises WasmtimeNotUnderstood unless cells, entries, kinds and `bytes` objects are as this module says."""
    for name, size in {"val": 8 * CELL, "valrecord_entry": 8 * ENTRY}.items():
        known = getattr(ffi, f"wasmtime_component_{name}", None)
        if known is None or ctypes.sizeof(known) != size:
            raise not_understood(f"wasmtime_component_{name} is not {size} bytes")
    for name, number in KINDS.items():
        known = getattr(ffi, f"WASMTIME_COMPONENT_{name.upper()}", None)
        if known is None or known.value != number:
            raise not_understood(f"the kind of {name} is not {number}")
    probe = b"theater"
    start = id(probe) + BYTES_OFFSET
    if octets[start : start + len(probe)] != probe:
        raise WasmtimeNotUnderstood("this Python keeps the content of bytes elsewhere than CPython 3.11 to 3.14 do")


# ---- functions

_word = ctypes.c_size_t


def _function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """A C function with a prototype of our own: indexing the library gives a fresh object, not wasmtime-py's."""
    try:
        function = ffi.dll[name]
    except AttributeError:
        raise not_understood(f"it has no function {name}") from None
    function.restype, function.argtypes = result, arguments
    return function


func_call = _function("wasmtime_component_func_call", _word, _word, _word, _word, _word, _word, _word)
"""(func, context, arguments, count, results, count) -> error. Borrows the arguments; drops what results held before."""
val_clone = _function("wasmtime_component_val_clone", None, _word, _word)
val_delete = _function("wasmtime_component_val_delete", None, _word)
_add_func = _function(
    "wasmtime_component_linker_instance_add_func", _word, _word, ctypes.c_char_p, _word, _word, _word, _word
)
_error_new = _function("wasmtime_error_new", _word, ctypes.c_char_p)
_error_message = _function("wasmtime_error_message", None, _word, _word)
_error_delete = _function("wasmtime_error_delete", None, _word)
_byte_vec_delete = _function("wasm_byte_vec_delete", None, _word)
_host_new = _function("wasmtime_component_resource_host_new", _word, ctypes.c_bool, ctypes.c_uint32, ctypes.c_uint32)
_host_rep = _function("wasmtime_component_resource_host_rep", ctypes.c_uint32, _word)
_host_delete = _function("wasmtime_component_resource_host_delete", None, _word)
_host_to_any = _function("wasmtime_component_resource_host_to_any", _word, _word, _word, _word)
_any_to_host = _function("wasmtime_component_resource_any_to_host", _word, _word, _word, _word)
_any_delete = _function("wasmtime_component_resource_any_delete", None, _word)

Callback = ctypes.CFUNCTYPE(_word, _word, _word, _word, _word, _word, _word, _word)
"""(data, context, function type, arguments, count, results, count) -> error. The arguments belong to wasmtime."""


def reserve(count: int) -> None:
    """Has memory for so many callbacks set aside, for a process that will not be able to make code. Each callback is a
    little code, for which the library takes a page whenever it has no place left, and of which it gives none back."""
    made = [Callback(lambda *_: 0) for _ in range(count)]
    made.clear()


def address(pointer: Any) -> int:
    """The address that a ctypes pointer holds."""
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def define_function(linker_instance: Any, name: str, callback: Any) -> None:
    """Put a host function into a `wasmtime.component.LinkerInstance`. The caller keeps `callback` alive.

    Raises:
        CallFailed: the linker refuses it, e.g. because the name is taken.
    """
    encoded = name.encode()
    error = _add_func(address(linker_instance.ptr()), encoded, len(encoded), address(callback), 0, 0)
    if error:
        raise CallFailed(take_error(error))


# ---- memory

BYTES_OFFSET: Final = bytes.__basicsize__ - 1
"""Where the content of a `bytes` object begins, counted from its `id` (CPython; the 1 is the NUL at its end)."""

_ADDRESS_SPACE: Final = 1 << 48

words: memoryview = memoryview((ctypes.c_char * _ADDRESS_SPACE).from_address(0)).cast("B").cast("Q")
"""All memory of the process as 64-bit words: the word at address `a` is `words[a >> 3]`."""
octets: memoryview = memoryview((ctypes.c_char * _ADDRESS_SPACE).from_address(0)).cast("B")
"""All memory of the process as bytes."""


def buffer_address(buffer: bytearray) -> int:
    """The address of a non-empty bytearray's content, true until its size changes."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


# ---- errors and the exceptions of host functions

_MARK: Final = "theater: host function raised, exception number "
_MARKED: Final = re.compile(re.escape(_MARK) + r"(\d+)\s*\Z")  # behind a backtrace there is a newline
_MOST_RAISED: Final = 64
_raised: dict[int, BaseException] = {}
_numbers = count(1)


def take_error(error: int) -> str:
    """The text of an error of the C API, which is freed."""
    vector = (ctypes.c_size_t * 2)()
    at = ctypes.addressof(vector)
    try:
        _error_message(error, at)
        size, data = vector
        text = str(octets[data : data + size], "utf-8", "replace")
        _byte_vec_delete(at)
    finally:
        _error_delete(error)
    return text


def park(exception: BaseException) -> int:
    """An error of the C API that stands for a host function's exception until `raise_error` meets it.

    The error carries a number and not the exception; it cannot be mistaken for that of another thread or another call,
    as one global "last exception" can. A number that nobody asks for (the call was interrupted) is forgotten in time.
    """
    number = next(_numbers)
    _raised[number] = exception
    while len(_raised) > _MOST_RAISED:
        _raised.pop(next(iter(_raised)), None)
    return int(_error_new(f"{_MARK}{number}".encode()))


def parked(message: str) -> BaseException | None:
    """The exception that a host function raised, if `message` is the text of the error that stands for it.

    The number is read at the very end, where wasmtime writes the root cause: a guest chooses the names of its
    functions, and so the words of a backtrace, but not the cause.
    """
    found = _MARKED.search(message)
    return _raised.pop(int(found[1]), None) if found else None


def raise_error(error: int) -> None:
    """Raise a host function's exception as itself, or what wasmtime says as `CallFailed`."""
    message = take_error(error)
    raise parked(message) or CallFailed(message)


# ---- resources of the host


def resource_number(context: int, handle: int) -> int:
    """The number the host gave a resource that arrives as an argument; the handle is consumed, borrowed or owned."""
    host = ctypes.c_size_t()
    error = _any_to_host(context, handle, ctypes.addressof(host))
    if error:
        raise_error(error)
    try:
        return int(_host_rep(host.value))
    finally:
        _host_delete(host.value)


class OwnedResource:
    """A handle that gives the guest resource `number` of host type `kind`; the guest's copy is made by `val_clone`."""

    __slots__ = ("handle",)

    def __init__(self, context: int, number: int, kind: int) -> None:
        self.handle = 0
        any_ = ctypes.c_size_t()
        host = _host_new(True, number, kind)
        try:
            error = _host_to_any(context, host, ctypes.addressof(any_))
        finally:
            _host_delete(host)
        if error:
            raise_error(error)
        self.handle = any_.value

    def __del__(self) -> None:
        if self.handle:
            _any_delete(self.handle)
