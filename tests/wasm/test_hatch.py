"""Which components can have a hatch, and that one who has it is what it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from compiled import LIBC, Host, compiled, faults
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st
from wasm_guests import ENGINE, binary

from theater.errors import WrongState
from theater.wasm.anatomy import anatomy
from theater.wasm.binary import sections
from theater.wasm.guest import Guest
from theater.wasm.hatch import FUNCTIONS, GUEST, cut_hatch
from theater.wasm.instructions import GLOBAL_SET, instructions
from theater.wasm.types import describe_binary


def with_core(core: str, more: str = "") -> bytes:
    """A component with one core module, instantiated."""
    return binary(f"(component (core module $m {core}) (core instance $i (instantiate $m)) {more})")


def reason(component: bytes) -> str:
    same, hatch = cut_hatch(component)
    assert same is component
    return hatch.unportable


def test_a_component_with_a_hatch_exports_it_beside_what_it_exported() -> None:
    component = binary(faults())
    hatched, hatch = cut_hatch(component)
    before, after = (describe_binary(it, ENGINE) for it in (component, hatched))
    assert after.imports == before.imports
    assert after.exports.keys() - before.exports.keys() == {GUEST}
    assert after.exports[GUEST].functions == FUNCTIONS
    assert {name: after.exports[name] for name in before.exports} == before.exports
    assert (hatch.memories, hatch.globals, hatch.unportable) == (1, (4, 4), "")


def test_a_hatch_is_cut_the_same_way_each_time() -> None:
    component = binary(faults())
    assert cut_hatch(component) == cut_hatch(component)


def test_a_component_has_one_hatch_at_most() -> None:
    hatched, _ = cut_hatch(binary(faults()))
    assert reason(hatched) == "it has a hatch already"


# ---- globals


def widths(core: str, more: str = "") -> tuple[int, ...]:
    hatched, hatch = cut_hatch(with_core(core, more))
    assert hatch.unportable == ""
    wasmtime.component.Component(ENGINE, hatched)
    return hatch.globals


def test_globals_that_are_never_set_are_not_kept() -> None:
    assert widths('(global (mut i32) (i32.const 0)) (global $a (mut i64) (i64.const 0)) (func (export "f"))') == ()


def test_globals_that_code_sets_are_kept_with_their_widths() -> None:
    kinds = ("i32", "i64", "f32", "f64")
    globals_ = "".join(f"(global ${t} (mut {t}) ({t}.const 1))" for t in kinds)
    sets = "".join(f"(global.set ${t} ({t}.const 2))" for t in reversed(kinds))
    vector = "(global $v (mut v128) (v128.const i64x2 0 0))"
    code = f'(func (export "f") {sets} (global.set $v (v128.const i64x2 1 1)))'
    assert widths(f"{globals_} {vector} {code}") == (4, 8, 4, 8, 16)


def test_what_only_the_start_function_sets_is_the_same_in_every_instance() -> None:
    setting = "(global $g (mut i32) (i32.const 0)) (func $s (global.set $g (i32.const 1)))"
    assert widths(f"{setting} (start $s)") == ()
    assert widths(f'{setting} (start $s) (func (export "f") (call $s))') == (4,)
    assert widths(f"{setting} (start $s) (table 1 funcref) (elem (i32.const 0) func $s)") == (4,)
    assert widths(f"{setting} (start $s) (table 1 funcref) (elem (i32.const 0) funcref (ref.func $s))") == (4,)
    assert widths(f"{setting} (start $s) (global funcref (ref.func $s))") == (4,)


def test_each_instance_of_a_module_has_globals_of_its_own() -> None:
    core = '(global $g (mut i32) (i32.const 0)) (func (export "f") (global.set $g (i32.const 1)))'
    assert widths(core, "(core instance (instantiate $m))") == (4, 4)


def test_a_global_that_several_modules_set_is_kept_once() -> None:
    core = '(global (export "g") (mut i32) (i32.const 0))'
    users = """
      (core module $user (import "env" "g" (global $g (mut i32))) (export "again" (global $g))
        (func (export "f") (global.set $g (i32.const 1))))
      (core instance $one (instantiate $user (with "env" (instance $i))))
      (alias core export $one "again" (core global $again))
      (core instance $two (instantiate $user (with "env" (instance (export "g" (global $again))))))"""
    assert widths(core, users) == (4,)


# ---- what has none


@pytest.mark.parametrize(
    ("core", "why"),
    [
        ('(table $t 1 funcref) (func (export "f") (table.set $t (i32.const 0) (ref.null func)))', "changes tables"),
        (
            '(table $t 1 funcref) (func (export "f") (drop (table.grow $t (ref.null func) (i32.const 1))))',
            "changes tables",
        ),
        (
            '(table $t 1 funcref) (func (export "f") (table.fill $t (i32.const 0) (ref.null func) (i32.const 1)))',
            "changes tables",
        ),
        (
            '(table $t 2 funcref) (func (export "f") (table.copy (i32.const 0) (i32.const 1) (i32.const 1)))',
            "changes tables",
        ),
        (
            '(table $t 1 funcref) (elem $e func) (func (export "f") (table.init $e (i32.const 0) (i32.const 0)'
            " (i32.const 0)))",
            "changes tables",
        ),
        ('(elem $e func) (func (export "f") (elem.drop $e))', "segments"),
        ('(memory 1) (data $d "x") (func (export "f") (data.drop $d))', "segments"),
        (
            '(global $g (mut funcref) (ref.null func)) (func (export "f") (global.set $g (ref.null func)))',
            "are references",
        ),
        (
            "".join(f"(global $g{n} (mut i32) (i32.const 0))" for n in range(65))
            + '(func (export "f")'
            + "".join(f"(global.set $g{n} (i32.const 1))" for n in range(65))
            + ")",
            "64 can be kept",
        ),
    ],
)
def test_code_that_changes_what_nobody_can_read_has_none(core: str, why: str) -> None:
    assert why in reason(with_core(core))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "(component (type $r (resource (rep i32))) (core func (canon resource.new $r)))",
            "resources of its own",
        ),
        ("(component (component (core module)))", "core modules inside"),
        ("(component (component (component (core module))))", "core modules inside"),
        ('(component (core type $t (module)) (import "m" (core module (type $t))))', "from elsewhere"),
        ('(component (core module $m) (export "theater:hatch/guest" (core module $m)))', ""),
    ],
)
def test_components_whose_parts_are_out_of_reach_have_none(text: str, why: str) -> None:
    assert reason(binary(text)) if not why else why in reason(binary(text))


def test_a_guest_without_a_hatch_has_a_root_and_says_why_it_is_not_portable(tmp_path: Path) -> None:
    core = f"""(component {LIBC}
      (core module $m (import "libc" "memory" (memory 1)) (table $t 1 funcref)
        (func (export "f") (result i32) (table.set $t (i32.const 0) (ref.null func))
          (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1))) (i32.load (i32.const 64))))
      (core instance $i (instantiate $m (with "libc" (instance $libc))))
      (func (export "f") (result u32) (canon lift (core func $i "f"))))"""
    artefact = compiled(tmp_path, core)
    one, other = Guest(artefact, Host()), Guest(artefact, Host())
    for guest in (one, other):
        guest.keep_image()
    before = one.state_root()
    assert [one.call("", "f", ()), other.call("", "f", ())] == [1, 1]
    assert one.state_root() == other.state_root() != before
    assert one.unportable == "its code changes tables or segments while it runs"
    with pytest.raises(WrongState, match="changes tables"):
        one.keep()


def test_a_memory_that_has_no_page_yet_is_not_portable(tmp_path: Path) -> None:
    artefact = compiled(
        tmp_path,
        """(component (core module $m (memory 0) (func (export "f") (result i32) (memory.grow (i32.const 1))))
        (core instance $i (instantiate $m)) (func (export "f") (result u32) (canon lift (core func $i "f"))))""",
    )
    guest = Guest(artefact, Host())
    guest.keep_image()
    assert guest.unportable is not None
    assert "no page yet" in guest.unportable
    with pytest.raises(WrongState):
        guest.keep()


# ---- bytes that are no component


@settings(max_examples=effort(50, 400), deadline=None)
@given(st.data())
def test_a_damaged_component_is_left_as_it_is_or_still_has_its_hatch(data: st.DataObject) -> None:
    component = bytearray(binary(faults()))
    for _ in range(data.draw(st.integers(1, 4))):
        component[data.draw(st.integers(0, len(component) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(component[: data.draw(st.integers(0, len(component)))])
    hatched, hatch = cut_hatch(damaged)
    assert (hatched == damaged) == bool(hatch.unportable)


# ---- instructions


_ALL = """(module (memory 1) (table 2 funcref) (global $g (mut i32) (i32.const 0)) (global $w (mut i64) (i64.const 0))
  (type $t (func)) (func $other) (data $d "x") (elem declare func $other)
  (func (param i32) (local v128 f64)
    (block $a (block $b (block $c (br_table $a $b $c $a (local.get 0)))))
    (block (result i32 i64) (i32.const -1) (i64.const -1)) (drop) (drop)
    (drop (f32.const nan:0x200024)) (drop (f64.const 0x1.2424242424242p+36))
    (drop (i64.const 0x2424242424242424)) (drop (i32.const 0x24242424))
    (drop (v128.const i32x4 0x24242424 0x24242424 0x24242424 0x24242424))
    (drop (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get 1) (local.get 1)))
    (drop (v128.load offset=0x24 (i32.const 0))) (v128.store32_lane offset=9 2 (i32.const 0) (local.get 1))
    (drop (i8x16.extract_lane_s 3 (local.get 1))) (drop (i32x4.dot_i16x8_s (local.get 1) (local.get 1)))
    (drop (i16x8.extmul_low_i8x16_u (local.get 1) (local.get 1))) (drop (f64x2.promote_low_f32x4 (local.get 1)))
    (drop (i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get 1) (local.get 1) (local.get 1)))
    (drop (v128.load32_zero (i32.const 0))) (drop (v128.load8_splat (i32.const 0)))
    (i64.store32 offset=0x2424 align=1 (i32.const 0) (i64.const 1)) (drop (i32.load8_s (i32.const 0)))
    (drop (i32.trunc_sat_f64_u (local.get 2))) (memory.copy (i32.const 0) (i32.const 0) (i32.const 0))
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)) (drop (memory.grow (memory.size)))
    (drop (select (result i32) (i32.const 1) (i32.const 2) (i32.const 3))) (drop (ref.is_null (ref.func $other)))
    (drop (ref.is_null (table.get 0 (i32.const 0)))) (drop (table.size 0)) (drop (ref.is_null (ref.null extern)))
    (call_indirect (type $t) (i32.const 0)) (if (i32.const 1) (then (return)) (else (call $other)))
    (loop (br_if 0 (i32.eqz (i32.extend8_s (i32.const 1)))))
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))
    (global.set $w (i64.const 0)) (global.set $g (i32.const 0)) (drop (global.get $g)) (unreachable) (nop)))"""


def test_every_instruction_is_read_as_long_as_it_is() -> None:
    module = binary(_ALL)
    (code,) = (s for s in sections(module) if s.id == 10)
    end = code.end
    body = module.index(b"\x02\x01\x7b\x01\x7c", code.body) + 5  # behind the locals of the second function
    found = list(instructions(module, body, end))
    assert [i.immediate for i in found if i.opcode == GLOBAL_SET] == [1, 0]
    assert [i for i in found if i.opcode != GLOBAL_SET] == [(0xD2, 0), (0xFC, 8)]
    # Nothing of what is passed over is anything else: the reader stands where the function ends.
    assert module[end - 1] == 0x0B


def test_the_anatomy_of_a_component_is_that_of_its_modules() -> None:
    found = anatomy(binary(faults()))
    assert [module.memories for module in found.modules] == [1, 0]
    assert [module.set for module in found.modules] == [{0}, {0}]
    assert found.exports == {"test:faults/api@1.0.0"}
    assert found.imported == {"test:faults/host@1.0.0": 0}
