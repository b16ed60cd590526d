"""The rooms of the gateway, compilers, upkeep and replays: what each refuses from inside, as root and as nobody.

Each room is entered by a real process with the paths that the process of its kind is given, which then tries.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from confined import confined

NOBODY = 65534
ROOMS = {
    "gateway": "rooms_services.gateway(), {**places.code(), **places.network(), own: landlock.CHANGE}",
    "compile": "rooms_children.COMPILE, {**places.code(executable=True), own: landlock.CHANGE}",
    "compiler": "rooms_children.compiler(), {**places.code(), own + '/file': Right.WRITE_FILE | Right.TRUNCATE}",
    "upkeep": "rooms_children.upkeep(), {**places.code(), own: landlock.CHANGE}",
    "replay": "rooms_children.replay(), {**places.code(), own: landlock.READ}",
}
ENTER = """
    import signal, sys, threading
    from theater.walls import places, rooms_children, rooms_services
    other, own = {other!r}, {own!r}
    room = {room}
    if {user} != os.geteuid():
        os.setgroups([])
        os.setresgid({user}, {user}, {user})
        os.setresuid({user}, {user}, {user})
    def call(name, *arguments):
        return tried(lambda: kernel.system_call(NUMBERS[name], *arguments))
"""
TRY = """
    rooms.enter(*room)
    threading.Thread(target=lambda: None).start()
    with open("/proc/self/status") as file:
        rights = [line.split()[1] for line in file if line.startswith(("CapPrm", "CapEff", "CapInh"))]
    say(dict(
        read=tried(lambda: open(other + "/secret")),
        list=tried(lambda: os.listdir(other)),
        write=tried(lambda: open(other + "/mine", "w")),
        remove=tried(lambda: os.unlink(other + "/secret")),
        passwords=tried(lambda: open("/etc/passwd")),
        kernel=tried(lambda: open("/proc/sys/kernel/core_pattern", "w")),
        packets=tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
        crypto=tried(lambda: socket.socket(38, socket.SOCK_SEQPACKET)),
        internet=tried(lambda: socket.socket().close()),
        local=tried(lambda: socket.socket(socket.AF_UNIX).close()),
        fork=tried(lambda: os.fork() or os._exit(0)),
        stop=tried(lambda: os.kill(os.getppid(), 0)),
        rights=[right for right in rights if int(right, 16)],
        user=tried(lambda: os.setuid(os.getuid() + 1)),
        own=tried(lambda: open(own + "/file", "w")),
    ))
"""
END_OF_EACH = """
    def end_of(action):
        pid = os.fork()
        if pid == 0:
            rooms.enter(*room)
            action()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    ends = [end_of(lambda: call(name, 0, 0, 0, 0, 0)) for name in {calls}]
    if room[0].name != "compile":
        ends.append(end_of(lambda: os.execv("/bin/true", ["true"])))
    say(ends)
"""
ALLOWED = {
    "gateway": {"internet", "local", "own"},
    "compile": {"fork", "own"},
    "compiler": {"own"},
    "upkeep": {"own"},
    "replay": set[str](),
}
FATAL = ("ptrace", "bpf", "mount", "unshare", "keyctl", "kexec_load", "init_module", "process_vm_readv", "pidfd_getfd")


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="theater-rooms-", dir="/var/tmp"))
    for name in ("own", "other"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
        (folder / name / ("file" if name == "own" else "secret")).write_text("")
    (folder / "own" / "file").chmod(0o666)
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=[os.geteuid(), NOBODY], ids=["own", "nobody"])
def user(request: pytest.FixtureRequest) -> int:
    user: int = request.param
    if os.geteuid() not in (0, user):
        pytest.skip("only root can become nobody")
    return user


def entered(room: str, folder: Path, user: int) -> str:
    return ENTER.format(other=str(folder / "other"), own=str(folder / "own"), user=user, room=ROOMS[room])


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_refuses_all_that_its_process_does_not_need(room: str, folder: Path, user: int) -> None:
    found = confined(entered(room, folder, user) + TRY)
    assert found.said.pop("rights") == []
    if room == "compile":
        found.said.pop("stop")  # It may kill its compiler; to others Landlock forbids it from Linux 6.12 on.
    assert {name for name, how in found.said.items() if how == "done"} == ALLOWED[room], found.said


@pytest.mark.parametrize("room", ROOMS)
def test_hostile_calls_are_fatal(room: str, folder: Path, user: int) -> None:
    found = confined(entered(room, folder, user) + END_OF_EACH.format(calls=FATAL))
    assert found.said == [-signal.SIGSYS] * (len(FATAL) + (room != "compile"))
