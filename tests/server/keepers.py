"""An actor that knows secrets: tests/actors/probe.wat, which also

'k' gets the secret that the rest names, makes it its state and answers it
'S' makes the rest its state and answers it
"""

from __future__ import annotations

from pathlib import Path

import wasmtime

_PROBE = Path(__file__).parents[1] / "actors" / "probe.wat"
_GET = '(export "get" (func (param "name" string) (result (result (list u8) (error string)))))'
_CHANGES = (
    ("(component\n", f'(component\n  (import "theater:otp/secrets@0.1.0" (instance $secrets {_GET}))\n'),
    (
        "  (core module $main\n",
        '  (core func $secret (canon lower (func $secrets "get") (memory $mem) (realloc $realloc) '
        "string-encoding=utf8))\n  (core module $main\n"
        '    (import "host" "secret" (func $secret (param i32 i32 i32)))\n',
    ),
    (
        "      (if (i32.eq (local.get $op) (i32.const 0x75)) (then unreachable))",
        """
      (if (i32.eq (local.get $op) (i32.const 0x6b)) (then ;; k
        (call $secret (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1)) (i32.const 128))
        (if (i32.load8_u (i32.const 128))
          (then (return (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
        (return (call $ok (i32.const 1) (i32.load (i32.const 132)) (i32.load (i32.const 136))
          (i32.const 1) (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (if (i32.eq (local.get $op) (i32.const 0x53)) (then ;; S
        (local.set $p (i32.add (local.get $p) (i32.const 1)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (return (call $ok (i32.const 1) (local.get $p) (local.get $n) (i32.const 1) (local.get $p) (local.get $n)))))
      (if (i32.eq (local.get $op) (i32.const 0x75)) (then unreachable))""",
    ),
    ('(export "log" (func $log)) (export', '(export "secret" (func $secret)) (export "log" (func $log)) (export'),
)


def keeper() -> bytes:
    """The component."""
    text = _PROBE.read_text()
    for before, after in _CHANGES:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return bytes(wasmtime.wat2wasm(text))
