"""What somebody would try who has taken over a worker, by system calls as they are.

This file is loaded into the worker beside what it has: `install` makes it do what is logged as
`do NAMES`, where its guest calls the host, that is in a worker that went the whole normal way and is sealed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import socket
from collections.abc import Callable
from typing import Any

from theater.walls.kernel import process_control, system_call
from theater.walls.syscalls import NUMBERS

_F_NOTIFY, _F_SETLEASE, _F_SETPIPE_SZ = 1026, 1024, 1031
_FAMILIES = 46

FATAL = [
    "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "mount", "umount2", "pivot_root", "chroot",
    "setns", "unshare", "bpf", "perf_event_open", "keyctl", "add_key", "request_key", "init_module", "finit_module",
    "kexec_load", "io_uring_setup", "io_uring_enter", "io_uring_register", "open_by_handle_at", "name_to_handle_at",
    "pidfd_getfd", "fsopen", "open_tree", "move_mount", "reboot", "swapon", "settimeofday", "clock_settime",
    "sethostname", "personality", "mknodat", "kcmp",
]  # fmt: skip
"""Calls that end whoever makes them; which arguments they have does not matter."""


class Target:
    """What is attacked.

    Args:
        facts: `home`, `secrets` and `record` (of the server), `own` and `other` (folders of two
            actors), `server` and `neighbour` (process ids), `content` (a file of it), `manifest`.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self.home, self.own, self.other = facts["home"], facts["own"], facts["other"]
        self.server, self.neighbour = facts["server"], facts["neighbour"]
        self.secrets, self.record = facts["secrets"], facts["record"]
        self.content, self.manifest = facts["content"], facts["manifest"]

    def chain(self) -> int:
        """The descriptor of this actor's chain."""
        found, writes = os.stat(f"{self.own}/chain"), os.O_APPEND | os.O_WRONLY
        for number in map(int, os.listdir("/proc/self/fd")):
            with contextlib.suppress(OSError):
                if fcntl.fcntl(number, fcntl.F_GETFL) & writes == writes and os.path.samestat(os.fstat(number), found):
                    return number
        raise LookupError("no descriptor of the chain")


def _call(name: str, *arguments: int | bytes) -> Callable[[Target], object]:
    def act(_: Target) -> object:
        number = NUMBERS.get(name)
        if number is None:
            raise OSError(errno.ENOSYS, "not on this machine")
        return system_call(number, *arguments)

    return act


def _become_code(_: Target) -> None:
    page = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    system_call(NUMBERS["mprotect"], address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)


def _connect_to_control(at: Target) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(f"{at.home}/run/control")


def _files() -> dict[str, Callable[[Target], object]]:
    read, write, new = os.O_RDONLY, os.O_WRONLY, os.O_WRONLY | os.O_CREAT
    paths: dict[str, Callable[[Target], str]] = {
        "programs": lambda at: "/usr/bin/env",
        "passwords": lambda at: "/etc/passwd",
        "root": lambda at: "/",
        "other-chain": lambda at: f"{at.other}/chain",
        "other-folder": lambda at: at.other,
        "all-actors": lambda at: os.path.dirname(at.own),
        "secrets": lambda at: at.secrets,
        "manifest": lambda at: at.manifest,
        "supervisor-chain": lambda at: at.record,
        "control": lambda at: f"{at.home}/run",
        "memory-of-another": lambda at: f"/proc/{at.neighbour}/mem",
        "memory-of-the-server": lambda at: f"/proc/{at.server}/mem",
        "environment-of-the-server": lambda at: f"/proc/{at.server}/environ",
        "kernel-memory": lambda at: "/dev/mem",
        "kernel-log": lambda at: "/dev/kmsg",
        "disks": lambda at: "/dev",
        "settings": lambda at: "/proc/sys/kernel",
        "control-groups": lambda at: "/sys/fs/cgroup",
    }
    found = {f"read-{name}": (lambda at, path=path: os.open(path(at), read)) for name, path in paths.items()}
    for call, arguments in _LOOKS.items():
        for name, path in {**paths, "own-chain": lambda at: f"{at.own}/chain"}.items():
            found[f"{call}-{name}"] = lambda at, call=call, path=path, arguments=arguments: system_call(
                *_filled(call, arguments, os.fsencode(path(at)) + b"\0")
            )
    own = {"own-chain": lambda at: f"{at.own}/chain", "other-chain": paths["other-chain"]}
    own |= {"content": lambda at: at.content, "manifest": paths["manifest"]}
    for name, path in own.items():
        found[f"write-{name}"] = lambda at, path=path: os.open(path(at), write)
        found[f"truncate-{name}"] = lambda at, path=path: os.truncate(path(at), 0)
        found[f"empty-{name}"] = lambda at, path=path: os.open(path(at), write | os.O_TRUNC)
        found[f"remove-{name}"] = lambda at, path=path: os.unlink(path(at))
        found[f"rename-{name}"] = lambda at, path=path: os.rename(path(at), path(at) + ".away")
        found[f"mode-{name}"] = lambda at, path=path: os.chmod(path(at), 0o777)
        found[f"owner-{name}"] = lambda at, path=path: os.chown(path(at), 1, 1)
        found[f"times-{name}"] = lambda at, path=path: os.utime(path(at), (0, 0))
        found[f"attributes-{name}"] = lambda at, path=path: os.setxattr(path(at), "user.x", b"x")
    for name, folder in {"tmp": "/tmp", "root": "/", "shm": "/dev/shm"}.items():
        found[f"create-in-{name}"] = lambda at, folder=folder: os.open(f"{folder}/theater-hostile", new)
        found[f"folder-in-{name}"] = lambda at, folder=folder: os.mkdir(f"{folder}/theater-hostile-folder")
        found[f"link-in-{name}"] = lambda at, folder=folder: os.symlink("/etc/passwd", f"{folder}/theater-hostile-link")
    found["create-beside-the-chain"] = lambda at: os.open(f"{at.own}/new", new)
    found["create-with-another"] = lambda at: os.open(f"{at.other}/new", new)
    found["replace-content"] = lambda at: os.rename(f"{at.own}/chain", at.content)
    found["age-content"] = lambda at: os.utime(os.open(at.content, os.O_RDONLY), (1, 1))
    return found


def _of_the_chain() -> dict[str, Callable[[Target], object]]:
    def mapped(at: Target) -> object:
        return mmap.mmap(at.chain(), 1, mmap.MAP_SHARED, mmap.PROT_WRITE | mmap.PROT_READ)

    return {
        "chain-truncate": lambda at: os.ftruncate(at.chain(), 0),
        "chain-write-at": lambda at: os.pwrite(at.chain(), b"X", 0),
        "chain-no-append": lambda at: fcntl.fcntl(at.chain(), fcntl.F_SETFL, os.O_WRONLY),
        "chain-punch": lambda at: system_call(NUMBERS["fallocate"], at.chain(), 3, 0, 16),
        "chain-allocate": lambda at: os.posix_fallocate(at.chain(), 0, 1 << 20),
        "chain-map": mapped,
        "chain-owner": lambda at: os.fchown(at.chain(), 1, 1),
        "chain-mode": lambda at: os.fchmod(at.chain(), 0o666),
        "chain-reopen": lambda at: os.open(f"/proc/self/fd/{at.chain()}", os.O_WRONLY),
        "chain-read": lambda at: os.read(at.chain(), 10),
        "chain-write-at-flags": lambda at: system_call(NUMBERS["pwritev2"], at.chain(), _vector(b"X"), 1, 0, 0, 0x20),
        "chain-splice": lambda at: os.splice(at.chain(), at.chain(), 10),
        "chain-copy-over": lambda at: os.copy_file_range(at.chain(), at.chain(), 10, 0, 0),
        "chain-dup-over": lambda at: os.dup2(2, at.chain()),
        "chain-lease": lambda at: fcntl.fcntl(at.chain(), _F_SETLEASE, 0),
        "chain-owner-of-signals": lambda at: fcntl.fcntl(at.chain(), fcntl.F_SETOWN, at.server),
        "chain-notify": lambda at: fcntl.fcntl(at.chain(), _F_NOTIFY, 1),
        "chain-pipe-size": lambda at: fcntl.fcntl(at.chain(), _F_SETPIPE_SZ, 4096),
    }


_HERE, _EMPTY_PATH, _O_PATH = -100, 0x1000, 0o10000000
_O_NEITHER = 3
"""For neither reading nor writing (open(2), "File access mode"): Landlock knows no right for that."""
_PATH = object()
_LOOKS: dict[str, tuple[Any, ...]] = {
    "stat": (_PATH, bytes(256)),
    "lstat": (_PATH, bytes(256)),
    "newfstatat": (_HERE, _PATH, bytes(256), 0),
    "newfstatat:empty": (_HERE, _PATH, bytes(256), _EMPTY_PATH),
    "statx": (_HERE, _PATH, 0, 0xFFF, bytes(256)),
    "statx:empty": (_HERE, _PATH, _EMPTY_PATH, 0xFFF, bytes(256)),
    "access": (_PATH, 0),
    "faccessat": (_HERE, _PATH, 0),
    "faccessat2": (_HERE, _PATH, 0, 0),
    "readlink": (_PATH, bytes(256), 256),
    "readlinkat": (_HERE, _PATH, bytes(256), 256),
    "statfs": (_PATH, bytes(256)),
    "open": (_PATH, _O_PATH),
    "openat": (_HERE, _PATH, _O_PATH, 0),
    "open:neither": (_PATH, _O_NEITHER),
    "openat:neither": (_HERE, _PATH, _O_NEITHER, 0),
    "openat2": (_HERE, _PATH, _O_PATH.to_bytes(8, "little") + bytes(16), 24),
}
"""What only looks at a file, and with which arguments."""


def _filled(call: str, arguments: tuple[Any, ...], path: bytes) -> list[Any]:
    number = NUMBERS.get(call.partition(":")[0])
    if number is None:
        raise OSError(errno.EPERM, "not on this machine")
    return [number, *(path if each is _PATH else each for each in arguments)]


_kept: list[object] = []


def _vector(data: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(data)
    _kept.append(buffer)
    return ctypes.addressof(buffer).to_bytes(8, "little") + len(data).to_bytes(8, "little")


def _of_processes() -> dict[str, Callable[[Target], object]]:
    return {
        "fork": lambda at: os.fork() or os._exit(0),
        "vfork": _call("vfork"),
        "clone-a-process": _call("clone", 17, 0, 0, 0, 0),
        "clone-into-namespaces": _call("clone", 0x10000000 | 17, 0, 0, 0, 0),
        "clone3": _call("clone3", bytes(88), 88),
        "kill-the-server": lambda at: os.kill(at.server, 9),
        "probe-the-server": lambda at: os.kill(at.server, 0),
        "kill-another": lambda at: os.kill(at.neighbour, 9),
        "kill-everybody": lambda at: os.kill(-1, 0),
        "kill-by-thread": lambda at: system_call(NUMBERS["tgkill"], at.neighbour, at.neighbour, 0),
        "kill-thread": lambda at: system_call(NUMBERS["tkill"], at.neighbour, 0),
        "queue-a-signal": lambda at: system_call(NUMBERS["rt_sigqueueinfo"], at.neighbour, 10, bytes(128)),
        "pidfd": lambda at: os.pidfd_open(at.neighbour),
        "pidfd-signal": _call("pidfd_send_signal", 0, 9, 0, 0),
        "limits-of-another": lambda at: system_call(NUMBERS["prlimit64"], at.neighbour, 7, bytes(16), 0),
        "own-limits": _call("prlimit64", 0, 7, bytes(16), 0),
        "own-limits-by-name": _call("setrlimit", 4, b"\xff" * 16),
        "priority": lambda at: os.setpriority(os.PRIO_PROCESS, at.neighbour, 10),
        "scheduler": lambda at: os.sched_setscheduler(at.neighbour, os.SCHED_IDLE, os.sched_param(0)),
        "processors-of-another": lambda at: os.sched_setaffinity(at.neighbour, {0}),
        "session": lambda at: os.setsid(),
        "group": lambda at: os.setpgid(0, at.neighbour),
        "wait": lambda at: os.waitpid(-1, os.WNOHANG),
        "code-by-mprotect": _become_code,
        "code-by-mmap": lambda at: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
        "code-by-mmap-writable": lambda at: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
        "code-by-pkey": _call("pkey_mprotect", 0, 4096, 4, -1),
        "memory-file": lambda at: os.memfd_create("x"),
        "secret-memory-file": _call("memfd_secret", 0),
        "shared-memory": _call("shmget", 0, 4096, 0o1600),
        "semaphores": _call("semget", 0, 1, 0o1600),
        "messages": _call("msgget", 0, 0o1600),
        "message-queue": _call("mq_open", b"x\0", 0o102, 0o600, 0),
        "locked-memory": _call("mlock", 0, 4096),
        "userfaultfd": _call("userfaultfd", 0),
        "inotify": _call("inotify_init1", 0),
        "signalfd": _call("signalfd4", -1, bytes(8), 8, 0),
        "asynchronous-io": _call("io_setup", 1, bytes(8)),
    }


def _of_identity() -> dict[str, Callable[[Target], object]]:
    return (
        {
            "become-root": lambda at: os.setresuid(0, 0, 0),
            "become-nobody": lambda at: os.setresuid(65534, 65534, 65534),
            "groups": lambda at: os.setgroups([0]),
            "group-of-root": lambda at: os.setresgid(0, 0, 0),
            "capabilities": _call("capset", (0x20080522).to_bytes(4, "little") + bytes(4), b"\xff" * 24),
            "be-traceable": lambda at: process_control(4, 1),
            "outlive-the-server": lambda at: process_control(1, 0),
            "adopt": lambda at: process_control(36, 1),
            "own-filter": lambda at: process_control(22, 2, 0),
            "own-filter-by-call": _call("seccomp", 1, 0, bytes(16)),
            "new-domain": _call("landlock_create_ruleset", bytes(24), 24, 0),
            "change-folder": lambda at: os.chdir("/"),
            "socket-pair": lambda at: socket.socketpair(),
            "connect-to-control": _connect_to_control,
            "accept": _call("accept4", 0, 0, 0, 0),
            "listen": _call("listen", 0, 1),
            "bind": _call("bind", 0, bytes(16), 16),
            "connect": _call("connect", 0, bytes(16), 16),
            "terminal-input": lambda at: fcntl.ioctl(2, 0x5412, b"x"),
            "disk-quota": _call("sync"),
        }
        | {
            f"socket-of-family-{family}": (lambda at, family=family: socket.socket(family, socket.SOCK_STREAM))
            for family in range(_FAMILIES)
        }
        | {
            f"datagrams-of-family-{family}": (lambda at, family=family: socket.socket(family, socket.SOCK_DGRAM))
            for family in (1, 2, 10, 16, 17, 38, 40)
        }
    )


REFUSED: dict[str, Callable[[Target], object]] = {**_files(), **_of_the_chain(), **_of_processes(), **_of_identity()}
"""What is refused, by name."""


def attempt(name: str, at: Target) -> str:
    """What becomes of an action: the name of the error that it met, or `DONE`."""
    if name in FATAL:
        system_call(NUMBERS[name], 0, 0, 0, 0, 0, 0)
        return "DONE"
    try:
        REFUSED[name](at)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except ValueError as error:
        return f"no call was made: {error}"
    return "DONE"


def install() -> None:
    """From now on an actor that logs `do {"names": [...], "at": {...}}` does that, and logs what became of it."""
    from theater.worker.actor import Actor

    say = Actor.say

    def instead(self: Actor, stream: str, text: str) -> None:
        if not text.startswith("do "):
            say(self, stream, text)
            return
        order = json.loads(text[3:])
        at = Target(order["at"])
        for name in order["names"]:
            say(self, stream, f"{name} {attempt(name, at)}")

    Actor.say = instead  # type: ignore[method-assign]
