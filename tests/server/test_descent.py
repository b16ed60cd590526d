"""Nobody whom the server has started can command it, whatever it does to be forgotten."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent

import pytest

from theater.server.authority import descends_from


def test_a_child_descends_from_its_parent_and_not_the_other_way_round() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert descends_from(child.pid, os.getpid())
        assert not descends_from(os.getpid(), child.pid)
        assert not descends_from(os.getppid(), os.getpid())
    finally:
        child.kill()
        child.wait()


def test_who_has_ended_counts_as_a_descendant() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert descends_from(child.pid, 1 << 30)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can hide /proc from somebody")
def test_root_is_not_taken_for_a_descendant_where_proc_hides_it() -> None:
    """As in a unit with ProtectProc=invisible, whose server has no privileges."""
    script = """
        import os, subprocess, sys
        from theater.server.authority import descends_from
        subprocess.run(["mount", "-t", "proc", "-o", "hidepid=invisible", "proc", "/proc"], check=True)
        parent = os.getppid()
        own = os.fork()
        if own == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            child = subprocess.Popen(["sleep", "60"])
            print(os.path.exists(f"/proc/{parent}"), descends_from(parent, os.getpid()),
                  descends_from(child.pid, os.getpid()), flush=True)
            child.kill()
            os._exit(0)
        os.waitpid(own, 0)
    """
    command = ["unshare", "--mount", sys.executable, "-c", dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "mount" in done.stderr:
        pytest.skip("this machine lets nobody mount /proc")
    assert done.stdout.split() == ["False", "False", "True"], done.stderr


def test_a_process_of_a_namespace_that_is_not_seen_came_of_nobody_here() -> None:
    assert not descends_from(0, os.getpid())


def test_a_daemon_whose_parents_have_ended_is_still_a_descendant() -> None:
    script = """
        import os, sys, time
        from theater.server.authority import descends_from, keep_descendants
        keep_descendants()
        out, into = os.pipe()
        middle = os.fork()
        if middle == 0:
            os.setsid()
            if os.fork() == 0:
                while os.getppid() == int(sys.argv[1] or 0): time.sleep(0.01)
                os.setsid()
                os.write(into, str(os.getpid()).encode())
                time.sleep(60)
            os._exit(0)
        os.waitpid(middle, 0)
        daemon = int(os.read(out, 20))
        print(descends_from(daemon, os.getpid()))
        os.kill(daemon, 9)
        os.waitpid(daemon, 0)
    """
    done = subprocess.run([sys.executable, "-c", dedent(script), "0"], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "True", done.stderr
