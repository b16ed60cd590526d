"""The core module that each adapter component has for its memory: an allocator, and the two conversions.

The allocator only moves a mark upwards; the forwarder sets it back when a call is over (`adapter_forward`). `pack`
turns bytes into the form in which they travel, `unpack` turns that form into bytes; see `adapter` for the form itself.
Both take and give an address and a length, both leave ASCII where it is. They work on 16 bytes at a time.
"""

from __future__ import annotations


def memory_module(base: int) -> str:
    """Text of the module `$mem` and of its instance.

    Args:
        base: the first address that may be allocated, a multiple of 8; below it lie the results of calls.
    """
    return _MODULE.format(base=base, pack=_PACK, unpack=_UNPACK)


def _splat(value: int) -> str:
    return "(v128.const i8x16" + f" {value}" * 16 + ")"


def _digit_values(lanes: str) -> str:
    """Sixteen hex digits as their values: the low four bits, and 9 more for a letter, which has bit 6 set."""
    letter = f"(i8x16.shr_u (local.get {lanes}) (i32.const 6))"
    nine = f"(i8x16.add {letter} (i8x16.shl {letter} (i32.const 3)))"
    return f"(i8x16.add (v128.and (local.get {lanes}) {_splat(15)}) {nine})"


def _digit_value(digit: str) -> str:
    letter = f"(i32.shr_u (local.get {digit}) (i32.const 6))"
    return f"(i32.add (i32.and (local.get {digit}) (i32.const 15)) (i32.mul {letter} (i32.const 9)))"


def _pairs(lanes: str) -> str:
    """Digit values, two to a 16-bit lane, the first in its low byte: first * 16 + second."""
    first = f"(i16x8.shl (local.get {lanes}) (i32.const 4))"
    second = f"(i16x8.shr_u (local.get {lanes}) (i32.const 8))"
    return f"(v128.and (v128.or {first} {second}) (v128.const i16x8" + " 255" * 8 + "))"


def _digit(value: str) -> str:
    """The hex digit of a value below 16: 39 lies between "9" and "a"."""
    letter = f"(i32.gt_u (local.get {value}) (i32.const 9))"
    return f"(i32.add (i32.add (local.get {value}) (i32.const 48)) (i32.mul {letter} (i32.const 39)))"


_DIGITS = "(v128.const i8x16" + "".join(f" {ord(digit)}" for digit in "0123456789abcdef") + ")"
_LOW_HALVES = " ".join(f"{i} {i + 16}" for i in range(8))
_HIGH_HALVES = " ".join(f"{i} {i + 16}" for i in range(8, 16))

_UNPACK = f"""(func (export "unpack") (param $at i32) (param $size i32) (result i32 i32)
      (local $from i32) (local $to i32) (local $end i32) (local $v v128) (local $w v128) (local $a i32) (local $b i32)
      (if (i32.eqz (local.get $size)) (then (return (local.get $at) (i32.const 0))))
      (if (i32.lt_u (i32.load8_u (local.get $at)) (i32.const 128)) (then (return (local.get $at) (local.get $size))))
      ;; U+00FF takes two bytes; what follows is hex, and is decoded in place: writing never overtakes reading
      (local.set $size (i32.shr_u (i32.sub (local.get $size) (i32.const 2)) (i32.const 1)))
      (local.set $from (i32.add (local.get $at) (i32.const 2)))
      (local.set $to (local.get $at))
      (local.set $end (i32.add (local.get $at) (local.get $size)))
      (block $done (loop $sixteen
        (br_if $done (i32.gt_u (i32.add (local.get $to) (i32.const 16)) (local.get $end)))
        (local.set $v (v128.load (local.get $from)))
        (local.set $w (v128.load offset=16 (local.get $from)))
        (local.set $v {_digit_values("$v")})
        (local.set $w {_digit_values("$w")})
        (v128.store (local.get $to) (i8x16.narrow_i16x8_u {_pairs("$v")} {_pairs("$w")}))
        (local.set $from (i32.add (local.get $from) (i32.const 32)))
        (local.set $to (i32.add (local.get $to) (i32.const 16)))
        (br $sixteen)))
      (block $done (loop $one
        (br_if $done (i32.ge_u (local.get $to) (local.get $end)))
        (local.set $a (i32.load8_u (local.get $from)))
        (local.set $b (i32.load8_u offset=1 (local.get $from)))
        (i32.store8 (local.get $to) (i32.or (i32.shl {_digit_value("$a")} (i32.const 4)) {_digit_value("$b")}))
        (local.set $from (i32.add (local.get $from) (i32.const 2)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (br $one)))
      (local.get $at) (local.get $size))"""

_PACK = f"""(func (export "pack") (param $at i32) (param $size i32) (result i32 i32)
      (local $from i32) (local $to i32) (local $end i32) (local $text i32)
      (local $v v128) (local $w v128) (local $b i32)
      (local.set $from (local.get $at))
      (local.set $end (i32.add (local.get $at) (local.get $size)))
      (block $not_ascii
        (block $done (loop $sixteen
          (br_if $done (i32.gt_u (i32.add (local.get $from) (i32.const 16)) (local.get $end)))
          (br_if $not_ascii (i8x16.bitmask (v128.load (local.get $from))))
          (local.set $from (i32.add (local.get $from) (i32.const 16)))
          (br $sixteen)))
        (block $done (loop $one
          (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
          (br_if $not_ascii (i32.ge_u (i32.load8_u (local.get $from)) (i32.const 128)))
          (local.set $from (i32.add (local.get $from) (i32.const 1)))
          (br $one)))
        (return (local.get $at) (local.get $size)))
      (if (i32.gt_u (local.get $size) (i32.const 0x3fffffff)) (then unreachable))    ;; twice that would not fit
      (local.set $size (i32.add (i32.shl (local.get $size) (i32.const 1)) (i32.const 2)))
      (local.set $text (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (local.get $size)))
      (i32.store16 (local.get $text) (i32.const 0xbfc3))                            ;; U+00FF in UTF-8
      (local.set $from (local.get $at))
      (local.set $to (i32.add (local.get $text) (i32.const 2)))
      (block $done (loop $sixteen
        (br_if $done (i32.gt_u (i32.add (local.get $from) (i32.const 16)) (local.get $end)))
        (local.set $v (v128.load (local.get $from)))
        (local.set $w (i8x16.swizzle {_DIGITS} (v128.and (local.get $v) {_splat(15)})))
        (local.set $v (i8x16.swizzle {_DIGITS} (i8x16.shr_u (local.get $v) (i32.const 4))))
        (v128.store (local.get $to) (i8x16.shuffle {_LOW_HALVES} (local.get $v) (local.get $w)))
        (v128.store offset=16 (local.get $to) (i8x16.shuffle {_HIGH_HALVES} (local.get $v) (local.get $w)))
        (local.set $from (i32.add (local.get $from) (i32.const 16)))
        (local.set $to (i32.add (local.get $to) (i32.const 32)))
        (br $sixteen)))
      (block $done (loop $one
        (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
        (local.set $b (i32.shr_u (i32.load8_u (local.get $from)) (i32.const 4)))
        (i32.store8 (local.get $to) {_digit("$b")})
        (local.set $b (i32.and (i32.load8_u (local.get $from)) (i32.const 15)))
        (i32.store8 offset=1 (local.get $to) {_digit("$b")})
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (local.set $to (i32.add (local.get $to) (i32.const 2)))
        (br $one)))
      (local.get $text) (local.get $size))"""

_MODULE = """(core module $mem
    (memory (export "memory") 1)
    (global $top (export "top") (mut i32) (i32.const {base}))      ;; always a multiple of 8
    (func $realloc (export "realloc")
      (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32) (local $end i64) (local $pages i32)
      (local.set $at (global.get $top))
      (if (local.get $old)
        (then
          ;; the newest block moves its end, up or down; an older one may shrink where it is
          (if (i32.eq (call $end_of (local.get $old) (local.get $had)) (global.get $top))
            (then (local.set $at (local.get $old)))
            (else (if (i32.le_u (local.get $size) (local.get $had)) (then (return (local.get $old))))))))
      (local.set $end (i64.and
        (i64.add (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $size))) (i64.const 7))
        (i64.const -8)))
      (if (i64.gt_u (local.get $end) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))
        (then
          (if (i64.gt_u (local.get $end) (i64.const 0xffff0000)) (then unreachable))
          (local.set $pages (i32.wrap_i64 (i64.shr_u (i64.add (local.get $end) (i64.const 0xffff)) (i64.const 16))))
          (if (i32.eq (memory.grow (i32.sub (local.get $pages) (memory.size))) (i32.const -1)) (then unreachable))))
      (global.set $top (i32.wrap_i64 (local.get $end)))
      (if (i32.and (i32.ne (local.get $old) (i32.const 0)) (i32.ne (local.get $old) (local.get $at)))
        (then (memory.copy (local.get $at) (local.get $old) (local.get $had))))
      (local.get $at))
    (func $end_of (param $at i32) (param $size i32) (result i32)
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    {unpack}
    {pack}
    ;; for the host alone (`hatch`)
    (func (export "grow") (param i32 i32) (result i32) (memory.grow (local.get 1)))
    (func (export "peek") (param i32 i32) (result i32) (i32.load8_u (local.get 1))))
  (core instance $mem (instantiate $mem))
  (alias core export $mem "memory" (core memory $memory))
  (alias core export $mem "realloc" (core func $realloc))"""
