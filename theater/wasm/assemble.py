"""From the text format to a component: whole `(component ...)` text, or a `(module ...)` that is made into one.

A module in text is written as a compiler would write it (`componentize` says how its imports and exports are called);
it spares its author the component's own text, which repeats for every function what the .wit files say.
"""

from __future__ import annotations

import re

import wasmtime
from wasmtime import component as wc

from theater.errors import BuildFailed
from theater.wasm.binary import is_component
from theater.wasm.componentize import cause, componentize
from theater.wasm.engine import engine
from theater.wasm.types import Interfaces, describe

# The assembler's own report:  what / --> <anon>:LINE:COLUMN / | / LINE | the line / | ^
_REPORT = re.compile(r"(?P<what>.*?)\n\s*--> <anon>:(?P<line>\d+):(?P<column>\d+)\n", re.DOTALL)


def assemble(text: str, where: str) -> bytes:
    """The component that `text` is.

    Args:
        text: in the text format.
        where: the file's name, for sentences.

    Raises:
        BuildFailed: it is not in the text format, with line and column; or a module that fits no component.
    """
    try:
        binary = bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        raise BuildFailed(_explained(str(error), text, where)) from error
    return binary if is_component(binary) else componentize(binary)


def validated(component: bytes) -> Interfaces:
    """What a component imports and exports, after its code has been checked by compiling it.

    Raises:
        BuildFailed: it is not valid.
    """
    with_features = engine(False)
    try:
        whole = wc.Component(with_features, component)
    except wasmtime.WasmtimeError as error:
        raise BuildFailed(f"the component is not valid: {cause(error)}") from error
    return describe(whole.type, with_features)


def _explained(report: str, text: str, where: str) -> str:
    found = _REPORT.match(report)
    if found is None:
        return f"{where}: {report.strip()}"
    number, column = int(found["line"]), int(found["column"])
    lines = text.splitlines()
    line = lines[number - 1] if number <= len(lines) else ""
    shown = line.strip()
    indent = len(line) - len(line.lstrip())
    mark = " " * max(column - 1 - indent, 0) + "^"
    return f"{where}:{number}:{column}: {found['what'].strip()}\n    {shown}\n    {mark}"
