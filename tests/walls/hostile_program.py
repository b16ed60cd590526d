"""A program of an actor that tries what no program may: prints, as JSON, how each attempt ended.

Executed by itself, with the standard library alone. The arguments are paths: of the server's home, of the cache, of a
folder that it may write into, and of one that it may not.
"""

import ctypes
import errno
import json
import os
import platform
import socket
import sys
from collections.abc import Callable

HOME, CACHE, OWN, OTHER = sys.argv[1:5]
X86 = platform.machine() == "x86_64"
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(number: int, *arguments: object) -> None:
    if libc.syscall(ctypes.c_long(number), *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def tried(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "?")
    return "done"


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def write(path: str) -> None:
    with open(path, "w") as file:
        file.write("x")


def read_any_device() -> None:
    found = [f"/dev/{name}" for name in os.listdir("/dev")]
    blocks = [path for path in found if os.stat(path).st_mode & 0o170000 == 0o060000]
    if not blocks:
        raise PermissionError(errno.EACCES, "there is none")
    os.close(os.open(blocks[0], os.O_RDONLY))


def use_a_capability() -> None:
    with open("/proc/self/status") as file:
        words = dict(line.split(":\t") for line in file.read().splitlines() if line.startswith("Cap"))
    if not any(int(words[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")):
        raise PermissionError(errno.EPERM, "none")


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


ACTIONS: dict[str, Callable[[], object]] = {
    "read the key": lambda: read(f"{HOME}/key"),
    "list the actors": lambda: os.listdir(f"{HOME}/actors"),
    "read the server's chain": lambda: read(f"{HOME}/supervisor.chain"),
    "write into the home": lambda: write(f"{HOME}/mine"),
    "command the server": lambda: connect(f"{HOME}/run/control"),
    "list the cache": lambda: os.listdir(CACHE),
    "write into the cache": lambda: write(f"{CACHE}/mine"),
    "uncover the home": lambda: call(166 if X86 else 39, HOME.encode(), 0),
    "mount": lambda: call(165 if X86 else 40, b"none", OWN.encode(), b"tmpfs", 0, None),
    "write elsewhere": lambda: write(f"{OTHER}/mine"),
    "change the kernel": lambda: os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY),
    "open a disk": read_any_device,
    "a user namespace": lambda: call(272 if X86 else 97, 0x10000000),
    "a process in a namespace": lambda: call(56 if X86 else 220, 0x20000000 | 17, None, None, None, None),
    "trace": lambda: call(101 if X86 else 117, 16, os.getppid(), 0, 0),
    "read another's memory": lambda: call(310 if X86 else 270, os.getppid(), None, 0, None, 0, 0),
    "bpf": lambda: call(321 if X86 else 280, 0, None, 0),
    "io_uring": lambda: call(425, 1, None),
    "keys": lambda: call(250 if X86 else 219, 0, 0, 0, 0, 0),
    "userfaultfd": lambda: call(323 if X86 else 282, 0),
    "performance": lambda: call(298 if X86 else 241, None, 0, 0, 0, 0),
    "kexec": lambda: call(246 if X86 else 104, 0, 0, None, 0),
    "a module": lambda: call(175 if X86 else 105, None, 0, b""),
    "another host name": lambda: call(170 if X86 else 161, b"x", 1),
    "the clock": lambda: call(227 if X86 else 112, 0, b"\0" * 16),
    "raw packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "the kernel's crypto": lambda: socket.socket(38, socket.SOCK_SEQPACKET),
    "virtual machines": lambda: socket.socket(40, socket.SOCK_STREAM),
    "be another user": lambda: os.setuid(os.getuid() + 1),
    "have a capability": use_a_capability,
    "chroot": lambda: os.chroot(OWN),
}
ALLOWED: dict[str, Callable[[], object]] = {
    "read a file of the machine": lambda: read("/etc/passwd"),
    "write into its own folder": lambda: write(f"{OWN}/mine"),
    "write a temporary file": lambda: write(f"/tmp/theater-program-{os.getpid()}"),
    "remove it": lambda: os.unlink(f"/tmp/theater-program-{os.getpid()}"),
    "write to nobody": lambda: write("/dev/null"),
    "a socket of the network": lambda: socket.socket(socket.AF_INET).close(),
    "a process": lambda: os.waitpid(os.fork() or os._exit(0), 0),
}

print(json.dumps({name: tried(action) for name, action in {**ACTIONS, **ALLOWED}.items()}))
