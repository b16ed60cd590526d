"""Each wall by itself, in a real process that gives up a right and then tries to use it."""

from __future__ import annotations

import signal
from pathlib import Path

from confined import confined

from theater.walls import syscalls
from theater.walls.standing import Standing, Wall


def test_a_filter_lets_through_refuses_and_looks_at_arguments() -> None:
    found = confined("""
        rules = seccomp.Filter(
            allowed=frozenset({"write", "exit_group", "getppid", "read", "close", "brk", "mmap", "munmap", "futex"}),
            when={"socket": [(seccomp.Masked(0, 0xFFFFFFFF, socket.AF_UNIX), seccomp.Masked(1, 0xF, 1))]},
            errors={"getuid": errno.ENOSYS},
        )
        privileges.gain_no_more()
        seccomp.install(rules.program(notify=False))
        def call(name, *arguments):
            return tried(lambda: kernel.system_call(NUMBERS[name], *arguments))
        say([call("getppid"), call("getuid"), call("getgid"), call("socket", 1, 1, 0), call("socket", 1, 2, 0),
             call("socket", 2, 1, 0)])
    """)
    assert found.said == ["done", "ENOSYS", "EPERM", "done", "EPERM", "EPERM"]


def test_a_hostile_call_without_a_listener_kills() -> None:
    found = confined("""
        privileges.gain_no_more()
        seccomp.install(seccomp.Filter(hostile=frozenset({"ptrace"}), otherwise=None).program(notify=False))
        say(1)
        kernel.system_call(NUMBERS["ptrace"], 0, 0, 0, 0)
        say(2)
    """)
    assert (found.status, found.said) == (-signal.SIGSYS, 1)


def test_a_listener_hears_which_call_a_descendant_has_made_and_it_was_not_made() -> None:
    found = confined("""
        listener = rooms.enter(rooms.SPAWNER, report=True)
        child = os.fork()
        if child == 0:
            kernel.system_call(NUMBERS["unshare"], 0x20000)
            os._exit(0)
        offence = seccomp.next_offence(listener)
        os.kill(child, 9)
        _, status = os.waitpid(child, 0)
        say([offence.pid == child, offence.call, offence.arguments[0], os.WTERMSIG(status)])
    """)
    assert found.said == [True, "unshare", 0x20000, 9]


def test_a_domain_says_what_may_be_done_with_which_files(tmp_path: Path) -> None:
    for name in ("mine", "theirs", "added"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("text")
    found = confined(f"""
        mine, theirs, added = (os.path.join({str(tmp_path)!r}, name) for name in ("mine", "theirs", "added"))
        privileges.gain_no_more()
        landlock.confine({{mine: landlock.CHANGE, added: landlock.ADD, "/not/there": Right.READ_FILE}})
        say([
            tried(lambda: open(mine + "/file", "a").close()),
            tried(lambda: open(theirs + "/file").close()),
            tried(lambda: os.rename(mine + "/file", added + "/new")),
            tried(lambda: open(added + "/file").close()),
            tried(lambda: open(added + "/file", "a").close()),
            tried(lambda: os.truncate(added + "/file", 0)),
            tried(lambda: os.unlink(added + "/file")),
            tried(lambda: os.rename(mine, theirs + "/mine")),
        ])
    """)
    assert found.said[:4] == ["done", "EACCES", "done", "done"]
    assert all(answer in ("EACCES", "EXDEV") for answer in found.said[4:]), found.said


def test_who_enters_a_room_has_no_capability_no_core_and_filters() -> None:
    found = confined("""
        status, limits = open("/proc/self/status"), open("/proc/self/limits")
        rooms.enter(rooms.worker(os.getpid(), 99, by_name=True))
        status = dict(line.split(":", 1) for line in status)
        (core,) = (line.split() for line in limits if line.startswith("Max core file size"))
        say([int(status["CapEff"], 16), int(status["CapPrm"], 16), int(status["NoNewPrivs"]), int(status["Seccomp"]),
             core[4:6]])
    """)
    assert found.said == [0, 0, 1, 2, ["0", "0"]]


def test_a_worker_may_do_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "chain").write_bytes(b"entries")
    found = confined(f"""
        import fcntl, mmap
        chain = os.open({str(tmp_path / "chain")!r}, os.O_WRONLY | os.O_APPEND)
        rooms.enter(rooms.SPAWNER)
        rooms.enter(rooms.TEMPLATE, {{{str(tmp_path)!r}: landlock.CHANGE}})
        rooms.enter(rooms.worker(os.getpid(), chain, by_name=True), {{}})
        say([
            tried(lambda: os.write(chain, b"!")),
            tried(lambda: os.ftruncate(chain, 0)),
            tried(lambda: os.pwrite(chain, b"X", 0)),
            tried(lambda: fcntl.fcntl(chain, fcntl.F_SETFL, 0)),
            tried(lambda: fcntl.fcntl(chain, fcntl.F_DUPFD_CLOEXEC, 50)),
            tried(lambda: open({str(tmp_path / "chain")!r})),
            tried(lambda: socket.socket(socket.AF_UNIX)),
            tried(lambda: socket.socket(socket.AF_INET)),
            tried(socket.socketpair),
            tried(os.fork),
            tried(lambda: os.kill(os.getppid(), 0)),
            tried(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)),
            tried(lambda: os.memfd_create("x")),
        ])
    """)
    assert found.said[0] == "done"
    assert set(found.said[1:]) <= {"EPERM", "EACCES"}, found.said
    assert (tmp_path / "chain").read_bytes() == b"entries!"


def test_the_numbers_of_both_machines_have_no_call_twice() -> None:
    for table in (syscalls._X86_64, syscalls._AARCH64):
        assert len(set(table.values())) == len(table)
        assert not set(table.values()) & set(syscalls._COMMON.values())


def test_what_stands_and_what_is_missing_can_be_said_in_a_line_each() -> None:
    found = Standing((Wall("seccomp"), Wall("landlock", "7"), Wall("namespaces", "not allowed", stands=False)))
    assert found.text() == "seccomp landlock(7)"
    assert found.complaint() == "namespaces: not allowed"
    assert Standing.from_plain(found.to_plain()) == found
