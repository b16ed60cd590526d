"""Links: the two ends of a kernel socket pair, for a process that may create no socket and trusts nobody.

A link belongs to whom it was handed: its other end is with one known process, and nobody can connect to it. So who
says something is known by the link it comes over. What travels are frames on a byte stream:

    offset  size  what
    0       4     big-endian: bit 31 says that a descriptor comes with the frame, the others are its length
    4       ...   the frame, whose meaning is core/wire.py's business

Nothing that the other end does harms this one. A length beyond what was agreed hangs up before anything is allocated;
a long frame takes memory only as it arrives, and where many links share an `Allowance`, only one after the other.
Nothing waits for the rest of half a frame. What a slow peer has not taken waits in the kernel, and beyond that here,
bounded in frames and bytes; it leaves when the owner polls. A descriptor that is sent to a link that takes none is
closed by the kernel: there is no room for it in the read.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from theater.bus.ends import Full, Gone

_NOW: Final = int(socket.MSG_DONTWAIT)
_SEND_NOW: Final = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_RECEIVE_NOW: Final = int(socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
_DESCRIPTOR: Final = 1 << 31
_SHORTEST: Final = 5
"""Bytes of the shortest frame that can mean anything. Shorter ones would be work for nothing."""

_PIECE: Final = 1 << 16
"""Bytes that are read at once; a longer frame is put together of such pieces."""

_KERNEL_BUFFER: Final = 1 << 19
"""Bytes that are asked of the kernel for each direction."""

_ROOM_FOR_ONE: Final = socket.CMSG_SPACE(array.array("i").itemsize)
_LONGEST_MS: Final = (1 << 31) - 1


class _Scratch(threading.local):
    """What every read of a thread goes into first."""

    def __init__(self) -> None:
        self.room = memoryview(bytearray(_PIECE))


_scratch: Final = _Scratch()


def pair() -> tuple[int, int]:
    """Two descriptors that are each other's end, closed on exec.

    Raises:
        OSError: there are too few descriptors, or too little memory.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
    return ours.detach(), theirs.detach()


class Allowance:
    """Bytes that long frames which have not arrived in full may take in all links that share it.

    One frame is let through whatever its length, when no other is on its way.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken: dict[Link, int] = {}
        self._used = 0

    def take(self, link: Link, length: int) -> bool:
        """Whether `link` may take in a frame of this length now."""
        if self._taken and self._used + length > self._size:
            return False
        self._taken[link] = length
        self._used += length
        return True

    def give(self, link: Link) -> None:
        """What `link` had taken is free again."""
        self._used -= self._taken.pop(link, 0)

    @property
    def holders(self) -> tuple[Link, ...]:
        """Links on which a long frame is on its way."""
        return tuple(self._taken)


class Link:
    """One end.

    Args:
        descriptor: a connected stream socket, whose owner this becomes.
        largest: bytes of the longest frame that is taken.
        frames, size: how many frames, of how many bytes in all, may wait for a slow peer; one may be longer.
        takes_descriptors: whether the other end may send some.
        allowance: what it shares for long frames.

    Attributes:
        ended: the other end is closed or was hung up on, and all that had come has been read.
        fault: why this end hung up, if it did.
        held: a long frame waits until the allowance has room.
        on_unsent: called when something waits to be sent that did not before; `flush` must be called when the
            descriptor takes something.
    """

    __slots__ = (
        "_allowance",
        "_at",
        "_came",
        "_closed",
        "_data",
        "_descriptors",
        "_fd",
        "_frames",
        "_large",
        "_large_with",
        "_largest",
        "_most_bytes",
        "_most_frames",
        "_partial",
        "_poll",
        "_socket",
        "_unsent",
        "_wanted",
        "ended",
        "fault",
        "held",
        "on_unsent",
        "unsent_bytes",
    )

    def __init__(
        self,
        descriptor: int,
        *,
        largest: int,
        frames: int = 1000,
        size: int = 1 << 24,
        takes_descriptors: bool = False,
        allowance: Allowance | None = None,
    ) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._fd = descriptor
        self._largest = largest
        self._most_frames = frames
        self._most_bytes = size
        self._allowance = allowance
        self._data = b""
        self._at = 0
        self._partial = False
        self._large: bytearray | None = None
        self._large_with = -1
        self._wanted = 0
        self._frames: deque[tuple[bytes, int]] = deque()
        self._descriptors: deque[int] | None = deque() if takes_descriptors else None
        self._came = -1
        self._unsent: deque[tuple[memoryview, int]] = deque()
        self._poll: select.poll | None = None
        self._closed = False
        self.unsent_bytes = 0
        self.ended = False
        self.held = False
        self.fault: str | None = None
        self.on_unsent: Callable[[Link], object] = _nothing

    def fileno(self) -> int:
        """Its descriptor; -1 once it is closed."""
        return self._fd

    def allow(self, largest: int, allowance: Allowance | None = None) -> None:
        """Changes what is taken: never to less than before."""
        self._largest = max(largest, self._largest)
        self._allowance = allowance

    # ---- receiving

    @property
    def has_frames(self) -> bool:
        """Whether something has been read that may hold a whole frame."""
        if (large := self._large) is not None:
            return bool(self._frames) or len(large) >= self._wanted
        return bool(self._frames) or (self._at < len(self._data) and not self._partial)

    def receive(self) -> bytes | None:
        """The next frame, if all of it has come."""
        while (frame := self.next()) is None:
            if not self.read():
                return None
        return frame

    def receive_within(self, seconds: float) -> bytes | None:
        """The next frame, as soon as there is one; None when the time is over, or none is coming any more."""
        frame = self.receive()
        if frame is not None:
            return frame
        deadline = time.monotonic() + seconds
        while not self.ended:
            left = deadline - time.monotonic()
            if not self._wait(max(left, 0.0)) and left <= 0:
                return None
            if (frame := self.receive()) is not None:
                return frame
        return None

    def next(self) -> bytes | None:
        """The next frame of what has been read already."""
        if self._frames:
            frame, descriptor = self._frames.popleft()
            self._keep(descriptor)
            return frame
        return self._cut()

    def read(self) -> bool:
        """Reads once, at most some 64 KiB; False if there was nothing to read now."""
        if self.ended or self._closed:
            return False
        if self.held and not self._begin_large(self._wanted):
            return False
        large = self._large
        room = _PIECE if large is None else min(_PIECE, self._wanted - len(large))
        try:
            scratch = _scratch.room[:room]
            count = self._read_into(scratch)
        except BlockingIOError:
            return False
        except ConnectionError:
            count = 0
        except OSError as error:
            if error.errno != errno.EINTR:
                raise
            return False
        if count == 0:
            self._end()
            return False
        self._partial = False
        if large is None:
            rest = self._data[self._at :]
            self._data = rest + bytes(scratch[:count]) if rest else bytes(scratch[:count])
            self._at = 0
        else:
            large += scratch[:count]
        return True

    def take_descriptor(self) -> int | None:
        """The descriptor that came with the frame that was received last; the caller's from now on."""
        descriptor, self._came = self._came, -1
        return descriptor if descriptor >= 0 else None

    def _read_into(self, room: memoryview) -> int:
        if self._descriptors is None:
            return self._socket.recv_into(room, 0, _NOW)
        count, ancillary, flags, _ = self._socket.recvmsg_into([room], _ROOM_FOR_ONE, _RECEIVE_NOW)
        came = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                came.frombytes(data[: len(data) - len(data) % came.itemsize])
        # One read gives the descriptors of one write at most, and one write has one: what is lost is missed here.
        if came:
            self._descriptors.append(came[0])
            for surplus in came[1:]:
                os.close(surplus)
        elif flags & socket.MSG_CTRUNC:
            self._descriptors.append(-1)
        return count

    def _cut(self) -> bytes | None:
        """Cuts the next frame off what has been read."""
        if (large := self._large) is not None:
            if len(large) < self._wanted:
                return None
            self._large = None
            self._keep(self._large_with)
            self._large_with = -1
            if self._allowance is not None:
                self._allowance.give(self)
            return bytes(large)
        data, at = self._data, self._at
        have = len(data) - at
        if have < 4 or self.held:
            self._partial = True
            return None
        head = int.from_bytes(data[at : at + 4], "big")
        length = head & ~_DESCRIPTOR
        if not _SHORTEST <= length <= self._largest:
            self.hang_up(f"a frame of {length} bytes, {_SHORTEST} to {self._largest} are allowed")
            return None
        if head & _DESCRIPTOR and self._descriptors is None:
            self.hang_up("a frame with a descriptor, and none is allowed")
            return None
        end = at + 4 + length
        if end <= len(data):
            self._data, self._at = (data, end) if end < len(data) else (b"", 0)
            if self._descriptors is not None:
                self._keep(self._with(head))
            return data[at + 4 : end]
        self._partial = True
        if length > _PIECE and self._begin_large(length):
            self._large_with = self._with(head)
        return None

    def _begin_large(self, length: int) -> bool:
        """Makes room for a long frame that begins in what has been read, if it may be taken in now."""
        self._wanted = length
        self.held = self._allowance is not None and not self._allowance.take(self, length)
        if self.held:
            return False
        self._large = bytearray(self._data[self._at + 4 :])
        self._data, self._at = b"", 0
        return True

    def _with(self, head: int) -> int:
        """The descriptor that comes with the frame of this head; -1 for none, or one that was lost."""
        return self._descriptors.popleft() if head & _DESCRIPTOR and self._descriptors else -1

    def _keep(self, descriptor: int) -> None:
        if self._came >= 0:
            os.close(self._came)
        self._came = descriptor

    def hang_up(self, fault: str) -> None:
        """Hears and says nothing any more: the other end has broken the rules. The owner closes the link."""
        self.fault = self.fault or fault
        self._end()

    def _end(self) -> None:
        self.ended, self.held, self._partial = True, False, True
        self._large = None
        if self._allowance is not None:
            self._allowance.give(self)
        if self.fault is not None:
            self._data, self._at = b"", 0
            self._frames.clear()
            self._drop_unsent()
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    # ---- sending

    @property
    def has_unsent(self) -> bool:
        """Whether something waits for the other end to take it."""
        return bool(self._unsent)

    @property
    def unsent_frames(self) -> int:
        """How many frames wait for it, whole or in part."""
        return len(self._unsent)

    def send(self, frame: bytes, patience: float = 0.0, descriptor: int | None = None) -> None:
        """Sends `frame`, or lets it wait in its turn where it is bounded.

        Args:
            patience: seconds to wait for the other end to take all of it.
            descriptor: goes with the frame, and is this link's to close from now on.

        Raises:
            Full: there is no room for it, in this time.
            Gone: the other end is closed.
        """
        try:
            self._send(frame, patience, descriptor)
        except (Full, Gone):
            if descriptor is not None:
                os.close(descriptor)
            raise

    def _send(self, frame: bytes, patience: float, descriptor: int | None) -> None:
        if self._closed or self.fault is not None:
            raise Gone
        if self._unsent:
            self.flush()
        if self._unsent and not self._has_room(len(frame)):
            if patience:
                self.let_out(patience)
            if self._unsent and not self._has_room(len(frame)):
                raise Full
        length = len(frame)
        had_unsent = bool(self._unsent)
        if descriptor is not None:
            length |= _DESCRIPTOR
        whole = memoryview(length.to_bytes(4, "big") + frame)
        if not had_unsent and descriptor is None:
            sent = self._write(whole)
            if sent == len(whole):
                return
            whole = whole[sent:]
        self._unsent.append((whole, -1 if descriptor is None else descriptor))
        self.unsent_bytes += len(whole)
        if descriptor is not None and not had_unsent:
            self.flush()
        if self._unsent and patience:
            self.let_out(patience)
        if self._unsent and not had_unsent:
            self.on_unsent(self)

    def flush(self) -> bool:
        """Sends what waits, as far as the other end takes it; whether all has left. What waited for one that is gone
        has left, too."""
        try:
            while self._unsent:
                piece, descriptor = self._unsent[0]
                sent = self._write(piece) if descriptor < 0 else self._write_with(piece, descriptor)
                self.unsent_bytes -= sent
                if sent == len(piece):
                    self._unsent.popleft()
                    continue
                if sent:
                    self._unsent[0] = (piece[sent:], -1)
                return False
        except Gone:
            self._drop_unsent()
        return True

    def let_out(self, seconds: float) -> bool:
        """Waits until all has left, and takes in meanwhile what comes, so that two who send to each other do not wait
        for ever; whether it has."""
        deadline = time.monotonic() + seconds
        while not self.flush():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._wait(left):
                self._stash()
        return True

    def close(self, linger_ms: int = 0) -> None:
        """Closes this end; what waits has `linger_ms` to leave."""
        if self._closed:
            return
        if self._unsent and linger_ms:
            self.let_out(linger_ms / 1000)
        self._closed = self.ended = True
        self._drop_unsent()
        if self._allowance is not None:
            self._allowance.give(self)
        waiting = (each for _, each in self._frames)
        for descriptor in (self._came, self._large_with, *(self._descriptors or ()), *waiting):
            if descriptor >= 0:
                os.close(descriptor)
        self._frames.clear()
        self._descriptors = None
        self._came = self._large_with = self._fd = -1
        self._socket.close()

    def _has_room(self, length: int) -> bool:
        return len(self._unsent) < self._most_frames and self.unsent_bytes + length <= self._most_bytes

    def _write(self, piece: memoryview) -> int:
        try:
            return self._socket.send(piece, _SEND_NOW)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in (errno.ENOBUFS, errno.ENOMEM):
                return 0
            raise Gone from error

    def _write_with(self, piece: memoryview, descriptor: int) -> int:
        """As `_write`, with a descriptor, which is closed when it has left."""
        rights = array.array("i", [descriptor])
        try:
            sent = self._socket.sendmsg([piece], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], _SEND_NOW)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno not in (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM):
                raise Gone from error
            # Too many are on their way. The frame goes without, and says so; its receiver can do nothing with it.
            head = int.from_bytes(piece[:4], "big") & ~_DESCRIPTOR
            bare = memoryview(head.to_bytes(4, "big") + piece[4:])
            sent = self._write(bare)
            if sent == 0:
                return 0
        os.close(descriptor)
        return sent

    def _drop_unsent(self) -> None:
        for _, descriptor in self._unsent:
            if descriptor >= 0:
                os.close(descriptor)
        self._unsent.clear()
        self.unsent_bytes = 0

    def _stash(self) -> None:
        """Reads while this end waits to be heard."""
        kept_came, self._came = self._came, -1
        while self.read():
            while (frame := self._cut()) is not None:
                self._frames.append((frame, self._came))
                self._came = -1
        self._came = kept_came

    def _wait(self, seconds: float) -> bool:
        """Waits until there is something to read, or room for what waits to be sent; whether there may be."""
        if self._poll is None:
            self._poll = select.poll()
        wanted = select.POLLIN | (select.POLLOUT if self._unsent else 0)
        self._poll.register(self._fd, wanted)
        found = self._poll.poll(min(int(seconds * 1000 + 0.999), _LONGEST_MS))
        if found and self._unsent and found[0][1] & select.POLLOUT:
            self.flush()
        return bool(found)


class Sheaf:
    """Many links that are read as one: a frame of each in turn, so that no one keeps the others waiting.

    Args:
        on_end: called when a link has ended and all that came over it was received; it is not of the sheaf any more.
    """

    def __init__(self, on_end: Callable[[Link], object]) -> None:
        self._epoll = select.epoll()
        self._links: dict[int, Link] = {}
        self._turn: deque[Link] = deque()
        self._on_end = on_end

    def fileno(self) -> int:
        return self._epoll.fileno()

    @property
    def has_frames(self) -> bool:
        """Whether something has been read that may hold a frame."""
        return bool(self._turn)

    def add(self, link: Link) -> None:
        self._links[link.fileno()] = link
        self._epoll.register(link.fileno(), select.EPOLLIN)

    def remove(self, link: Link) -> None:
        """Ends `add`; must come before the link is closed."""
        if self._links.pop(link.fileno(), None) is not None:
            self._epoll.unregister(link.fileno())
            with contextlib.suppress(ValueError):
                self._turn.remove(link)

    def receive(self) -> tuple[Link, bytes] | None:
        """The next frame, and the link it came over."""
        while True:
            while self._turn:
                link = self._turn.popleft()
                frame = link.receive()
                if frame is not None:
                    if link.has_frames:
                        self._turn.append(link)
                    return link, frame
                if link.ended:
                    self.remove(link)
                    self._on_end(link)
            found = self._epoll.poll(0, 64)
            if not found:
                return None
            self._turn.extend(self._links[fd] for fd, _ in found)

    def close(self) -> None:
        """Closes all links."""
        for link in self._links.values():
            link.close()
        self._links.clear()
        self._turn.clear()
        self._epoll.close()


class Poll:
    """Waits for any of a few links, and sends meanwhile what has waited.

    Args:
        wake: a descriptor that ends any wait when it can be read, such as that of `signal.set_wakeup_fd`: a signal
            that arrives just before the wait begins would not be noticed otherwise.
    """

    def __init__(self, *sources: Link | Sheaf, wake: int | None = None) -> None:
        self._poll = select.poll()
        self._sources: dict[int, Link | Sheaf] = {}
        self._writers: dict[int, Link] = {}
        if wake is not None:
            self._poll.register(wake, select.POLLIN)
        for source in sources:
            self.add(source)

    def add(self, source: Link | Sheaf) -> None:
        self._sources[source.fileno()] = source
        self._register(source.fileno())

    def remove(self, source: Link | Sheaf) -> None:
        """Ends `add`; must come before it is closed."""
        if self._sources.pop(source.fileno(), None) is not None:
            self._register(source.fileno())

    def let_out(self, link: Link) -> None:
        """Has what waits in `link` leave during any wait."""
        self._writers[link.fileno()] = link
        self._register(link.fileno())

    def give_up(self, link: Link) -> None:
        """Ends `let_out`; must come before the link is closed."""
        if self._writers.pop(link.fileno(), None) is not None:
            self._register(link.fileno())

    @property
    def has_unsent(self) -> bool:
        """Whether something waits to leave."""
        return bool(self._writers)

    def flush(self) -> None:
        """Sends what waits, as far as it is taken."""
        for link in list(self._writers.values()):
            if link.flush():
                self.give_up(link)

    def wait(self, timeout: float | None) -> Iterator[Link | Sheaf]:
        """What may have something; nothing when `timeout` (seconds) is over or it was woken."""
        waiting = [source for source in self._sources.values() if source.has_frames]
        if waiting:
            if self._writers:
                self.flush()
            return iter(waiting)
        found = self._poll.poll(None if timeout is None else min(max(0, int(timeout * 1000 + 0.999)), _LONGEST_MS))
        if self._writers:
            for fd, _ in found:
                if (link := self._writers.get(fd)) is not None and link.flush():
                    self.give_up(link)
        return iter([self._sources[fd] for fd, event in found if fd in self._sources and event & ~select.POLLOUT])

    def _register(self, fd: int) -> None:
        wanted = (select.POLLIN if fd in self._sources else 0) | (select.POLLOUT if fd in self._writers else 0)
        if wanted:
            self._poll.register(fd, wanted)
        else:
            self._poll.unregister(fd)


def _nothing(link: Link) -> None:
    pass
