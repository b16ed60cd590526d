"""What each kind of process still needs, and nothing else.

The processes of an actor descend from each other, so they become narrower in three steps: the *spawner* gives up what
no descendant of it ever needs, and has hostile calls reported; a *template*, when it has mapped its component's code
and before any of it runs; a *worker*, when its files are open and before its guest runs.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field

from theater.walls import landlock, privileges, resources, seccomp
from theater.walls.landlock import Paths
from theater.walls.seccomp import Filter, Masked

_EXEC_MEMORY = 4
_F_SETFL, _O_APPEND, _F_DUPFD_CLOEXEC, _F_GETFD, _F_SETFD, _F_GETFL = 4, 0o2000, 1030, 1, 2, 3
_LOCKS = (5, 6, 7, 36, 37, 38)
"""F_GETLK, F_SETLK, F_SETLKW, and the same of open file descriptions: for handlers of packages that keep files."""

_PR_SET_NAME = 15
THREAD = 0x10F00
"""CLONE_VM, _FS, _FILES, _SIGHAND and _THREAD: a thread, and not a process."""

WORD = 0xFFFFFFFF


def names(text: str) -> frozenset[str]:
    """Those in a text, with blanks between them."""
    return frozenset(text.split())


HOSTILE = names(
    "execve execveat ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd "
    "mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick open_tree open_tree_attr move_mount "
    "mount_setattr setns unshare bpf perf_event_open keyctl add_key request_key init_module finit_module "
    "delete_module kexec_load kexec_file_load io_uring_setup io_uring_enter io_uring_register open_by_handle_at "
    "name_to_handle_at fanotify_init reboot swapon swapoff acct quotactl quotactl_fd settimeofday clock_settime "
    "clock_adjtime adjtimex sethostname setdomainname iopl ioperm modify_ldt uselib "
    "syslog vhangup personality mknod mknodat migrate_pages move_pages "
)
"""Calls that no process of an actor makes by mistake. Whoever makes one is ended, and the reason names it."""

ORDINARY = names(
    "read write readv writev pread64 preadv preadv2 close close_range fstat lseek poll ppoll select "
    "pselect6 brk munmap mremap madvise mincore futex futex_waitv futex_wait futex_wake sched_yield getpid "
    "getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups getpgid getpgrp getsid "
    "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack rt_sigtimedwait rt_sigpending restart_syscall "
    "nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time exit exit_group set_robust_list "
    "get_robust_list rseq set_tid_address membarrier getrandom getrusage times sysinfo uname getcpu "
    "sched_getaffinity sched_getparam sched_getscheduler getrlimit dup timer_create timer_settime timer_gettime "
    "timer_getoverrun timer_delete getsockname getpeername getsockopt recvfrom recvmsg sendto sendmsg shutdown "
    "epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd2 pipe2 fsync fdatasync getdents64 "
    "mkdir mkdirat unlink unlinkat rename renameat renameat2 rmdir link linkat fstatfs fadvise64 getcwd "
    "umask arch_prctl flock fchdir sync_file_range getpriority getitimer setitimer "
)
"""What Python and a guest in it need while they work, where files are confined by Landlock."""

BY_NAME = names(
    "open openat openat2 readlink readlinkat newfstatat stat lstat statx access faccessat faccessat2 statfs "
)
"""What says what a file is like by its name, wherever it is: of that Landlock says nothing."""

_O_PATH, _O_ACCMODE = 0o10000000, 3
_READ_WRITE_BOTH = (0, 1, 2)


def _opening(mask: int) -> dict[str, list[tuple[Masked, ...]]]:
    """Files are opened to be read or written, which Landlock decides. Access mode 3 is neither, so Landlock has nothing
    against it, and what a file is like could be asked of that."""
    arguments = {"open": 1, "openat": 2}
    return {call: [(Masked(at, mask, use),) for use in _READ_WRITE_BOTH] for call, at in arguments.items()}


_TO_USE = _opening(_O_PATH | _O_ACCMODE)
"""Nor to be only looked at."""

_TO_LOOK_AT = _opening(_O_ACCMODE)
_OPENINGS = frozenset({"open", "openat", "openat2"})
"""The last is never given: how it opens is in memory, where no filter looks. theater/beneath.py does without it."""

_NO_CODE = (Masked(2, _EXEC_MEMORY, 0),)
_PAGEMAP_SCAN = 0xC0606610
_FILE_REQUESTS = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)
"""Is it a terminal, how much can be read, do not wait, close at exec or not: what Python asks of files and sockets."""

_NEVER = {"clone3": errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class Room:
    """The walls of one kind of process.

    Args:
        name: what kind.
        filter: of its system calls.
        limits: of resources (`resources.NAMES`).
        keeps_code: no memory that it could write becomes code.
        hides: nobody of the same user may look into it. It owns less of /proc then than it would.
        network: TCP is allowed.
    """

    name: str
    filter: Filter
    limits: Mapping[str, int] = field(default_factory=dict)
    keeps_code: bool = False
    hides: bool = False
    network: bool = False


def enter(room: Room, paths: Paths | None = None, *, report: bool = False) -> int | None:
    """Puts this process into a room, for good.

    Args:
        paths: what it may do with which files; None confines nothing.
        report: have a listener made for hostile calls.

    Returns:
        the listener, if one was wanted and can be had.

    Raises:
        OSError: the kernel has a wall, and refuses it.
    """
    if room.hides:
        privileges.hide_memory()
    privileges.gain_no_more()
    privileges.drop_capabilities()
    resources.limit(room.limits)
    if paths is not None:
        landlock.confine(paths, network=room.network)
    if room.keeps_code:
        privileges.keep_code_as_it_is()
    if not seccomp.is_there():
        return None
    listens = report and seccomp.can_notify()
    return seccomp.install(room.filter.program(notify=listens), listener=listens)


SPAWNER = Room(
    "spawner",
    Filter(errors={"clone3": errno.ENOSYS}, hostile=HOSTILE, otherwise=None),
    {"core": 0, "locked": 0, "queues": 0},
)
"""What no process of an actor ever does. Everything else is for the next rooms to refuse."""

TEMPLATE = Room(
    "template",
    Filter(
        # What is hostile stays with the filter of the spawner, which reports it.
        allowed=ORDINARY
        | BY_NAME
        | HOSTILE
        | names(
            "clone wait4 setrlimit prlimit64 setpriority seccomp capset capget fcntl ftruncate fallocate ioctl prctl "
            "landlock_create_ruleset landlock_add_rule landlock_restrict_self socketpair setsockopt tgkill userfaultfd "
            "memfd_create utimensat pwrite64"
        ),
        when={"mmap": [_NO_CODE], "mprotect": [_NO_CODE]},
        errors=_NEVER,
    ),
    keeps_code=True,
)
"""A component that is mapped: what it needs to run, and to be forked."""


def worker(pid: int, chain: int, *, by_name: bool) -> Room:
    """The room of an actor.

    Args:
        pid: of its process.
        chain: descriptor of its chain, which is open for appending and stays so.
        by_name: it may ask what files are like by their names; else only of those that it has open.
    """
    other_files = [(Masked(0, WORD, chain, differs=True),)]
    return Room(
        "worker",
        Filter(
            allowed=(ORDINARY | HOSTILE | (BY_NAME - _OPENINGS if by_name else frozenset())) - {"dup"},
            when={
                **(_TO_LOOK_AT if by_name else _TO_USE),
                "mmap": [_NO_CODE],
                "mprotect": [_NO_CODE],
                "clone": [(Masked(0, THREAD, THREAD),)],
                "prctl": [(Masked(0, WORD, _PR_SET_NAME),)],
                "tgkill": [(Masked(0, WORD, pid),)],
                "ioctl": [(Masked(1, WORD, request),) for request in (_PAGEMAP_SCAN, *_FILE_REQUESTS)],
                # Of an open file, to now; by a path it would be anybody's, and what is young is spared by collectors.
                "utimensat": [tuple(Masked(at, WORD, 0, upper=upper) for at in (1, 2) for upper in (False, True))],
                **dict.fromkeys(("ftruncate", "fallocate", "pwrite64"), other_files),
                "fcntl": [
                    (Masked(1, WORD, _F_SETFL), Masked(2, _O_APPEND, _O_APPEND)),
                    *[(Masked(1, WORD, command),) for command in (_F_GETFD, _F_SETFD, _F_GETFL, *_LOCKS)],
                    (Masked(1, WORD, _F_DUPFD_CLOEXEC), *other_files[0]),
                ],
            },
            errors=_NEVER,
        ),
        {"core": 0, "locked": 0, "queues": 0},
        keeps_code=True,
        hides=True,
    )
