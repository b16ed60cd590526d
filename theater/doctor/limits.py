"""How much this process may have of what each actor takes some of."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

from theater.doctor.finding import Finding, note, ok, problem
from theater.errors import LimitExceeded

_AREA = "limits"
_PER_ACTOR = 3
"""Descriptors that a server has for each actor, about."""

_FEW_DESCRIPTORS, _SOME_DESCRIPTORS = 256, 4096
_FEW_PROCESSES = 64
_SOME_PROCESSES = 1024
_UNLIMITED = resource.RLIM_INFINITY


def examine() -> Iterator[Finding]:
    yield descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield processes(resource.getrlimit(resource.RLIMIT_NPROC)[0], "the user")
    for what, path in (("threads-max", "kernel/threads-max"), ("pid_max", "kernel/pid_max")):
        if (most := _number(f"/proc/sys/{path}")) is not None:
            yield processes(most, "the machine", what)
    yield memory(resource.getrlimit(resource.RLIMIT_AS)[0])
    locked = _words(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])
    yield ok(_AREA, "locked memory", f"{locked} bytes may be locked, and nothing of ours locks any")
    if (mode := _number("/proc/sys/vm/overcommit_memory")) is not None:
        yield overcommit(mode)
    if (core := resource.getrlimit(resource.RLIMIT_CORE)[0]) != 0:
        says = "a process of ours that is killed by a signal may be written to the disk, with all that it held"
        yield note(_AREA, "core dumps", f"{says} ({_words(core)} bytes)", "workers forbid it themselves; `ulimit -c 0`")
    if (first := _number("/proc/sys/net/ipv4/ip_unprivileged_port_start")) is not None and first > 0:
        says = f"actors may listen on ports from {first} on"
        yield ok(_AREA, "ports", f"{says}; below only as root, or with CAP_NET_BIND_SERVICE")


def descriptors(most: int) -> Finding:
    """Open files: the server raises its own limit to the hard one."""
    if most == _UNLIMITED or most >= _SOME_DESCRIPTORS:
        return ok(_AREA, "descriptors", f"up to {_words(most)} files may be open")
    says = f"{most} files may be open, which is enough for about {max(most - 100, 0) // _PER_ACTOR} actors"
    advice = "raise the hard limit (`ulimit -Hn`, LimitNOFILE= of a unit)"
    if most < _FEW_DESCRIPTORS:
        return problem(_AREA, "descriptors", says, advice, LimitExceeded)
    return note(_AREA, "descriptors", says, advice)


def processes(most: int, whose: str, what: str = "processes") -> Finding:
    """Each actor is a process, and so are spares and templates."""
    says = f"{whose} may have {_words(most)} processes and threads"
    if most == _UNLIMITED or most >= _SOME_PROCESSES:
        return ok(_AREA, what, says)
    advice = "each actor is a process: raise it (`ulimit -u`, TasksMax= of a unit, sysctl)"
    if most < _FEW_PROCESSES:
        return problem(_AREA, what, says, advice, LimitExceeded)
    return note(_AREA, what, says, advice)


def memory(most: int) -> Finding:
    """Address space: guests reserve far more than they use."""
    if most == _UNLIMITED:
        return ok(_AREA, "address space", "processes may reserve any address space")
    says = f"a process may have {most} bytes of address space, and a guest reserves gigabytes that it does not use"
    return problem(_AREA, "address space", says, "lift it (`ulimit -v unlimited`)", LimitExceeded)


def overcommit(mode: int) -> Finding:
    if mode != 2:
        return ok(_AREA, "overcommit", "memory that is reserved need not be there")
    says = "the machine gives no more memory than it has, and guests reserve far more than they use"
    return note(_AREA, "overcommit", says, "fewer actors fit; `sysctl vm.overcommit_memory=0` lifts it")


def _words(number: int) -> str:
    return "any number of" if number == _UNLIMITED else str(number)


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
