"""Programs of a server that is not root: user namespaces instead of rights. Where the tests are root, as nobody."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
STORY = """
import asyncio, os, resource, sys
from theater.launcher.program import STDOUT, Keeping, Order, start

async def ran(script, limits=()):
    order = Order("/bin/bash", ["bash", "-c", script], {"PATH": "/usr/bin:/bin"}, limits)
    program = await start(order, folder, keeping)
    program.close_output(2)
    found = b""
    while part := await program.read(STDOUT, 4096):
        found += part
    code = await program.ended
    await program.gone(10)
    program.close()
    return found.decode().split(), code

async def main():
    me, _ = await ran("id -u; grep CapEff /proc/self/status; echo $$; setsid sleep 1000 & sleep 1000 &")
    print(keeping)
    print(*me)
    print(*(await ran("for i in 1 2 3; do sleep 0 & done; wait; echo done", [(resource.RLIMIT_NPROC, 8)]))[0])
    bomb = "for i in 1 2 3 4 5 6 7 8; do (exec sleep 0.2) & done; wait; echo done"
    print(*(await ran(bomb, [(resource.RLIMIT_NPROC, 4)]))[0])

keeping = Keeping()
folder = os.open("/", os.O_PATH)
asyncio.run(main())
"""


def python() -> str | None:
    """An interpreter that everybody may execute."""
    found = sys.executable if os.geteuid() != 0 else shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if found is None:
        return None
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    return found if subprocess.run([found, "-c", code], check=False).returncode == 0 else None


def test_without_rights_programs_have_a_namespace_and_processes_are_counted(tmp_path: Path) -> None:
    interpreter = python()
    if interpreter is None:
        pytest.skip("there is no Python that everybody may execute")
    for name in ("__init__.py", "errors.py", "launcher/__init__.py", "launcher/program.py", "launcher/keeper.py"):
        copy = tmp_path / "theater" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "theater" / name, copy)
    subprocess.run(["chmod", "-R", "a+rX", str(tmp_path)], check=True)
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        [interpreter, "-B", "-c", STORY], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False, **user
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    how, me, few, many = done.stdout.splitlines()
    if how != "PID namespace":
        pytest.skip("users have no namespaces of their own here")
    uid, _, capabilities, pid = me.split()
    assert (int(uid), int(capabilities, 16), pid) == (user.get("user", os.getuid()), 0, "2")
    assert few == "done"
    assert many != "done"
