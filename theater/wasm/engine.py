"""One engine configuration for everything: what guests may use, and what makes them deterministic.

An artefact loads only into an engine of the configuration it was compiled with, fuel counts and NaN bits depend on
it, and a replay must have the same one. So the switches stand in one table, `SETTINGS`; `engine` applies it,
`engine_identity` names it without loading wasmtime, and the artefact cache and a chain's genesis carry it.

Off is every proposal that the supported languages do not need (what is off cannot be attacked: each wasmtime advisory
of 2025 and 2026 named the feature it lives in), and everything whose result depends on the machine or on timing.
"""

from __future__ import annotations

import functools
import platform
import resource
from typing import TYPE_CHECKING, Final

from theater.core.codec import digest
from theater.errors import LimitExceeded
from theater.wasm.installed import wasmtime_version

if TYPE_CHECKING:
    import wasmtime

MAX_WASM_STACK: Final = 2 << 20
"""Bytes of native stack that wasm frames may use; deeper recursion is a trap."""

SETTINGS: Final[dict[str, bool | int]] = {
    # determinism
    "cranelift_nan_canonicalization": True,
    "wasm_relaxed_simd_deterministic": True,
    "wasm_threads": False,
    "shared_memory": False,
    # deadlines
    "epoch_interruption": True,
    # compiling: Cranelift at full optimisation, and never Winch
    "strategy": 1,
    "cranelift_opt_level": 1,
    "max_wasm_stack": MAX_WASM_STACK,
    # linear memory: a fixed reservation makes bounds checks free and lets `guest` find the memories again
    "memory_reservation": 4 << 30,
    "memory_guard_size": 32 << 20,
    "memory_may_move": False,
    "memory_init_cow": True,
    # what guests need
    "wasm_component_model": True,
    "wasm_bulk_memory": True,
    "wasm_multi_value": True,
    "wasm_reference_types": True,
    "wasm_simd": True,
    "wasm_relaxed_simd": True,
    # what wasmtime needs itself: copying between components is code over two memories; without it the compiler aborts
    "wasm_multi_memory": True,
    # what nobody needs
    "wasm_memory64": False,
    "wasm_tail_call": False,
    "wasm_exceptions": False,
    "wasm_function_references": False,
    "wasm_gc": False,
    "gc_support": False,
    "wasm_wide_arithmetic": False,
    "wasm_custom_page_sizes": False,
    "wasm_stack_switching": False,
    "wasm_branch_hinting": False,
    "wasm_compact_imports": False,
    "wasm_component_model_map": False,
    "wasm_component_model_implements": False,
    "wasm_component_model_canonical_names": False,
    "wasm_component_model_accessors": False,
    "wasm_component_model_async": False,
    "wasm_component_model_more_async_builtins": False,
    "wasm_component_model_async_stackful": False,
    "concurrency_support": False,
}
"""Setting of `wasmtime_config_<name>_set` in wasmtime's C API -> value."""

_CPU_FIELDS: Final = frozenset(
    (
        *("vendor_id", "cpu family", "model", "model name", "flags"),  # x86-64
        *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"),  # aarch64
    )
)


def engine(fuel: bool, *, parallel: bool = False) -> wasmtime.Engine:
    """An engine of the one configuration.

    Args:
        fuel: meter instructions. An artefact compiled with it does not load without it.
        parallel: compile on all cores. A process that did so must never fork: the threads it started are missing in
            the child, which hangs on its next compile. The compiled bytes are the same either way.

    Raises:
        LimitExceeded: the stack of this process is too small for `MAX_WASM_STACK`; wasm would overrun it.
    """
    import wasmtime
    from wasmtime import _ffi as ffi

    _check_stack()
    config = wasmtime.Config()
    for name, value in _switches(fuel, parallel).items():
        getattr(ffi, f"wasmtime_config_{name}_set")(config.ptr(), value)
    return wasmtime.Engine(config)


def engine_identity(fuel: bool) -> dict[str, object]:
    """What an artefact, and the fuel a call costs, depend on; plain values, the same in every process of a machine.

    wasmtime is not loaded for it.

    Returns:
        `name`, `version`, `fuel`, `settings` and `cpu` (machine, model, digest of the features).
    """
    return {
        "name": "wasmtime",
        "version": wasmtime_version(),
        "fuel": fuel,
        "settings": dict(SETTINGS),
        "cpu": dict(_cpu()),
    }


def _switches(fuel: bool, parallel: bool) -> dict[str, bool | int]:
    return {**SETTINGS, "consume_fuel": fuel, "parallel_compilation": parallel}


def _check_stack() -> None:
    """Half of the stack is left for what wasm calls: Python, and signal handlers."""
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != resource.RLIM_INFINITY and soft < 2 * MAX_WASM_STACK:
        raise LimitExceeded(
            f"the stack limit of {soft >> 10} KiB is too small for running WebAssembly: "
            f"at least {2 * MAX_WASM_STACK >> 10} KiB are needed (ulimit -s, or LimitSTACK= of the service)"
        )


@functools.cache
def _cpu() -> tuple[tuple[str, str], ...]:
    """The processor as far as compiled code depends on it.

    Format: proc_cpuinfo(5), `name : value` lines, a blank line after each processor. The first stands for all.
    """
    fields: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if not name.strip():
                    break
                if name.strip() in _CPU_FIELDS:
                    fields[name.strip()] = " ".join(sorted(value.split()))
    except OSError:
        pass  # hidden from this process: the machine's name must do, and wasmtime itself refuses foreign code
    features = "\n".join(f"{name}={value}" for name, value in sorted(fields.items()))
    return (
        ("machine", platform.machine()),
        ("model", fields.get("model name", "unknown")),
        ("digest", digest(features.encode(), b"theater:cpu").hex()),
    )
