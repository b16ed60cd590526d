"""Secrets: values that an actor may know and its record may not. Pure; theater/host/secrets_kept.py has the files.

Whatever goes into the chain of an actor with secrets goes through its `Veil` first: wherever one of the secrets is
written in bytes or in a text, something stands for it (`Veiled`, core/codec.py). A replay that has the secrets puts
them back before the guest sees them, and hides them again in what the guest does; so digests, which cover what stands
in the record, are the same. Who has no secrets can still verify.

A secret is hidden as it is (`raw`) and in the forms that texts and protocols commonly give it:

    base64 base64+1 base64+2    RFC 4648, without `=`; of the value behind 0, 1 or 2 other bytes. The first and the last
                                character, in which other bytes may take part, are hidden if they are the secret's alone
    base64url and so on         the same with `-` and `_`
    hex HEX                     two digits a byte
    json json-ascii             inside of a JSON string, if the value is UTF-8; with characters as they are, or in \\u
    url url-path url-form       in %XX, if it is written so: everything; all but `/`; with `+` for a space
    python                      as Python shows bytes, or a text, between its quotes

Where secrets overlap, all that belongs to any of them is hidden. No other form is found: pieces of a secret, its
digest, its characters in another order. This is against accidents. An actor that means to tell a secret can do so.

Secrets have 8 to 65536 bytes. A shorter one would be found where it is not meant, and hidden by nothing but its being
hidden; eight bytes hardly occur by accident.

What a life may know is said right behind its beginning, in a lifecycle entry "secrets" whose details have, as
"secrets", an array of arrays [name, number, commitment]: all values that this actor has ever had, since its state may
still hold an old one. The details of a snapshot have the same, since all before it may be dropped. The number counts
the values of a name from 1. What stands for a secret says its name, and the first eight bytes of its commitment as a
tag. A *commitment* is

    digest(key + length of the name as one byte + name + value, tag "theater secret 1")

with a key of 32 random bytes, made once for each value, which is kept with the value and in no chain. So nobody can try
guesses against it, however short or common the secret is, while whoever has key and value can prove that they are
those. A kept secret is a file of the key and the value, one after the other.

Two digests would allow guesses, too. The digest of a state is that of its form with secrets hidden. A state root, which
is of a memory that holds them in clear, is `digest(key + root, tag "theater secret root 1")` in the record, with the
key of the last secret of the array.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import quote, quote_plus

from theater.core.chain import (
    INCARNATION,
    SNAPSHOT,
    Call,
    HostCall,
    HostResult,
    Lifecycle,
    Outcome,
    Payload,
    externalise,
    rebuild,
    state_digest,
)
from theater.core.codec import DIGEST_SIZE, Form, Stand, Veiled, content_digest, digest, pack
from theater.errors import ChainBroken, IntegrityError, UnknownSecret

SECRETS: Final = "secrets"
"""Lifecycle event that says which secrets a life may know."""

KEY_SIZE: Final = 32
LEAST: Final = 8
MOST: Final = 1 << 16

_TAG: Final = b"theater secret 1"
_MARK_SIZE: Final = 8
_ROOT_TAG: Final = b"theater secret root 1"
_DIGESTS_KEPT: Final = 16

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Secret:
    """One value of a secret.

    Args:
        name: the manifest's.
        number: which of its values, from 1.
        key: of the commitment.
        value: what nobody may read.
    """

    name: str
    number: int
    key: bytes
    value: bytes

    @property
    def commitment(self) -> bytes:
        """What the chain says of it."""
        return commitment(self.name, self.key, self.value)

    @property
    def tag(self) -> bytes:
        """What stands for it says."""
        return self.commitment[:_MARK_SIZE]

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, {self.number})"


def commitment(name: str, key: bytes, value: bytes) -> bytes:
    """See the module."""
    called = name.encode()
    return digest(key + bytes((len(called),)) + called + value, _TAG)


class Promise(NamedTuple):
    """What a chain says of a value: that it is the one that fits the commitment."""

    name: str
    number: int
    commitment: bytes


Open = Callable[[Promise], Secret]
"""Finds the secret of a promise; raises UnknownSecret if it is not here."""


def nothing_to_open(promise: Promise) -> Secret:
    """The `Open` of who has no secrets.

    Raises:
        UnknownSecret: always.
    """
    raise unknown(promise)


def unknown(promise: Promise) -> UnknownSecret:
    """The error about a secret that is not here."""
    which = f"secrets/…/{promise.name}.{promise.number}"
    return UnknownSecret(
        f"the chain needs the secret {promise.name!r}, which is not here; copy {which} of the home that recorded it, "
        f"and give it with --secret {promise.name}=FILE",
        name=promise.name,
        number=promise.number,
    )


def find(candidates: Iterable[tuple[str, bytes]], otherwise: Open = nothing_to_open) -> Open:
    """An `Open` that looks through what a user gave.

    Args:
        candidates: names, and what the files of kept secrets hold.
        otherwise: asked for names that the user gave nothing for.
    """
    given = list(candidates)

    def open_one(promise: Promise) -> Secret:
        kept = [content for name, content in given if name == promise.name]
        for content in kept:
            key, value = content[:KEY_SIZE], content[KEY_SIZE:]
            if commitment(promise.name, key, value) == promise.commitment:
                return Secret(promise.name, promise.number, key, value)
        try:
            return otherwise(promise)
        except UnknownSecret:
            if not kept:
                raise
            raise UnknownSecret(
                f"what was given for the secret {promise.name!r} is not the value that the chain was recorded with; "
                f"give secrets/…/{promise.name}.{promise.number} of the home that recorded it",
                name=promise.name,
                number=promise.number,
            ) from None

    return open_one


def promises(event: Lifecycle) -> list[Promise]:
    """What a lifecycle entry "secrets", or a snapshot, says; nothing if that says nothing of secrets.

    Raises:
        ChainBroken: it does not say that.
    """
    details: object = event.details
    rows = details.get(SECRETS, [] if event.event == SNAPSHOT else None) if isinstance(details, Mapping) else None
    if not isinstance(rows, list) or not all(map(_is_promise, rows)):
        raise ChainBroken("a life begins with secrets that are none")
    return [Promise(*row) for row in rows]


def _is_promise(row: object) -> bool:
    return (
        isinstance(row, list)
        and [type(field) for field in row] == [str, int, bytes]
        and NAME.fullmatch(row[0]) is not None
        and len(row[2]) == DIGEST_SIZE
    )


# ---- showing


def named(stand: Stand) -> str:
    """What people see in place of a secret."""
    return f"[secret {stand.name}]"


def redacted(value: Any) -> Any:
    """A resolved value as people may see it: with names in place of secrets. It cannot be turned back."""
    if type(value) is not Veiled:
        return rebuild(value, redacted)
    pieces = [named(part).encode() if isinstance(part, Stand) else _piece(part) for part in value.parts]
    return _joined(value.form, pieces)


def _piece(part: object) -> bytes:
    return part if isinstance(part, bytes) else b"[...]"  # Content that nobody has looked up.


def _joined(form: Form, pieces: Iterable[bytes]) -> bytes | str:
    whole = b"".join(pieces)
    return whole if form is Form.BYTES else whole.decode("utf-8", "replace")


def message_digest(body: bytes, veil: Veil | None) -> bytes:
    """By what a message is known again: the digest of what the record of its receiver has of it.

    Args:
        veil: of the receiver.
    """
    hidden = body if veil is None else veil.hide(body)
    if isinstance(hidden, bytes):
        return content_digest(hidden)
    (recorded,) = externalise([hidden], lambda content: content_digest(content).hex())
    return content_digest(pack(recorded))


# ---- hiding


class _Needle(NamedTuple):
    """What is looked for, and what of which secret it is."""

    text: bytes
    name: str
    tag: bytes
    form: str
    begin: int | None
    end: int | None


class Veil:
    """Hides secrets in what goes into a record, and puts them back into what comes out of it.

    Args:
        secrets: all that may occur, in the order of the chain's entry.
    """

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self.secrets = tuple(secrets)
        self._by_tag = {(secret.name, secret.tag): secret for secret in secrets}
        self._needles = _needles(secrets)
        self._digests: dict[bytes | None, bytes | None] = {}

    def announcement(self) -> Lifecycle:
        """The entry with which a life says what it may know."""
        return Lifecycle(SECRETS, {SECRETS: self._rows()})

    def _rows(self) -> list[list[object]]:
        return [[each.name, each.number, each.commitment] for each in self.secrets]

    # ---- values

    def hide(self, value: Any) -> Any:
        """The value with something in place of each secret.

        Raises:
            ValueError: text with surrogates, which has no place in a record.
        """
        kind = type(value)
        if kind is bytes:
            return self._hide(value, Form.BYTES) or value
        if kind is str:
            return self._hide(value.encode(), Form.TEXT) or value
        return rebuild(value, self.hide)

    def show(self, value: Any) -> Any:
        """The value that was hidden, once its content has been resolved.

        Raises:
            IntegrityError: it says that a secret stands there which the life does not have.
        """
        if type(value) is not Veiled:
            return rebuild(value, self.show)
        return _joined(value.form, map(self._clear, value.parts))

    def redact(self, text: str) -> str:
        """A text for people."""
        shown = redacted(self._hide(text.encode("utf-8", "surrogatepass"), Form.TEXT))
        return text if shown is None else str(shown)

    def redact_bytes(self, data: bytes) -> bytes:
        """Bytes for people."""
        shown = redacted(self._hide(data, Form.BYTES))
        return data if shown is None else bytes(shown)

    # ---- entries

    def hold(self, state: bytes | None) -> None:
        """A life begins with this state: so its digest is known."""
        self._remember(state_digest(state), state_digest(self.hide(state)))

    def hide_in(self, payload: Payload) -> Payload:
        """The payload of an entry as the record has it."""
        match payload:
            case Call():
                return payload._replace(args=self.hide(payload.args))
            case HostCall():
                return payload._replace(args=self.hide(payload.args))
            case HostResult():
                return payload._replace(value=self.hide(payload.value))
            case Outcome():
                return self.hide_in_outcome(payload)
            case Lifecycle(event=event, details=details) if event not in (INCARNATION, SECRETS):
                return Lifecycle(event, self.hide_in_details(event, details))
        return payload

    def show_in(self, payload: Payload) -> Payload:
        """The payload of an entry, whose content has been resolved, as it was; digests stay those of the record."""
        match payload:
            case Call():
                return payload._replace(args=self.show(payload.args))
            case HostCall():
                return payload._replace(args=self.show(payload.args))
            case HostResult():
                return payload._replace(value=self.show(payload.value))
            case Outcome():
                return payload._replace(value=self.show(payload.value), state=self.show(payload.state))
            case Lifecycle(event=event, details=details) if event not in (INCARNATION, SECRETS):
                return Lifecycle(event, self.show(details))
        return payload

    def root(self, root: bytes | None) -> bytes | None:
        """A state root as the record has it."""
        return None if root is None else digest(self.secrets[-1].key + root, _ROOT_TAG)

    def hide_in_outcome(self, outcome: Outcome) -> Outcome:
        state = self.hide(outcome.state)
        if outcome.state:
            self._remember(outcome.state_digest, state_digest(state[0]))
        return outcome._replace(
            value=self.hide(outcome.value),
            state_digest=self._digests[outcome.state_digest],
            state=state,
            root=self.root(outcome.root),
        )

    def _remember(self, clear: bytes | None, recorded: bytes | None) -> None:
        """A few are kept: an outcome that could not be written leaves the actor with the state before."""
        self._digests.pop(clear, None)
        self._digests[clear] = recorded
        if len(self._digests) > _DIGESTS_KEPT:
            del self._digests[next(iter(self._digests))]

    def hide_in_details(self, event: str, details: Mapping[str, Any]) -> dict[str, Any]:
        hidden: dict[str, Any] = self.hide(details)
        if event != SNAPSHOT:
            return hidden
        return {**hidden, "root": self.root(details.get("root")), SECRETS: self._rows()}

    # ---- one value

    def _clear(self, part: object) -> bytes:
        if isinstance(part, bytes):
            return part
        if not isinstance(part, Stand):
            raise IntegrityError("secrets stand in the record between what is no bytes")
        secret, write = self._by_tag.get((part.name, part.tag)), _FORMS.get(part.form)
        if secret is None or write is None:
            raise IntegrityError(f"the secret {part.name!r} stands in the record, with a value that is not here")
        try:
            return write(secret.value)[part.begin : part.end]
        except UnicodeDecodeError as error:
            raise IntegrityError(f"the secret {part.name!r} stands in the record as a text, which it is not") from error

    def _hide(self, data: bytes, form: Form) -> Veiled | None:
        spans = sorted(self._spans(data))
        if not spans:
            return None
        parts: list[Any] = []
        done = 0
        for start, minus_size, at in spans:
            size = -minus_size
            if start + size <= done:
                continue
            begin = max(start, done)
            parts += [data[done:begin], _stand(self._needles[at], begin - start, size)]
            done = start + size
        return Veiled(form, (*parts, data[done:]))

    def _spans(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """(start, size with a minus, which needle) of occurrences that together cover all occurrences."""
        for number, needle in enumerate(self._needles):
            text, size = needle.text, len(needle.text)
            at = data.find(text)
            while at >= 0:
                yield at, -size, number
                # Of those that touch this one the last covers, with this one, all between them.
                following = data.rfind(text, at + 1, at + 2 * size)
                at = following if following >= 0 else data.find(text, at + size + 1)


def _stand(needle: _Needle, begin: int, size: int) -> Stand:
    """What stands for a needle, or for its end from `begin` on."""
    _, name, tag, form, offset, _ = needle
    if begin == 0 and offset is None:
        return Stand(name, tag, form)
    first = offset or 0
    return Stand(name, tag, form, first + begin, first + size)


def _needles(secrets: Sequence[Secret]) -> list[_Needle]:
    """Everything that is looked for, each text once."""
    found: dict[bytes, _Needle] = {}
    for secret in secrets:
        tag = secret.tag
        for form, write in _FORMS.items():
            try:
                text = write(secret.value)
            except UnicodeDecodeError:
                continue  # No text, so nobody writes it as one.
            for begin, end in _certain(form, len(secret.value), len(text)):
                whole = (begin, end) == (0, len(text))
                needle = _Needle(text[begin:end], secret.name, tag, form, *((None, None) if whole else (begin, end)))
                found.setdefault(needle.text, needle)
    return list(found.values())


def _certain(form: str, size: int, length: int) -> Iterator[tuple[int, int]]:
    """The parts of a form that the secret alone decides: all of it, but in base64, where neighbours share characters.

    There once as it stands before other bytes, and once as it stands at the end.
    """
    if not form.startswith("base64"):
        yield 0, length
        return
    before = int(form.partition("+")[2] or 0)
    begin = -(-8 * before // 6)
    yield begin, length
    yield begin, 8 * (before + size) // 6


def _base64(before: int, altchars: bytes | None = None) -> Callable[[bytes], bytes]:
    return lambda value: base64.b64encode(bytes(before) + value, altchars).rstrip(b"=")


def _json(ascii_only: bool) -> Callable[[bytes], bytes]:
    return lambda value: json.dumps(value.decode(), ensure_ascii=ascii_only)[1:-1].encode()


def _python(value: bytes) -> bytes:
    try:
        shown = repr(value.decode())
    except UnicodeDecodeError:
        shown = repr(value)[1:]
    return shown[1:-1].encode()


_FORMS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "raw": lambda value: value,
    "base64": _base64(0),
    "base64+1": _base64(1),
    "base64+2": _base64(2),
    "base64url": _base64(0, b"-_"),
    "base64url+1": _base64(1, b"-_"),
    "base64url+2": _base64(2, b"-_"),
    "hex": lambda value: value.hex().encode(),
    "HEX": lambda value: value.hex().upper().encode(),
    "json": _json(False),
    "json-ascii": _json(True),
    "url": lambda value: quote(value, safe="").encode(),
    "url-path": lambda value: quote(value).encode(),
    "url-form": lambda value: quote_plus(value).encode(),
    "python": _python,
}
