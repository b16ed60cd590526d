"""Runs the unit of `theater systemd install` under a real systemd, in a container (`make test-systemd`).

The container's root is this machine's, seen through an overlay in memory, so nothing is downloaded and nothing of the
machine is written. Theater is installed in it at /opt/theater, from this source tree and the environment that runs
this. The checks are in checks.py, which a service of the container runs; each is printed with its time as it ends.

It needs root and `systemd-nspawn`. It ends with 0 if every check passed, with 1 if not, with 2 if it cannot run here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import wasmtime
from packaging.requirements import Requirement

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
LONGEST_S = 420.0
CHECKS = """\
[Unit]
Description=The checks
Requires=dbus.service
After=basic.target dbus.service
[Service]
Type=oneshot
Environment=PYTHONUNBUFFERED=1 HOME=/root
ExecStart=/opt/theater/bin/python /opt/checks/checks.py
StandardOutput=file:/opt/checks/results
StandardError=inherit
TimeoutStartSec=infinity
ExecStopPost=/bin/sh -c 'journalctl --no-pager -o short-precise > /opt/checks/journal; systemctl poweroff --force'
"""


def main() -> int:
    if os.geteuid() != 0:
        return _cannot("a container with a systemd of its own takes root")
    if shutil.which("systemd-nspawn") is None:
        return _cannot("there is no systemd-nspawn; on Debian it is in the package systemd-container")
    began = time.monotonic()
    with _root() as root:
        _install(root)
        _prepare(root)
        print(f"a container is ready after {time.monotonic() - began:.1f} s; its systemd starts", flush=True)
        code = _boot(root)
        if code != 0:
            _show_why(root)
    left = [line for line in Path("/proc/self/mounts").read_text().splitlines() if "theater-systemd" in line]
    if left:
        print(f"FAILED  mounts are left: {left}")
        code = 1
    print(f"{'all passed' if code == 0 else 'FAILED'}, in {time.monotonic() - began:.1f} s")
    return code


def _cannot(why: str) -> int:
    print(f"cannot run: {why}", file=sys.stderr)
    return 2


# ---- the container's root


@contextlib.contextmanager
def _root() -> Iterator[Path]:
    """A root to write into: this machine's below, memory above."""
    work = Path(tempfile.mkdtemp(prefix="theater-systemd."))
    undo: list[list[str]] = []

    def mount(*words: str, at: Path) -> None:
        at.mkdir(exist_ok=True)
        subprocess.run(["mount", *words, str(at)], check=True)
        undo.append(["umount", "--lazy", str(at)])

    try:
        mount("-t", "tmpfs", "-o", "size=3g,mode=0755", "theater-systemd", at=work)
        for name in ("upper", "work"):
            (work / name).mkdir()
        overlay = f"lowerdir=/,upperdir={work}/upper,workdir={work}/work"
        mount("-t", "overlay", "-o", overlay, "theater-systemd", at=work / "root")
        yield work / "root"
    finally:
        for command in reversed(undo):
            subprocess.run(command, check=False)
        work.rmdir()


def _install(root: Path) -> None:
    """Theater at /opt/theater: an environment, what Theater requires, Theater itself."""
    shutil.rmtree(root / "opt", ignore_errors=True)
    place = root / "opt" / "theater"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    packages = next(place.glob("lib/python*/site-packages"))
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    for name in sorted(_closure(project["dependencies"], set())):
        _copy_distribution(name, packages)
    for source, name in ((SOURCE / "theater", "theater"), (SOURCE / "cli", "theater_cli")):
        shutil.copytree(source, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    about = packages / f"theater-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: theater\nVersion: {project['version']}\n")
    program = place / "bin" / "theater"
    program.write_text("#!/opt/theater/bin/python\nfrom theater_cli.main import main\n\nmain()\n")
    program.chmod(0o755)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-s", str(root), str(packages)], check=False)


def _closure(requirements: Iterable[str], found: set[str]) -> set[str]:
    """The distributions that are required, and all that these require."""
    for text in requirements:
        requirement = Requirement(text)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and requirement.name.lower() not in found:
            found.add(requirement.name.lower())
            _closure(metadata.requires(requirement.name) or (), found)
    return found


def _copy_distribution(name: str, packages: Path) -> None:
    for file in metadata.distribution(name).files or ():
        source = Path(str(file.locate()))
        if source.is_file() and ".." not in file.parts and "__pycache__" not in file.parts:
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _prepare(root: Path) -> None:
    """Nothing of this machine's services, and ours."""
    for folder in ("etc/systemd/system", "var/log/journal", "var/lib/theater", "etc/theater"):
        shutil.rmtree(root / folder, ignore_errors=True)
    units = root / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for masked in ("systemd-firstboot.service", "systemd-networkd.service", "systemd-resolved.service", "cron.service"):
        (units / masked).symlink_to("/dev/null")
    (units / "checks.service").write_text(CHECKS)
    # A type is needed for nothing but to say when all has started: the checks are what is booted into.
    (units / "checks.target").write_text("[Unit]\nRequires=basic.target checks.service\nAfter=basic.target\n")
    (root / "etc" / "machine-id").write_text("uninitialized\n")
    place = root / "opt" / "checks"
    place.mkdir()
    shutil.copy2(HERE / "checks.py", place)
    (place / "probe.wasm").write_bytes(wasmtime.wat2wasm((SOURCE / "tests/actors/probe.wat").read_text()))


# ---- its life


def _boot(root: Path) -> int:
    results = root / "opt" / "checks" / "results"
    results.touch()
    command = [
        "systemd-nspawn", "--quiet", f"--directory={root}", "--boot", "--register=no", "--keep-unit",
        "--private-network", "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
        f"--machine=theater-{os.getpid()}", "--console=pipe", "systemd.unit=checks.target",
    ]  # fmt: skip
    environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    with open(root / "opt" / "checks" / "console", "wb") as console:
        container = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=environment, start_new_session=True
        )
    try:
        ended = _follow(results, container)
    finally:
        _end(container)
    text = results.read_text()
    if not ended:
        print(f"FAILED  the container did not end within {LONGEST_S:g} s")
    return 0 if ended and "\ndone" in text and "FAILED" not in text else 1


def _follow(results: Path, container: subprocess.Popen[bytes]) -> bool:
    """Prints results as they come; returns whether the container has ended by itself."""
    deadline = time.monotonic() + LONGEST_S
    with results.open() as lines:
        while True:
            is_over = container.poll() is not None
            for line in lines:
                print(line, end="", flush=True)
            if is_over or time.monotonic() > deadline:
                return is_over
            time.sleep(0.1)


def _end(container: subprocess.Popen[bytes]) -> None:
    if container.poll() is None:
        container.send_signal(signal.SIGTERM)  # Which systemd-nspawn takes for an order to kill the container.
        with contextlib.suppress(subprocess.TimeoutExpired):
            container.wait(15)
    if container.poll() is None:
        os.killpg(container.pid, signal.SIGKILL)
        container.wait()


def _show_why(root: Path) -> None:
    for name in ("console", "journal"):
        path = root / "opt" / "checks" / name
        if path.exists():
            print(f"\n--- the container's {name}, its end")
            print(path.read_text(errors="replace")[-12_000:])


if __name__ == "__main__":
    sys.exit(main())
