"""The keeper of one program: it starts the program, waits for it, and lets nothing that came of it live longer.

    launcher ── keeper ── [init of a PID namespace] ── the program, and whatever that starts

Where the kernel gives a PID namespace (to root, or with unprivileged user namespaces), the keeper's child is the first
process in it, and the program its child: when that first process ends, for whatever reason, the kernel kills everybody
in the namespace, whether they have daemonized, ignore signals or fork all the time. It ends when its keeper does, and
that when the launcher does, by parent-death signals of which no process in the namespace knows. Where there is no
namespace the keeper adopts orphans (a child subreaper) and kills all its descendants, over and over, until it has none;
that is second best, since the program could kill its keeper, where Landlock does not forbid it.

Before the program is executed the keeper builds the walls around it that the order asks for (theater/launcher/walls.py
says which, and why): the folders that it may not know of are covered by empty ones, no capability is left, also none of
root's, and a Landlock domain and a seccomp filter are entered. One that was asked for and fails is a failed start.

This file is executed by itself: it uses nothing but the standard library, and of that little, for the sake of the
time that a program takes to start. Descriptors: 0, 1 and 2 are the program's; 3 is the socket to the launcher, 4 the
folder to run in. An `order` comes by the socket first, then bytes, each the number of a signal for the program; its end
means that everybody has to end. What the keeper says are lines:

    started              the program runs
    failed ERRNO WHAT    it cannot be executed (the last line)
    no-namespace ERRNO   asked for a namespace, but there is none here (the last line)
    ended STATUS         the program has ended so (wait status), and so has everybody else (the last line)
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import select
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, NoReturn
else:
    # `signal` and `typing` are half of what a keeper takes to begin.
    import _signal as signal

CONTROL, FOLDER = 3, 4

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
_NEWNS, _NEWUSER, _NEWPID = 0x00020000, 0x10000000, 0x20000000
_PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _CLEAR_ALL = 24, 28, 47, 4
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 16384, 1 << 18
_NO_ROOT_LOCKED = 0x2F  # No rights by being root, nor by becoming it; none kept over a change; all locked.
_CAPGET, _CAPSET = {"x86_64": 125, "aarch64": 90}, {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION = 0x20080522
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT, _SECCOMP = 444, 445, 446, {"x86_64": 317, "aarch64": 277}
_BENEATH_A_PATH, _SECCOMP_FILTER = 1, 1
_OF_FILES = 0x1 | 0x2 | 0x4 | 0x4000 | 0x8000
"""The rights of Landlock that a file can have: execute, write, read, truncate, ioctl."""
_LENGTH = 8
_KEEPERS = 2
"""Processes of ours in a user namespace."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def main() -> int:
    """Keeps one program. The only argument is the launcher's process id."""
    launcher = int(sys.argv[1])
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launcher:
        return 1
    os.set_inheritable(CONTROL, False)
    os.set_inheritable(FOLDER, False)
    os.closerange(FOLDER + 1, 1 + max(map(int, os.listdir("/proc/self/fd"))))
    order = _receive_order()
    if order is None:
        return 1
    if order["namespace"]:
        try:
            _enter_namespaces()
        except OSError as error:
            _say(f"no-namespace {error.errno}")
            return 1
    else:
        adopt_orphans()
    _prctl(_PR_SET_DUMPABLE, 0)  # Its program is the same user, but has no business in here.
    if not order["namespace"]:
        _drop_capabilities()
    # Once more: new credentials, such as a new user namespace brings, have cleared the request.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL if order["namespace"] else signal.SIGTERM)
    if os.getppid() != launcher:
        return 1
    return _wait_for_init(order) if order["namespace"] else _Warden(order, is_init=False).keep()


def _receive_order() -> dict[str, Any] | None:
    header = _receive(_LENGTH)
    body = _receive(int.from_bytes(header, "big")) if header is not None else None
    order: dict[str, Any] | None = marshal.loads(body) if body is not None else None
    return order


def _receive(count: int) -> bytes | None:
    found = b""
    while len(found) < count:
        part = os.read(CONTROL, count - len(found))
        if not part:
            return None
        found += part
    return found


def _say(line: str) -> None:
    try:
        os.write(CONTROL, line.encode() + b"\n")
    except OSError:
        pass  # The launcher has gone; so will we.


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


# ---- namespaces


def _enter_namespaces() -> None:
    """Children of this process are born in a PID namespace of their own. Raises OSError where that cannot be."""
    user, group = os.geteuid(), os.getegid()
    try:
        _unshare(_NEWPID | _NEWNS)
    except PermissionError:
        _unshare(_NEWUSER | _NEWPID | _NEWNS)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _wait_for_init(order: dict[str, Any]) -> int:
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(theirs)
        _be_init(order, ours)
    _drop_capabilities()
    # Only the pipe's writing end stays: it says that the keeper lives.
    for descriptor in (0, 1, 2, CONTROL, FOLDER, ours):
        os.close(descriptor)
    os.waitpid(pid, 0)
    return 0


def _be_init(order: dict[str, Any], keeper: int) -> NoReturn:
    """The first process of the namespace: where it ends, all end."""
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # Its parent's pid is 0 from here, dead or not; the pipe says whether that died before the request.
        if not select.select([keeper], [], [], 0)[0]:
            _own_proc()
            try:
                for folder in order["hidden"]:
                    _hide(folder)
            except OSError as error:  # Namespaces, but no mounts in them: the launcher goes on without either.
                _say(f"no-namespace {error.errno}")
                os._exit(1)
            _drop_capabilities()
            os._exit(_Warden(order, is_init=True).keep())
    finally:
        os._exit(1)


def _own_proc() -> None:
    """A /proc that shows this namespace, and no process of the server. Some containers forbid it; then the program sees
    the numbers that others see."""
    _libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    _libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(_MS_NOSUID | _MS_NODEV | _MS_NOEXEC), None)


def _hide(folder: bytes) -> None:
    """Covers a folder with an empty one, for everybody in here. Who has it open already goes on."""
    flags = ctypes.c_ulong(_MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    if _libc.mount(b"theater", folder, b"tmpfs", flags, b"size=4k,nr_inodes=1,mode=0") != 0:
        raise OSError(ctypes.get_errno(), "hide")


# ---- walls


def _drop_capabilities() -> None:
    """Leaves none in any set, and no way to get one, also for root. A user without rights has none to drop."""
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    _libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    _libc.prctl(_PR_SET_SECUREBITS, _NO_ROOT_LOCKED, 0, 0, 0)
    header = _CAPABILITY_VERSION.to_bytes(4, sys.byteorder) + bytes(4)
    try:
        _call(_CAPSET[os.uname().machine], header, bytes(24))
    except OSError:
        left = ctypes.create_string_buffer(24)
        _call(_CAPGET[os.uname().machine], header, ctypes.addressof(left))
        if any(left.raw[:8] + left.raw[12:20]):  # Effective and permitted ones; without any it may be forbidden.
            raise


def _enter_domain(ruleset: bytes, rules: list[tuple[bytes, int]]) -> None:
    """Enters a Landlock domain. What a rule is for need not be there."""
    domain = _call(_LANDLOCK_CREATE, ruleset, len(ruleset), 0)
    for path, rights in rules:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        mode = os.fstat(place).st_mode
        if not stat.S_ISDIR(mode):
            rights &= _OF_FILES
        if rights and not stat.S_ISLNK(mode):  # Where a link leads to has a rule of its own, or none.
            rule = rights.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder)
            _call(_LANDLOCK_ADD, domain, _BENEATH_A_PATH, rule, 0)
        os.close(place)
    _call(_LANDLOCK_RESTRICT, domain, 0)
    os.close(domain)


def _filter_calls(code: bytes) -> None:
    """Lets the kernel ask a classic BPF program about each system call from here on."""
    text = ctypes.create_string_buffer(code, len(code))
    program = (len(code) // 8).to_bytes(8, sys.byteorder) + ctypes.addressof(text).to_bytes(8, sys.byteorder)
    _call(_SECCOMP[os.uname().machine], _SECCOMP_FILTER, 0, program)


def _call(number: int, *values: int | bytes) -> int:
    arguments = [ctypes.c_char_p(each) if isinstance(each, bytes) else ctypes.c_long(each) for each in values]
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result


# ---- the program


class _Warden:
    """Parent of the program."""

    def __init__(self, order: dict[str, Any], *, is_init: bool) -> None:
        self._order = order
        self._is_init = is_init
        self._program = 0
        self._is_over = False
        self._wake, self._woken = os.pipe()
        for descriptor in (self._wake, self._woken):
            os.set_blocking(descriptor, False)

    def keep(self) -> int:
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._on_signal)
        if not self._is_init:  # Nobody in a namespace can signal its first process, unless that listens.
            signal.signal(signal.SIGTERM, self._on_signal)
        if (error := self._start()) is not None:
            self._end_all()
            _say(f"failed {error}")
            return 1
        for descriptor in (0, 1, 2, FOLDER):
            os.close(descriptor)
        _say("started")
        status = self._await_program()
        self._end_all()
        if status is not None:
            _say(f"ended {status}")
        return 0

    def _on_signal(self, number: int, frame: object) -> None:
        if number == signal.SIGTERM:
            self._is_over = True  # The launcher is dead.

    def _start(self) -> str | None:
        """Starts the program; returns why it could not be executed."""
        reading, writing = os.pipe()
        warden = os.getpid()
        self._program = os.fork()
        if self._program == 0:
            os.close(reading)
            _become(self._order, warden, writing)
        os.close(writing)
        found = b""
        while part := os.read(reading, 200):
            found += part
        os.close(reading)
        return found.decode() or None

    def _await_program(self) -> int | None:
        """Its wait status; None if everybody has to end before it has."""
        poll = select.poll()
        poll.register(CONTROL, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._is_over:
            for descriptor, _ in poll.poll():
                if descriptor == self._wake:
                    os.read(self._wake, 4096)
                elif not self._obey():
                    return None
            while (ended := _reap(os.WNOHANG)) is not None and ended[0] != 0:
                if ended[0] == self._program:
                    return ended[1]
        return None

    def _obey(self) -> bool:
        """Passes signals on. The program has not been waited for, so its number is its own."""
        try:
            numbers = os.read(CONTROL, 256)
        except OSError:
            return False
        for number in numbers:
            os.kill(self._program, number)
        return bool(numbers)

    def _end_all(self) -> None:
        """Kills until nobody is left."""
        while True:
            self._kill_all()
            while (ended := _reap(os.WNOHANG)) is not None and ended[0] != 0:
                pass
            if ended is None:
                return
            select.select([self._wake], [], [], 0.005)
            try:
                os.read(self._wake, 4096)
            except BlockingIOError:
                pass

    def _kill_all(self) -> None:
        if self._is_init:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                pass
            return
        # Stopped first: who is killed while another still forks has been replaced already.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in descendants(os.getpid()):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass


def _reap(options: int) -> tuple[int, int] | None:
    """As waitpid for any child; None if there is no child at all."""
    try:
        return os.waitpid(-1, options)
    except ChildProcessError:
        return None


def descendants(pid: int) -> list[int]:
    """All processes below a process, the upper ones first, as /proc shows them at this moment."""
    below = _parents()
    found = list(below.get(pid, ()))
    for each in found:
        found.extend(below.get(each, ()))
    return found


def children(pid: int) -> list[int]:
    """The children of a process, zombies too."""
    return _parents().get(pid, [])


def _parents() -> dict[int, list[int]]:
    """Children by parent, of all processes."""
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue
            below.setdefault(parent, []).append(int(name))
    return below


def adopt_orphans() -> None:
    """Has this process become the parent of what its descendants leave behind."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _become(order: dict[str, Any], warden: int, trouble: int) -> NoReturn:
    """Becomes the program; what goes wrong is written to `trouble`, which the execution closes."""
    doing = "prepare"
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != warden:
            os._exit(1)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        doing = "folder"
        os.fchdir(FOLDER)
        doing = "limits"
        for which, limit in order["limits"]:
            if which == resource.RLIMIT_NPROC:
                if not order["namespace"]:
                    continue  # All processes of the user would count, those of the server first.
                limit += _KEEPERS
            hard = resource.getrlimit(which)[1]
            value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(which, (value, value))
        doing = "prepare"
        os.umask(order["umask"])
        _default_signals()
        doing = "walls"
        if order["ruleset"]:
            _enter_domain(order["ruleset"], order["rules"])
        if order["filter"]:
            _filter_calls(order["filter"])
        doing = "execute"
        os.execve(order["path"], order["argv"], order["env"])
    except OSError as error:
        os.write(trouble, f"{error.errno} {doing}".encode())
    except BaseException as defect:
        os.write(trouble, f"0 {doing}: {type(defect).__name__}".encode())
    finally:
        os._exit(127)


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                pass  # The C library keeps some for itself.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


if __name__ == "__main__":
    sys.exit(main())
