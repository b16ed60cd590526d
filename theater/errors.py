"""The tree of errors: whose fault it is, what a person can do, and the exit code scripts rely on.

Every error that a user can meet is one class here. It carries one sentence (what was wrong, where, what is
allowed, what to do), never a traceback, and survives the control socket: `to_wire` on the server, `from_wire`
on the client, the same class on both sides. Exit codes belong to the branch, so a script can tell "my input"
from "no server" without reading text.

    1  unexpected: a defect of ours            8  the actor went down before it answered
    2  usage (click's own)                     9  integrity: a record or content is not what it was
    3  invalid input                          10  a limit: size, mailbox, memory, disk
    4  not found                              11  an actor did not start, or gave up
    5  no server                              12  conflict: a name, a home or a state is taken
    6  the actor answered with an error       13  building or compiling failed
    7  time ran out                           14  whoever asks may not
"""

from __future__ import annotations

import errno
from typing import ClassVar


class TheaterError(Exception):
    """Base of all errors that a user can meet.

    Args:
        message: one sentence for a person.
        details: facts for programs (plain msgpack values), shown by `--json`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def to_wire(self) -> dict[str, object]:
        """The error as plain values: class name, sentence, facts."""
        return {"error": type(self).__name__, "message": self.message, "details": self.details}


def from_wire(data: dict[str, object]) -> TheaterError:
    """The error that `to_wire` described, as its own class; an unknown class becomes `TheaterError`."""
    cls = _CLASSES.get(str(data.get("error")), TheaterError)
    details = data.get("details")
    facts = {str(k): v for k, v in details.items()} if isinstance(details, dict) else {}
    error = cls.__new__(cls)
    TheaterError.__init__(error, str(data.get("message", "")), **facts)
    return error


class WasmtimeNotUnderstood(TheaterError):
    """The installed wasmtime is not a version that this Theater knows; the message says which it needs."""


# ---- invalid input


class InvalidInput(TheaterError):
    """What the user gave cannot be used as it is."""

    exit_code = 3


class ManifestError(InvalidInput):
    """A manifest, or a tree file, is wrong: the message names file, line, what was found and what is allowed."""


class SpecError(InvalidInput):
    """Supervisor flags or a child spec are wrong; `details["term"]` is OTP's name of the fault."""


class ComponentError(InvalidInput):
    """A component cannot be loaded: not wasm, a core module, a missing export, an import that is not granted."""


class WireError(InvalidInput):
    """Bytes on a socket that are not a message of this protocol."""


class SocketPathTooLong(InvalidInput):
    """A Unix socket path does not fit into the 107 bytes that the kernel allows."""


# ---- not found


class NotFound(TheaterError):
    exit_code = 4


class UnknownActor(NotFound):
    """No actor has this id, prefix or name."""


class AmbiguousActor(NotFound):
    """More than one actor matches; the message lists them."""


class UnknownContent(NotFound):
    """The store has no content of this digest, or no such label."""


class UnknownDeadLetter(NotFound):
    """There is no dead letter of this number."""


class UnknownSecret(NotFound):
    """A secret is not where the manifest says, or a chain was recorded with one that is not here; the message names
    it, never its value."""


# ---- server


class NoServer(TheaterError):
    """Nothing answers at the address."""

    exit_code = 5


# ---- who may


class AccessRefused(TheaterError):
    """Whoever asks may not."""

    exit_code = 14


class NotAuthorised(AccessRefused):
    """The server does not know who asks: a key that it was not given, that was taken away or has expired, another user
    of its machine, or a process that it started itself."""


class RoleRequired(AccessRefused):
    """The server knows who asks, and that one's role does not include the operation."""


class WrongServerKey(AccessRefused):
    """Whoever listens at the address is not the server whose key is known here."""


# ---- calls


class ActorFailed(TheaterError):
    """The actor handled the call and answered with an error; its state is as before."""

    exit_code = 6


class Deadlock(ActorFailed):
    """The request would wait for an actor that waits for this very call."""


class TimedOut(TheaterError):
    """No answer in time. The request may still be carried out."""

    exit_code = 7


class ActorDown(TheaterError):
    """The actor ended, or is not running, before it answered."""

    exit_code = 8


class ServiceDown(ActorDown):
    """A service of the server, such as the gateway, ended before it answered; the server starts it again."""


# ---- integrity


class IntegrityError(TheaterError):
    exit_code = 9


class ChainBroken(IntegrityError):
    """A chain does not verify: the message says index, expected and found."""


class ContentDamaged(IntegrityError):
    """Stored content or an artefact does not have the digest that names it."""


class CheckpointRefused(IntegrityError):
    """A signed checkpoint is not what was signed, or not by the key that is trusted."""


class BundleRefused(IntegrityError):
    """A bundle is none that an export has written: a file that does not belong there, content that is missing or does
    not have its digest, bytes that are damaged."""


class Diverged(IntegrityError):
    """A replay did something else than the record says: the message says entry, recorded and happened, and
    `details["diff"]` shows the difference line by line."""


class OtherEngine(IntegrityError):
    """A chain was recorded on another engine than the one that is installed here, so nothing of it was replayed."""


# ---- limits


class LimitExceeded(TheaterError):
    exit_code = 10


class MessageTooLarge(LimitExceeded):
    """A message is over the receiver's size limit; it was refused before it was converted."""


class MailboxFull(LimitExceeded):
    """The receiver has as many unhandled messages as its mailbox holds."""


class DiskFull(LimitExceeded):
    """The disk refused a write; nothing acknowledged was lost."""


class PoisonMessage(LimitExceeded):
    """This very message ended the actor several times in a row; it was set aside as a dead letter."""


def disk_error(error: OSError, doing: str) -> DiskFull | IntegrityError:
    """What a failed write means to a person: a full disk (or quota), or a disk that cannot be trusted.

    Args:
        doing: what was being done, as "writing /path".
    """
    sentence = f"{doing}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(sentence)
    return IntegrityError(sentence)


# ---- life of actors


class WallMissing(TheaterError):
    """A server was to run with all walls only, and this kernel or machine has not all."""

    exit_code = 15


class LifecycleError(TheaterError):
    exit_code = 11


class StartFailed(LifecycleError):
    """An actor did not come up: its init failed, trapped, or took too long."""


class GaveUp(LifecycleError):
    """An actor was restarted more often than its supervisor's intensity allows."""


# ---- conflicts


class Conflict(TheaterError):
    exit_code = 12


class NameTaken(Conflict):
    """Another actor is registered under this name."""


class HomeInUse(Conflict):
    """Another server runs on this home."""


class WrongState(Conflict):
    """The actor, or the file, is not in a state that allows this."""


# ---- building


class BuildFailed(TheaterError):
    """A source could not be made into a component, or a component not be compiled."""

    exit_code = 13


def _tree(cls: type[TheaterError]) -> dict[str, type[TheaterError]]:
    found = {cls.__name__: cls}
    for sub in cls.__subclasses__():
        found.update(_tree(sub))
    return found


_CLASSES = _tree(TheaterError)
