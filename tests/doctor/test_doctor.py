"""What the doctor makes of what it finds, and that it finds something on this machine."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from theater.config import Home
from theater.doctor import files, kernel, limits, server, software
from theater.doctor.finding import Finding, Verdict, exit_code, note, ok, problem
from theater.errors import DiskFull, InvalidInput
from theater.walls.standing import Standing, Wall

OK, NOTE, PROBLEM = Verdict.OK, Verdict.NOTE, Verdict.PROBLEM


def test_the_exit_code_is_that_of_the_first_problem() -> None:
    found = [ok("a", "b", "c"), note("a", "b", "c"), problem("a", "b", "c", "d", DiskFull), problem("a", "b", "c", "d")]
    assert exit_code(found) == DiskFull.exit_code
    assert exit_code(found[:2]) == 0


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (limits.descriptors(100), PROBLEM),
        (limits.descriptors(1024), NOTE),
        (limits.descriptors(1 << 20), OK),
        (limits.descriptors(resource.RLIM_INFINITY), OK),
        (limits.processes(30, "the user"), PROBLEM),
        (limits.processes(500, "the user"), NOTE),
        (limits.processes(40_000, "the user"), OK),
        (limits.memory(1 << 32), PROBLEM),
        (limits.memory(resource.RLIM_INFINITY), OK),
        (limits.overcommit(2), NOTE),
        (limits.overcommit(0), OK),
        (files.space(1 << 20, "/x"), PROBLEM),
        (files.space(500 << 20, "/x"), NOTE),
        (files.space(5 << 30, "/x"), OK),
        (files.inodes(5, "/x"), PROBLEM),
        (files.file_system("nfs4", "/x"), NOTE),
        (files.file_system("fuse.sshfs", "/x"), NOTE),
        (files.file_system("tmpfs", "/x"), NOTE),
        (files.file_system("ext4", "/x"), OK),
        (files.sync_speed(300.0), NOTE),
        (files.sync_speed(0.4), OK),
        (files.clock(1.8e9, 1.8e9 + 3600), PROBLEM),
        (files.clock(1.8e9, 1.8e9 - 5), OK),
        (files.clock(5.0, 0.0), PROBLEM),
        (kernel.version("5.4.0-generic", "x86_64"), NOTE),
        (kernel.version("6.1.0", "riscv64"), PROBLEM),
        (kernel.version("6.18.1-fc", "aarch64"), OK),
        (software.package("uvloop", None, ">=0.21"), NOTE),
        (software.package("pyzmq", None, ">=27.0"), PROBLEM),
        (software.package("uvloop", "0.1", ">=0.21"), PROBLEM),
    ],
)
def test_each_thing_is_judged(found: Finding, verdict: Verdict) -> None:
    assert found.verdict is verdict
    assert found.advice if verdict is not OK else not found.advice


@pytest.mark.parametrize(
    ("installed", "bounds", "meets"),
    [
        ("8.1.7", ">=8.1.7", True),
        ("8.1", ">=8.1.7", False),
        ("50.0.1", ">=50.0.1,<51", True),
        ("51.0", ">=50.0.1,<51", False),
        ("27.0.0rc1", ">=27.0", True),
        ("1.10", ">=1.9", True),
        ("3.0", "!=3.0", False),
        ("2.4.1", "~=2.3", True),
        ("3.0", "~=2.3", False),
        ("1", "", True),
    ],
)
def test_versions_are_compared_as_numbers(installed: str, bounds: str, meets: bool) -> None:
    assert software.meets(installed, bounds) is meets


def test_a_package_that_is_not_there_is_named_with_what_to_do() -> None:
    (found,) = software.packages(["no-such-package>=1.2", 'ziglang>=99; extra == "c"'])
    assert (found.verdict, found.what) == (PROBLEM, "no-such-package")
    assert "pip install 'no-such-package>=1.2'" in found.advice


def test_a_home_that_others_may_enter_is_a_problem(tmp_path: Path) -> None:
    home = Home(tmp_path / "h").create()
    assert {found.verdict for found in files.examine(home)} <= {OK, NOTE}
    home.actors.chmod(0o755)
    (found,) = [each for each in files.examine(home) if each.verdict is PROBLEM]
    assert (found.what, found.fault) == ("actors", InvalidInput)
    assert str(home.actors) in found.advice


def test_a_key_that_others_may_read_is_a_problem(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(bytes(32))
    key.chmod(0o640)
    found = files.mode_of(key)
    assert found is not None
    assert found.verdict is PROBLEM
    key.chmod(0o600)
    assert files.mode_of(key) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_home_of_somebody_else_is_a_problem(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    found = files.mode_of(tmp_path)
    assert found is not None
    assert "65534" in found.says


def test_a_home_whose_sockets_cannot_be_bound_is_a_problem(tmp_path: Path) -> None:
    found = [each for each in files.examine(Home(tmp_path / ("x" * 90))) if each.what == "socket"]
    assert [each.verdict for each in found] == [PROBLEM]


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    home = Home(tmp_path / "nowhere")
    list(files.examine(home))
    assert not home.root.exists()
    home.create()
    before = sorted(tmp_path.rglob("*"))
    list(files.examine(home))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_file_system_is_that_of_the_nearest_mount() -> None:
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:3 / /data rw - nfs4 far:/ rw\n3 1 0:4 / /data\\040x rw - xfs /d rw\n"
    )
    assert files.kind_of(Path("/home"), mounts) == "ext4"
    assert files.kind_of(Path("/data/h"), mounts) == "nfs4"
    assert files.kind_of(Path("/data x/h"), mounts) == "xfs"
    assert files.kind_of(Path("/database"), mounts) == "ext4"


def test_a_wall_that_is_missing_is_named_with_its_reason() -> None:
    standing = Standing((Wall("seccomp"), Wall("landlock", "this kernel has none", stands=False)))
    stands, missing = kernel.walls(standing)
    assert "seccomp" in stands.says
    assert (missing.verdict, missing.what) == (NOTE, "landlock")


def test_a_group_is_ours_if_it_can_be_divided(tmp_path: Path) -> None:
    assert kernel.cgroup(tmp_path, "0::/a\n").verdict is NOTE
    (tmp_path / "a").mkdir()
    for folder in (tmp_path, tmp_path / "a"):
        (folder / "cgroup.controllers").write_text("cpu memory pids io\n")
        (folder / "cgroup.procs").write_text("")
    assert kernel.cgroup(tmp_path, "0::/a\n").verdict is OK
    (tmp_path / "a" / "cgroup.controllers").write_text("cpu\n")
    assert "cpu" in kernel.cgroup(tmp_path, "0::/a\n").says
    assert kernel.cgroup(tmp_path, "4:memory:/a\n").verdict is NOTE


def test_this_machine_runs_theater() -> None:
    """These tests do, so nothing of it can be a problem."""
    found = [*kernel.examine(), *limits.examine(), *software.examine()]
    assert [each for each in found if each.verdict is PROBLEM] == []
    assert {"kernel", "limits", "packages", "toolchains", "cache"} == {each.area for each in found}


def hello(**more: object) -> dict[str, object]:
    facts = {"version": "1", "protocol": 1, "pid": 7, "home": "/h", "actors": 2, "refused": 0}
    return {**facts, "processes": {"services": {"gateway": {"serving": True}}}, **more}


def verdicts(said: dict[str, object], stuck: dict[str, object] | None = None) -> dict[str, Verdict]:
    return {each.what: each.verdict for each in server.examine(said, stuck, Home(Path("/h")), "1")}


def test_a_server_that_is_well_has_no_notes() -> None:
    assert set(verdicts(hello(), {"suspicious": [], "circles": []}).values()) == {OK}


def test_a_server_of_another_version_is_a_problem() -> None:
    assert verdicts(hello(version="2"))["version"] is PROBLEM


def test_a_service_that_does_not_serve_is_a_problem() -> None:
    down = {"services": {"gateway": {"serving": False}}}
    assert verdicts(hello(processes=down))["services"] is PROBLEM


def test_stuck_actors_and_another_home_are_noted() -> None:
    found = verdicts(hello(home="/other", refused=3), {"suspicious": [1], "circles": []})
    assert (found["home"], found["actors"], found["refused"]) == (NOTE, NOTE, NOTE)
