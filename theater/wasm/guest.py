"""One instance of a component: loaded, linked to a host, called, and given up after its first trap.

A guest is made in a template process and used in every process forked from it: loading and linking cost milliseconds,
a fork of the result does not. Nothing here starts a thread or compiles. The first call with a timeout makes the
process's timer; a process that has called with one must not be forked by a raw clone(2) any more (see `deadline`).

A guest is one thread's, and not re-entrant: while it is in a call, a second one is refused, also from a host function.
After a trap, or an exception of a host function, wasm was left half way: the instance is dead and says so.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from typing import Any, Final, NoReturn, Protocol

import wasmtime
from wasmtime import component as wc

from theater.core.memory_image import MemoryImage
from theater.core.older_names import is_without_id, own_names, present_name, without_id
from theater.errors import ComponentError, ContentDamaged, WrongState
from theater.wasm import native
from theater.wasm.artefacts import Artefact
from theater.wasm.conform import conform_arguments
from theater.wasm.deadline import Deadline
from theater.wasm.direct import CallFailed, HostFunction, UnsupportedType, bind_export, bind_import, host_exceptions
from theater.wasm.engine import engine
from theater.wasm.hatch import FUNCTIONS, GUEST, Hatch
from theater.wasm.keeping import Keeping, Reach
from theater.wasm.memories import Memory, linear_memories
from theater.wasm.mode import Mode
from theater.wasm.shape import shape
from theater.wasm.traps import Trap, TrapKind, is_link_error, read_trap
from theater.wasm.types import Interface, Signature
from theater.wasm.wasi import PREFIX, Exit, Refused, Wasi, WasiHost

MAX_TABLE_ELEMENTS: Final = 1 << 20
"""Elements of the largest table, 8 bytes each. CPython has 20,000."""
MAX_MEMORIES: Final = 8
"""Linear memories of one instance, each up to the memory limit. The wrapper has two, a guest of any language one."""
_CALLBACKS_LATER: Final = 512
"""That are made when the guest first calls them (theater/wasm/wasi.py), or for another guest after this one."""
_NO_LIMIT: Final = -1
_MAX_FUEL: Final = (1 << 64) - 1

__all__ = ["Guest", "GuestHost", "Trap", "TrapKind", "WasiHost"]


class GuestHost(Protocol):
    """What a guest is linked to."""

    @property
    def wasi(self) -> WasiHost:
        """Answers what the guest asks through WASI."""

    def bind(self, interface: str, function: str, signature: Signature) -> Callable[..., Any] | None:
        """The Python function for an import, or None if there is none. Asked once for each, before the guest runs."""


class _State(Enum):
    READY = "ready"
    KEPT = "ready, and not called since its image was kept"
    IN_CALL = "in a call"
    DEAD = "dead"


class Guest:
    """One instance of a component.

    Args:
        artefact: what `ArtefactCache.find` gave: its digest was checked.
        host: what the imports are bound to.
        memory: bytes that each linear memory may have; None is no limit.
        loaded: the component, if another guest has loaded it already: no code is mapped then.
        before_running: called when its code is mapped, and before any of it runs.

    Attributes:
        component: what was loaded.
        exports: (interface, function) of all that can be called; an older name stands here as the present one
            (`theater.core.older_names`), as it does for the host.

    Raises:
        ComponentError: an import has no host function, or a type that cannot cross the boundary.
        ContentDamaged: the artefact does not load into this engine.
        Trap: the guest ended while it was instantiated, for instance because it needs more memory than it may have.
        BaseException: what a host function raised meanwhile.
    """

    def __init__(
        self,
        artefact: Artefact,
        host: GuestHost,
        *,
        memory: int | None = None,
        loaded: wc.Component | None = None,
        before_running: Callable[[], object] = lambda: None,
    ) -> None:
        meta = artefact.meta
        self._artefact = artefact
        self._described = meta.described()
        self._own = own_names(self._described.exports)
        self.exports = frozenset(
            (name, function) for name, own in self._own.items() for function in self._described.exports[own].functions
        )
        self._state = _State.READY
        self._ended = ""
        self._limited = memory is not None
        self._fuel = _MAX_FUEL
        self._engine = engine(meta.fuel)
        self._deadline = Deadline(self._engine)
        self._store = self._new_store(memory)
        self._wasi = Wasi(self._engine, host.wasi)
        self._kept: list[object] = []
        self.component = loaded if loaded is not None else self._load()
        self._before_running = before_running
        self._instance, self._memories = self._made(host)
        # Each new memory is mapped below those before it.
        self._keeping = Keeping(self._memories[::-1], self._reach(), self._wasi.handles)
        self._calls: dict[tuple[str, str], Callable[..., Any]] = {}
        self._uncallable: dict[tuple[str, str], str] = {}
        for name, own in self._own.items():
            for function, signature in self._described.exports[own].functions.items():
                self._bind_export(name, own, function, signature)

    # ---- calling

    def call(self, interface: str, function: str, args: tuple[Any, ...], timeout: float | None = None) -> Any:
        """Calls an export.

        Args:
            interface: name of the interface; "" for functions of the world itself.
            function: name of the function.
            args: the arguments, as `theater.core.values` says.
            timeout: seconds, host functions included; None is no limit. Time that the guest spends inside of a host
                function cannot be cut short: the deadline strikes when wasm goes on.

        Raises:
            Trap: the guest ended. A call that returns after its deadline has also timed out.
            TypeError, ValueError: an argument is no value of its type; the guest was not entered and lives on.
            ComponentError: there is no such export, or its type cannot cross the boundary.
            WrongState: the guest is in a call, or dead.
            BaseException: what a host function raised, as itself; the guest is dead.
        """
        if self._state is not _State.READY:
            self._wake()
        run = self._calls.get((interface, function))
        if run is None:
            self._unknown(interface, function)
        late = False
        try:
            self._state = _State.IN_CALL
            if timeout is None:
                value = run(*args)
            else:
                self._deadline.arm(timeout)
                try:
                    value = run(*args)
                finally:
                    late = self._deadline.disarm()
        except BaseException as error:
            self._failed(interface, function, args, error)
        if late:
            self._die(Trap(TrapKind.TIMEOUT, f"the call took longer than {timeout:g} s"))
        self._state = _State.READY
        return value

    def shaped(self, interface: str, function: str, params: tuple[Any, ...]) -> tuple[Any, ...]:
        """Parameters of a handler, without the state, that came over a wire: as `call` takes them.

        The handler is one of `exports`; what is no value of its types is returned as it is.
        """
        own = self._own[interface]
        _, (_, type_) = self._described.exports[own].functions[function].params
        make = shape(type_)
        shaped: tuple[Any, ...] = params if make is None else make(params)
        return shaped

    @property
    def is_alive(self) -> bool:
        """Whether calls are possible: False after a trap, or an exception of a host function."""
        return self._state is not _State.DEAD

    def prepare_deadlines(self) -> None:
        """Does now what the first call with a timeout would do: for a process that is about to be sealed.

        Raises:
            LimitExceeded: the kernel gives this process no timer or no thread.
        """
        self._deadline.prepare()

    def remaining(self) -> float | None:
        """Seconds that the running call may still take; None if it has no deadline. For host functions that wait."""
        return self._deadline.remaining()

    # ---- memory as a value

    def keep_image(self) -> None:
        """Remembers what the memory is now, for `keep`: once, when the guest is loaded. Forks share it."""
        self._need_rest()
        self._keeping.keep_image()
        self._state = _State.KEPT

    def state_root(self) -> bytes:
        """32 bytes: the digest of all that the guest carries from call to call (see `state_root`).

        Raises:
            WrongState: the guest is in a call, or dead.
        """
        self._need_rest()
        return self._keeping.root()

    def prepare_state_roots(self) -> None:
        """Does now what the first `state_root` of this process would do: for one that is about to be sealed."""
        self._keeping.prepare()

    @property
    def unportable(self) -> str | None:
        """Why the memory cannot be kept faithfully, one sentence; None if it can."""
        return self._keeping.unportable

    def keep(self) -> MemoryImage:
        """What the memory has become since `keep_image`.

        Raises:
            WrongState: the guest is in a call, or dead, or its memory is `unportable`.
        """
        self._need_rest()
        return self._keeping.keep()

    def restore(self, image: MemoryImage) -> None:
        """Makes the memory what it was when `image` was kept of a guest of the same component and program.

        The guest must be freshly loaded, and have its `keep_image`.

        Raises:
            IntegrityError: it is not the same guest, or the memory is not what it should be afterwards; the guest must
                be thrown away.
            WrongState: the guest is in a call, or dead, or its memory is `unportable`.
        """
        self._need_rest()
        self._keeping.restore(image)

    # ---- limits

    def limit_memory(self, size: int | None) -> None:
        """Limits what each linear memory may grow to from now on; what it has it keeps.

        Args:
            size: bytes; None is no limit.
        """
        self._limited = size is not None
        _limit(self._store, size)

    def memory_bytes(self) -> int:
        """Bytes of the largest linear memory, which meets the limit first; 0 if it cannot be told here."""
        return max((memory.size() for memory in self._memories), default=0)

    def set_fuel(self, fuel: int) -> None:
        """Gives the guest `fuel` units, in place of what it had. Until then it has all there is.

        Raises:
            WrongState: the artefact was compiled without fuel.
        """
        self._need_fuel()
        self._store.set_fuel(fuel)
        self._fuel = fuel

    def fuel_consumed(self) -> int:
        """Units consumed since `set_fuel`, or since the guest was made; also after a trap.

        Raises:
            WrongState: the artefact was compiled without fuel.
        """
        self._need_fuel()
        return self._fuel - self._store.get_fuel()

    def close(self) -> None:
        """Gives everything back. The guest refuses all calls from then on."""
        self._state, self._ended = _State.DEAD, self._ended or "it was closed"
        self._calls.clear()
        self._memories.clear()
        self._keeping.close()
        self._deadline.close()
        self._store.close()

    # ---- making

    def _new_store(self, memory: int | None) -> wasmtime.Store:
        store = wasmtime.Store(self._engine)
        _limit(store, memory)
        # Without a deadline wasm traps at once. The epoch advances when a call's deadline passes, and never otherwise.
        store.set_epoch_deadline(1)
        if self._artefact.meta.fuel:
            store.set_fuel(_MAX_FUEL)
        return store

    def _made(self, host: GuestHost) -> tuple[wc.Instance, list[Memory]]:
        """The instance, and its memories by rising address: those that were not there before.

        Nothing is collected meanwhile: a guest that nobody closed would give its addresses to this one.
        """
        collects = gc.isenabled()
        gc.disable()
        try:
            before = {found.base for found in linear_memories()}
            instance = self._instantiate(host)
            return instance, [found for found in linear_memories() if found.base not in before]
        finally:
            if collects:
                gc.enable()

    def _instantiate(self, host: GuestHost) -> wc.Instance:
        with wc.Linker(self._engine) as linker:
            with linker.root() as root:
                self._link(root, host)
            native.reserve(_CALLBACKS_LATER)
            self._before_running()
            try:
                with host_exceptions():
                    instance: wc.Instance = linker.instantiate(self._store, self.component)
                    return instance
            except CallFailed as failure:
                if is_link_error(failure.message):
                    raise ComponentError(f"the component cannot be linked: {failure.message.strip()}") from failure
                raise read_trap(failure.message, limited=self._limited) from None
            except (Exit, Refused) as ended:
                raise _wasi_trap(ended) from None

    def _load(self) -> wc.Component:
        path = self._artefact.path
        try:
            return wc.Component.deserialize_file(self._engine, str(path))
        except wasmtime.WasmtimeError as error:
            raise ContentDamaged(f"the compiled component {path} does not load: {str(error).strip()}") from error

    def _link(self, root: wc.LinkerInstance, host: GuestHost) -> None:
        imports = self._described.imports
        self._kept += self._wasi.link(root, imports)
        for name, interface in imports.items():
            if name and not name.startswith(PREFIX):
                with root.add_instance(name) as instance:
                    self._link_interface(instance, name, interface, host)
            elif not name:
                self._link_interface(root, name, interface, host)

    def _link_interface(self, instance: wc.LinkerInstance, name: str, interface: Interface, host: GuestHost) -> None:
        for unusable in (*interface.resources, *interface.others):
            raise ComponentError(f"the component imports {unusable} of {name or 'its world'}, which no host can give")
        for function, signature in interface.functions.items():
            bound = host.bind(present_name(name), function, signature)
            if bound is None:
                raise ComponentError(f"the component imports {function} of {name or 'its world'}, which does not exist")
            self._kept.append(self._bind_import(instance, name, function, bound, signature))

    def _bind_import(
        self, instance: wc.LinkerInstance, name: str, function: str, bound: Callable[..., Any], signature: Signature
    ) -> HostFunction:
        try:
            return bind_import(instance, function, bound, signature, self._mode("imports", name, function))
        except UnsupportedType as error:
            raise ComponentError(f"the component's import {function} of {name} cannot be given: {error}") from error

    def _bind_export(self, name: str, own: str, function: str, signature: Signature) -> None:
        try:
            found = self._function(own, function)
            call = bind_export(self._store, found, signature, self._mode("exports", own, function), function)
        except UnsupportedType as error:
            self._uncallable[name, function] = str(error)
            return
        if is_without_id(own, function):
            self._calls[name, function] = lambda *args: call(*without_id(args))
        else:
            self._calls[name, function] = call

    def _function(self, interface: str, function: str) -> wc.Func:
        index = self._instance.get_export_index(self._store, interface) if interface else None
        index = self._instance.get_export_index(self._store, function, index)
        found = self._instance.get_func(self._store, index) if index is not None else None
        if found is None:
            raise ContentDamaged(
                f"the compiled component has no {function} of {interface}, though its meta file says so"
            )
        return found

    def _reach(self) -> Reach | str:
        """What the hatch of the component reaches, or why it has none."""
        hatch = Hatch.from_plain(self._artefact.meta.hatch)
        if hatch.unportable:
            return hatch.unportable
        get, set_, open_ = (self._hatch_function(GUEST, name) for name in ("get", "set", "open"))
        growers, peekers = [], []
        for interface in hatch.interfaces:
            grow, peek = self._hatch_function(interface, "grow"), self._hatch_function(interface, "peek")
            for number in range(hatch.memories if interface == GUEST else 1):
                growers.append(partial(grow, number))
                peekers.append(partial(peek, number))
        return Reach(hatch.globals, get, set_, tuple(growers), tuple(peekers), open_, self._unmetered)

    def _hatch_function(self, interface: str, function: str) -> Callable[..., Any]:
        found = self._function(interface, function)
        return bind_export(self._store, found, FUNCTIONS[function], Mode.PLAIN, function)

    @contextmanager
    def _unmetered(self) -> Iterator[None]:
        if not self._artefact.meta.fuel:
            yield
            return
        left = self._store.get_fuel()
        self._store.set_fuel(_MAX_FUEL)
        try:
            yield
        finally:
            self._store.set_fuel(left)

    def _mode(self, side: str, interface: str, function: str) -> Mode:
        return Mode.BYTES if interface in self._artefact.meta.wrapped.get(side, ()) else Mode.PLAIN

    # ---- ending

    def _failed(self, interface: str, function: str, args: tuple[Any, ...], error: BaseException) -> NoReturn:
        """Raises what a call ended with; the guest is dead, unless it was never entered."""
        if isinstance(error, CallFailed):
            self._die(read_trap(error.message, limited=self._limited))
        if isinstance(error, Exit | Refused):
            self._die(_wasi_trap(error))
        if isinstance(error, TypeError | ValueError) and not self._fits(interface, function, args):
            self._state = _State.READY
        else:
            self._state, self._ended = _State.DEAD, f"a host function raised {type(error).__name__}"
        raise error

    def _fits(self, interface: str, function: str, args: tuple[Any, ...]) -> bool:
        """Whether the arguments are values of their types, so that an error cannot be theirs."""
        own = self._own[interface]
        try:
            args = without_id(args) if is_without_id(own, function) else args
            conform_arguments(self._described.exports[own].functions[function], args)
        except (TypeError, ValueError):
            return False
        return True

    def _die(self, trap: Trap) -> NoReturn:
        self._state, self._ended = _State.DEAD, f"it ended: {trap.message}"
        raise trap from None

    def _wake(self) -> None:
        """The first call since the image was kept says so; every other state refuses."""
        if self._state is not _State.KEPT:
            self._refuse()
        self._keeping.enter()
        self._state = _State.READY

    def _refuse(self) -> NoReturn:
        if self._state is _State.IN_CALL:
            raise WrongState("the guest is in a call, and takes the next when that has ended")
        raise WrongState(f"the guest can no longer be called: {self._ended}")

    def _unknown(self, interface: str, function: str) -> NoReturn:
        reason = self._uncallable.get((interface, function))
        if reason:
            raise ComponentError(f"the export {function} of {interface} cannot be called: {reason}")
        raise ComponentError(f"the component does not export {function} of {interface or 'its world'}")

    def _need_rest(self) -> None:
        if self._state not in (_State.READY, _State.KEPT):
            self._refuse()

    def _need_fuel(self) -> None:
        if not self._artefact.meta.fuel:
            raise WrongState("the component was compiled without fuel")


def _wasi_trap(ended: Exit | Refused) -> Trap:
    if isinstance(ended, Exit):
        return Trap(TrapKind.EXIT, str(ended), exit_code=ended.code)
    return Trap(TrapKind.HOST, str(ended))


def _limit(store: wasmtime.Store, memory: int | None) -> None:
    store.set_limits(
        memory_size=_NO_LIMIT if memory is None else memory,
        table_elements=MAX_TABLE_ELEMENTS,
        memories=MAX_MEMORIES,
    )
