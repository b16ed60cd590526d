"""The text of the systemd unit that runs a server, from what an operator says.

It is the strictest that lets everything work which actors may be granted: workers in namespaces of their own, native
code of theirs, programs, the network. What stands here is written for systemd 249 and newer, and says why it is there.
docs/operating.md tells what can be made stricter, and what is lost then.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import theater
from theater.errors import InvalidInput

WATCHDOG_S = 30
_STATE, _CACHE, _RUN, _ETC = Path("/var/lib"), Path("/var/cache"), Path("/run"), Path("/etc")
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
_KEYS = "authorized-keys"
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/=@,+[]")
_DIGEST = "# sha256 of all that follows: "


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator says about a unit.

    Args:
        name: of the unit, without `.service`, and of its folders below /var/lib, /var/cache, /run and /etc.
        user: the user manager's unit, of the user who writes it, instead of the system's.
        user_name: the account it runs under; None for one that systemd makes for it while it runs.
        tree: the tree file that is applied at each start and at each reload.
        home: where the server keeps everything; None for the unit's folder.
        listen: where it takes commands from elsewhere, `tcp://HOST:PORT` each.
        authorized_keys: who may give them; None for a folder of the unit's below /etc.
        retention: how much is kept of the server's own chain, as of `theater server`.
        program: of the command line.
        code: folders that the program consists of.
    """

    name: str = "theater"
    user: bool = False
    user_name: str | None = None
    tree: Path | None = None
    home: Path | None = None
    listen: tuple[str, ...] = ()
    authorized_keys: Path | None = None
    retention: tuple[str, ...] = ()
    program: Path = field(default_factory=lambda: program())
    code: tuple[Path, ...] = field(default_factory=lambda: code())

    @property
    def file_name(self) -> str:
        return f"{self.name}.service"

    @property
    def state(self) -> Path:
        """The home of the server."""
        return self.home or _STATE / self.name

    @property
    def keys(self) -> Path:
        """The folder of authorized keys."""
        return self.authorized_keys or _ETC / self.name / _KEYS

    @property
    def address(self) -> str:
        """The control socket."""
        run = "%t" if self.user else str(_RUN)
        return f"ipc://{run}/{self.name}/control"


def program() -> Path:
    """The `theater` of the Python that runs this.

    Raises:
        InvalidInput: there is none, so that no unit could start it.
    """
    found = Path(sys.executable).parent / "theater"
    if not found.exists():
        raise InvalidInput(f"there is no {found}; install Theater where it is to stay, and use its own command line")
    return found


def code() -> tuple[Path, ...]:
    """The folders that this program consists of: of its environment, of the Python below that, and of its source."""
    folders = (Path(sys.prefix), Path(sys.base_prefix), Path(theater.__file__).parents[1])
    return tuple(dict.fromkeys(folders))


def text(wanted: Wanted) -> str:
    """The whole unit, with the line that tells whether somebody has changed it.

    Raises:
        InvalidInput: a path or name cannot stand in a unit, or no unit can do what is wanted.
    """
    _check(wanted)
    body = "\n\n".join("\n".join(section) for section in _sections(wanted)) + "\n"
    return (
        f"# Written by `theater systemd`. Changes belong into `systemctl edit {wanted.name}`, which keeps them.\n"
        + (f"{_DIGEST}{_digest(body)}\n\n{body}")
    )


def is_untouched(unit: str) -> bool:
    """Whether a unit is as it was written here, by this or another version."""
    head, mark, rest = unit.partition(_DIGEST)
    digest, _, body = rest.partition("\n\n")
    return bool(mark) and head.count("\n") == 1 and digest == _digest(body)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _check(wanted: Wanted) -> None:
    paths = (wanted.tree, wanted.home, wanted.authorized_keys, wanted.program, *wanted.code)
    for value in (wanted.name, wanted.user_name, *wanted.listen, *wanted.retention, *paths):
        if value is not None and (not str(value) or not _SAFE.issuperset(str(value))):
            raise InvalidInput(f"{str(value)!r} cannot stand in a unit: use letters, digits and . _ - : / = @ , +")
    if "/" in wanted.name:
        raise InvalidInput(f"{wanted.name} is no name of a unit")
    for path in (wanted.tree, wanted.home, wanted.authorized_keys):
        if path is not None and not path.is_absolute():
            raise InvalidInput(f"{path} is no absolute path")
    if wanted.authorized_keys is not None and not wanted.listen:
        raise InvalidInput("keys authorize somebody to command from elsewhere; --listen says where")
    if wanted.user and wanted.listen and wanted.authorized_keys is None:
        raise InvalidInput("a user has no folder below /etc; --authorized-keys says where the keys are")
    if wanted.user and wanted.user_name is not None:
        raise InvalidInput("a user's own unit runs under that user, and under no other")
    if not wanted.user and wanted.user_name is None and wanted.home is not None and wanted.home.parent != _STATE:
        raise InvalidInput(
            f"{wanted.home} would belong to nobody: with an account that systemd makes, the home is in {_STATE}; "
            "name an account with --user-name"
        )


# ---- what stands in it


def _sections(wanted: Wanted) -> Iterator[list[str]]:
    yield [
        "[Unit]",
        "Description=Theater: supervised WebAssembly actors",
        *([] if wanted.user else ["After=network.target nss-lookup.target"]),
        "# It is tried again as long as it takes: an operator is not always there.",
        "StartLimitIntervalSec=0",
    ]
    yield ["[Service]", *_life(wanted)]
    yield list(_folders(wanted))
    yield list(_limits())
    yield list((_walls_of_the_user if wanted.user else _walls)(wanted))
    yield ["[Install]", f"WantedBy={'default' if wanted.user else 'multi-user'}.target"]


def _life(wanted: Wanted) -> Iterator[str]:
    tree = () if wanted.tree is None else ("--tree", str(wanted.tree))
    yield "Type=notify"
    keys = ("--authorized-keys", str(wanted.keys)) if wanted.listen else ()
    listen = (word for address in wanted.listen for word in ("--listen", address))
    kept = (word for text in wanted.retention for word in ("--retention", text))
    yield " ".join(["ExecStart=" + str(wanted.program), "server", *tree, *listen, *keys, *kept])
    yield "# Commands and not a signal: they return when it is done, and fail when it cannot be."
    if not wanted.user:
        yield "# As root, since the server takes no commands from processes of its own account that it cannot look at."
    client = f"{wanted.program}" if wanted.user else f"+/usr/bin/env -u THEATER_CACHE {wanted.program}"
    yield f"ExecReload={client} reload"
    if wanted.tree is not None:
        yield f"ExecReload={client} tree apply {wanted.tree}"
    yield f"SyslogIdentifier={wanted.name}"
    yield f"WatchdogSec={WATCHDOG_S}"
    yield "Restart=on-failure"
    yield "RestartSec=2"
    yield "# A wrong use or a file that cannot be right does not become so by waiting."
    yield "RestartPreventExitStatus=2 3"
    yield "# After a power cut all chains are read before anything starts."
    yield "TimeoutStartSec=15min"
    yield "# The server asks for more as long as actors end in order."
    yield "TimeoutStopSec=90"
    yield "TimeoutAbortSec=10"
    yield "# The server ends everybody in order; what outlives it is killed."
    yield "KillMode=mixed"
    yield "# An actor that the kernel takes is its supervisor's affair."
    yield "OOMPolicy=continue"


def _folders(wanted: Wanted) -> Iterator[str]:
    if wanted.user:
        yield f"RuntimeDirectory={wanted.name}"
        yield "RuntimeDirectoryMode=0700"
        yield f"Environment=THEATER_ADDRESS={wanted.address}"
        if wanted.home is not None:
            yield f"Environment=THEATER_HOME={wanted.home}"
        yield "UMask=0077"
        return
    if wanted.user_name is None:
        yield "# An account that exists while the server runs, and owns nothing but these folders."
        yield "DynamicUser=yes"
        yield f"User={wanted.name}"
    else:
        yield f"User={wanted.user_name}"
    for kind, name in (("State", wanted.state.name), ("Cache", wanted.name), ("Runtime", wanted.name)):
        if kind != "State" or wanted.state.parent == _STATE:
            yield f"{kind}Directory={name}"
            yield f"{kind}DirectoryMode=0700"
    has_keys = wanted.listen and wanted.authorized_keys is None
    yield f"ConfigurationDirectory={wanted.name}" + (f" {wanted.name}/{_KEYS}" if has_keys else "")
    if wanted.state.parent != _STATE:
        yield f"ReadWritePaths={wanted.state}"
    yield f"Environment=THEATER_HOME={wanted.state} THEATER_CACHE={_CACHE / wanted.name}"
    yield f"Environment=THEATER_ADDRESS={wanted.address}"
    yield "# Values of secrets, which no child but those that need them sees; root's, mode 0600."
    yield f"EnvironmentFile=-{_ETC / wanted.name / 'environment'}"
    yield "UMask=0077"


def _limits() -> Iterator[str]:
    yield "# The groups below are the server's: it gives each actor its share there."
    yield "Delegate=cpu memory pids"
    yield "# Two descriptors and a process for each actor."
    yield "LimitNOFILE=524288"
    yield "TasksMax=32768"
    yield "LimitCORE=0"


def _walls_of_the_user(wanted: Wanted) -> Iterator[str]:
    yield "# What a user may deny himself without being root. The server raises its own walls around each worker."
    yield "NoNewPrivileges=yes"
    yield "LockPersonality=yes"
    yield "RestrictRealtime=yes"
    yield "RestrictSUIDSGID=yes"
    yield from _families(wanted)
    yield "RestrictNamespaces=user net pid mnt"
    yield "SystemCallArchitectures=native"


def _walls(wanted: Wanted) -> Iterator[str]:
    yield "# No right of root's, and no way to one."
    yield "CapabilityBoundingSet="
    yield "AmbientCapabilities="
    yield "NoNewPrivileges=yes"
    yield "PrivateUsers=yes"
    yield "RestrictSUIDSGID=yes"
    yield "LockPersonality=yes"
    yield "RestrictRealtime=yes"
    yield "KeyringMode=private"
    yield "RemoveIPC=yes"
    yield ""
    yield "# Of the machine's files it writes its own folders, and its own control group."
    yield "ProtectSystem=strict"
    yield from _homes(wanted)
    yield "PrivateTmp=yes"
    yield from _temporary(wanted)
    yield "PrivateDevices=yes"
    yield "DevicePolicy=closed"
    yield "PrivateMounts=yes"
    yield "PrivateIPC=yes"
    yield "ProtectProc=invisible"
    yield "ProtectClock=yes"
    yield "ProtectHostname=yes"
    yield "ProtectKernelLogs=yes"
    yield "ProtectKernelModules=yes"
    yield "ProtectKernelTunables=yes"
    yield "ProtectControlGroups=yes"
    yield f"ReadWritePaths=-/sys/fs/cgroup/system.slice/{wanted.file_name}"
    yield ""
    yield "# Those that the empty network of workers takes; hosts and IPC of its own the whole server has already."
    yield "RestrictNamespaces=user net"
    yield from _families(wanted)
    yield "SystemCallArchitectures=native"
    yield "SystemCallFilter=@system-service seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self"
    yield "SystemCallFilter=~@privileged @resources @keyring"
    yield "# ZeroMQ gives up if it cannot set the scheduling of a thread to what it is; it is told that it has."
    yield "SystemCallFilter=~sched_setscheduler:0"
    yield "SystemCallErrorNumber=EPERM"
    yield "# Not MemoryDenyWriteExecute=yes: no compiled component could be loaded. Workers have it once theirs is."


def _families(wanted: Wanted) -> Iterator[str]:
    yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
    if wanted.listen:
        yield "# ZeroMQ looks for an interface of that name before it takes an address for one."
        yield "RestrictAddressFamilies=AF_NETLINK"


def _homes(wanted: Wanted) -> Iterator[str]:
    """Nobody's home, but for the program where somebody has installed it in one."""
    within = _within(wanted, _HOMES)
    if not within:
        yield "ProtectHome=yes"
        return
    yield "ProtectHome=tmpfs"
    yield "BindReadOnlyPaths=" + " ".join(map(str, within))


def _temporary(wanted: Wanted) -> Iterator[str]:
    if within := _within(wanted, _TEMPORARY):
        yield "BindReadOnlyPaths=" + " ".join(map(str, within))


def _within(wanted: Wanted, hidden: tuple[Path, ...]) -> list[Path]:
    needed = (*wanted.code, *(() if wanted.tree is None else (wanted.tree.parent,)))
    found = [path for path in needed if any(path.is_relative_to(above) for above in hidden)]
    return [path for path in found if not any(path != other and path.is_relative_to(other) for other in found)]
