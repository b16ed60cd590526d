"""The seam: the one place that every host call of a guest passes.

Here a call is permitted, recorded, carried out or answered from a recording, and its refusal turned into the
`err` of `result<_, string>`. A host interface is a class with plain methods, one for each WIT function
(`get-chain` is `get_chain`); it knows nothing of recording, permissions or WIT. It says no by raising `Refused`,
or any `TheaterError`; a value that came from another actor's chain is returned as `Caused`.

The seam is made in a template, before there is an actor, and `attach`ed in the worker after the fork. What a
guest asked meanwhile (WASI calls while it was instantiated) was answered by the template and is recorded by
each worker when it attaches. A worker whose guest first does again what earlier lives did lets it be answered by their
record, `answer_from`; there is nothing else behind the seam until it attaches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from theater.core.snapshot import Answered
from theater.core.values import Err, Ok
from theater.errors import TheaterError


class Refused(Exception):
    """A host function says no; the text is for the guest's author."""


class Caused(NamedTuple):
    """A value and the digest of the entry, in another actor's chain, that it came from."""

    value: Any
    cause: bytes


class Record(Protocol):
    """Where host calls are written down, in order (theater/worker/record.py; a replay reads from one)."""

    def host_call(self, interface: str, function: str, args: Sequence[Any]) -> bytes:
        """Records that the guest asks; returns the entry's digest."""

    def host_result(self, value: Any, cause: bytes | None) -> None:
        """Records what it was told."""


class Recording(Protocol):
    """What answers a guest that does again what it did (`theater.core.replay.Script`)."""

    def ask(self, interface: str, function: str, args: tuple[Any, ...]) -> Any:
        """What the host answered to this host call when it was recorded."""


class Binding(Protocol):
    """What a guest is linked through: `Seam`, or `RecordedSeam` in a replay (theater/host/recorded.py)."""

    def bind(self, interface: str, function: str, signature: Any) -> Callable[..., Any]: ...

    def answer(self, interface: str, function: str, args: tuple[Any, ...], compute: Callable[[], Any]) -> Any: ...


class Seam:
    """Binds the imports of one guest.

    Attributes:
        origin: digest of the entry of the host call that is being carried out.
        asked: what was answered before `attach`.
    """

    def __init__(self) -> None:
        self.origin = b""
        self.asked: list[Answered] = []
        self._record: Record | None = None
        self._recording: Recording | None = None
        self._methods: dict[tuple[str, str], Callable[..., Any]] = {}
        self._reasons: dict[str, str] = {}

    def answer_from(self, recording: Recording) -> None:
        """Until the next `attach`, answers come from a record and nowhere else. What was `asked` is forgotten."""
        self._record, self._methods = None, {}
        self._recording = recording
        self.asked.clear()

    def attach(self, record: Record, interfaces: Mapping[str, object], denied: Mapping[str, str]) -> None:
        """Gives the guest its actor: from now on calls are recorded and reach `interfaces`.

        Args:
            record: where calls are written; receives what was `asked` before.
            interfaces: WIT name -> object with the methods of the interface.
            denied: WIT name -> sentence, for interfaces that are not granted to this actor.
        """
        self._record = record
        self._recording = None
        self._reasons = dict(denied)
        self._methods = {
            (wit, name): getattr(interface, name)
            for wit, interface in interfaces.items()
            for name in dir(interface)
            if not name.startswith("_")
        }
        for call in self.asked:
            record.host_call(call.interface, call.function, call.args)
            record.host_result(call.value, None)

    def bind(self, interface: str, function: str, signature: Any) -> Callable[..., Any]:
        """The callable that is linked as `interface`'s `function`.

        Args:
            signature: its WIT type, (params, result).
        """
        key = interface, function.replace("-", "_")
        answers_result = _is_result(signature)

        def call(*args: Any) -> Any:
            return self._call(interface, function, key, args, answers_result)

        return call

    def answer(self, interface: str, function: str, args: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """Records a call whose answer `compute` gives: how the WASI host uses the seam."""
        record = self._record
        if record is None:
            if self._recording is not None:
                return self._recording.ask(interface, function, args)
            value = compute()
            self.asked.append(Answered(interface, function, args, value))
            return value
        self.origin = record.host_call(interface, function, args)
        value = compute()
        record.host_result(value, None)
        return value

    def _call(
        self, interface: str, function: str, key: tuple[str, str], args: tuple[Any, ...], answers_result: bool
    ) -> Any:
        record = self._record
        if record is None:
            if self._recording is not None:
                return ask_recorded(self._recording, interface, function, args)
            raise Refused(f"{interface} {function} was called before there was an actor")
        self.origin = self._ask(record, interface, function, args)
        cause = None
        try:
            method = self._methods.get(key)
            value = self._deny(interface) if method is None else method(*args)
            if type(value) is Caused:
                value, cause = value
            if answers_result:
                value = Ok(value)
        except (Refused, TheaterError) as no:
            if not answers_result:
                raise
            value = Err(str(no))
        record.host_result(value, cause)
        return value

    def _ask(self, record: Record, interface: str, function: str, args: tuple[Any, ...]) -> bytes:
        """Records the call; arguments that have no place in a record end the guest with a sentence."""
        try:
            return record.host_call(interface, function, args)
        except (TypeError, ValueError) as error:
            raise no_place(function, error) from error

    def _deny(self, interface: str) -> Any:
        raise Refused(self._reasons.get(interface, f"{interface} is not available to this actor"))


def ask_recorded(recording: Recording, interface: str, function: str, args: tuple[Any, ...]) -> Any:
    """The recorded answer. Arguments that have no place in a record end the guest with the sentence that they did."""
    try:
        return recording.ask(interface, function, args)
    except (TypeError, ValueError) as error:
        raise no_place(function, error) from error


def no_place(function: str, error: Exception) -> Refused:
    """What a guest hears whose arguments have no place in a record."""
    return Refused(f"the arguments of {function} cannot be recorded: {error}")


def _is_result(signature: Any) -> bool:
    result = signature[1]
    return isinstance(result, tuple) and result[0] == "result"
