"""The cache of compiled components, and the processes that fill it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil
import pytest
import wasmtime
from compiled import API, HOST, ROOT, compile_child, faults, slow, write_component

from theater.core.codec import content_digest
from theater.errors import BuildFailed, ComponentError, ContentDamaged, InvalidInput
from theater.wasm.artefacts import Artefact, ArtefactCache, Progress, compile_command, parse_report
from theater.wasm.mode import Mode


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[dict[str, Any]]]:
    """A cache with one component in it, the component's digest, and what the compile child said."""
    directory = tmp_path_factory.mktemp("finished")
    component = write_component(directory, faults())
    child = compile_child(component, directory / "cache")
    assert child.returncode == 0, child.stdout + child.stderr
    return directory / "cache", digest_of(component), [json.loads(line) for line in child.stdout.splitlines()]


@pytest.fixture
def filled(finished: tuple[Path, str, Any], tmp_path: Path) -> tuple[ArtefactCache, str]:
    """A copy of that cache, to be damaged."""
    copy = tmp_path / "cache"
    copy.mkdir(mode=0o700)
    for path in finished[0].iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return ArtefactCache(copy), finished[1]


@pytest.fixture
def slow_component(tmp_path: Path, slow_binary: bytes) -> Path:
    path = tmp_path / "slow.wasm"
    path.write_bytes(slow_binary)
    return path


@pytest.fixture(scope="module")
def slow_binary() -> bytes:
    return bytes(wasmtime.wat2wasm(slow()))


def digest_of(component: Path) -> str:
    return content_digest(component.read_bytes()).hex()


def only_entry(cache: ArtefactCache, kind: str) -> Path:
    (path,) = cache.directory.glob(f"*.{kind}")
    return path


def files(directory: Path) -> set[str]:
    return {path.suffix for path in directory.iterdir()}


class Child:
    """A compile child that is watched while it works."""

    def __init__(self, component: Path, cache: Path) -> None:
        command = compile_command(component, cache, False)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.said: list[Any] = []

    def until(self, stage: str) -> None:
        """Returns when the child has said that it is at `stage`."""
        for said in self._hear():
            if isinstance(said, Progress) and said.stage == stage:
                return
        raise AssertionError(f"the child never came to {stage}: {self.said}")

    def end(self) -> Any:
        """The child's last word."""
        for _ in self._hear():
            pass
        self.process.wait(60)
        return self.said[-1]

    def stages(self) -> set[str]:
        return {said.stage for said in self.said if isinstance(said, Progress)}

    def compiler(self) -> psutil.Process:
        """The process in which wasmtime works."""
        (compiler,) = psutil.Process(self.process.pid).children()
        return compiler

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def _hear(self) -> Iterator[Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(parse_report(line))
            yield self.said[-1]

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


# ---- what is made


def test_progress_comes_first_and_the_artefact_last(finished: tuple[Path, str, list[dict[str, Any]]]) -> None:
    cache, component, said = finished
    found = ArtefactCache(cache).find(component, False)
    assert found is not None
    told = (line["progress"] for line in said[:-1])  # Each second a stage is told again.
    assert [stage for stage, _ in groupby(told)] == ["reading", "wrapping", "compiling", "writing"]
    assert all(line["elapsed"] >= 0 for line in said[:-1])
    assert said[-1] == {"artefact": str(found.path)}


def test_an_artefact_knows_imports_and_exports_with_their_types(finished: tuple[Path, str, Any]) -> None:
    found = ArtefactCache(finished[0]).find(finished[1], False)
    assert found is not None
    meta = found.meta
    assert meta.imports == {(HOST, "ask"), (HOST, "give")}
    assert (API, "echo") in meta.exports
    assert str(meta.described().exports[API].functions["echo"]) == "func(data: list<u8>) -> list<u8>"


def test_an_artefact_says_how_it_was_made(finished: tuple[Path, str, Any]) -> None:
    found = ArtefactCache(finished[0]).find(finished[1], False)
    assert found is not None
    meta = found.meta
    assert (meta.mode, meta.reason, meta.fuel) == (Mode.BYTES, "", False)
    assert len(bytes.fromhex(meta.wrapper)) == 32
    assert meta.wrapped == {"imports": [HOST], "exports": [API]}
    assert meta.engine["name"] == "wasmtime"
    assert meta.size == found.path.stat().st_size


def test_nobody_else_may_read_the_cache(finished: tuple[Path, str, Any]) -> None:
    assert finished[0].stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in finished[0].iterdir()} == {0}


def test_nothing_but_the_entry_remains(finished: tuple[Path, str, Any]) -> None:
    assert files(finished[0]) == {".cwasm", ".meta"}


def test_what_was_not_compiled_is_not_found(finished: tuple[Path, str, Any]) -> None:
    cache = ArtefactCache(finished[0])
    assert cache.find("0" * 64, False) is None
    assert cache.find(finished[1], True) is None


def test_a_component_without_bytes_is_compiled_plain_and_says_why(tmp_path: Path) -> None:
    text = '(component (core module $m (func (export "f"))) (core instance $i (instantiate $m)) '
    component = write_component(tmp_path, text + '(func (export "f") (canon lift (core func $i "f"))))')
    assert compile_child(component, tmp_path / "cache").returncode == 0
    found = ArtefactCache(tmp_path / "cache").find(digest_of(component), False)
    assert found is not None
    assert found.meta.mode is Mode.PLAIN
    assert "list<u8>" in found.meta.reason


def test_looking_for_an_artefact_loads_no_wasmtime() -> None:
    program = "import sys, theater.wasm.artefacts, theater.wasm.compile; sys.exit('wasmtime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


# ---- what is refused

COMPONENT = bytes(wasmtime.wat2wasm("(component)"))
WITH_CORE = bytes(wasmtime.wat2wasm("(component (core module (func unreachable)))"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\x7fELF\0\0\0\0", "is not WebAssembly"),
        (b"(component)", "is text, not a compiled component"),
        ("def f():\n\treturn 'käse'\n".encode(), "is text, not a compiled component"),
        (bytes(wasmtime.wat2wasm("(module)")), "is a core WebAssembly module, not a component"),
        (b"\0asm\x0e\0\x01\0", "is WebAssembly of a version that is not known here"),
        (COMPONENT[:5], "is cut off after 5 bytes"),
        (WITH_CORE[:-9], "the component is cut off"),
        (WITH_CORE[:-1], "the component is cut off"),
        (COMPONENT + b"\x07\x02\x01\x00", "the component is not valid here"),
        (bytes(wasmtime.wat2wasm("(component (core module (memory i64 1)))")), "memory64"),
        (bytes(wasmtime.wat2wasm("(component (core module (func $f return_call $f)))")), "tail calls"),
        (
            bytes(wasmtime.wat2wasm('(component (import "f" (func async)))')),
            "async functions, but actors are synchronous",
        ),
    ],
)
def test_what_is_no_usable_component_is_said_in_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    child = compile_child(path, tmp_path / "cache")
    last = parse_report(child.stdout.splitlines()[-1])
    assert isinstance(last, ComponentError)
    assert sentence in str(last)
    assert "\n" not in str(last)
    assert child.returncode == 3
    assert child.stderr == ""
    assert files(tmp_path / "cache") == set()


def test_a_missing_file_is_the_components_fault(tmp_path: Path) -> None:
    child = compile_child(tmp_path / "nothing.wasm", tmp_path / "cache")
    last = parse_report(child.stdout.splitlines()[-1])
    assert isinstance(last, ComponentError)
    assert "No such file" in str(last)
    assert child.returncode == 3


def test_a_full_disk_is_told_as_such(small_disk: Path, tmp_path: Path) -> None:
    cache = small_disk / "cache"
    component = write_component(tmp_path, slow(400))
    (small_disk / "ballast").write_bytes(bytes(900 << 10))
    child = compile_child(component, cache)
    assert json.loads(child.stdout.splitlines()[-1])["error"] == "DiskFull"
    assert child.returncode == 10
    assert files(cache) == set()


def test_a_line_that_is_no_report_is_a_failure() -> None:
    assert isinstance(parse_report("thread panicked"), BuildFailed)
    assert isinstance(parse_report("[1]"), BuildFailed)


# ---- whom the cache trusts


def test_a_cache_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(InvalidInput, match="others may enter it"):
        ArtefactCache(tmp_path / "open")


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory away needs root")
def test_a_cache_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(InvalidInput, match="belongs to user 12345"):
        ArtefactCache(tmp_path / "theirs")


def test_a_cache_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidInput):
        ArtefactCache(tmp_path / "file" / "cache")


@pytest.mark.parametrize("kind", ["cwasm", "meta"])
def test_one_changed_bit_is_found_and_the_entry_deleted(filled: tuple[ArtefactCache, str], kind: str) -> None:
    cache, component = filled
    path = only_entry(cache, kind)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ContentDamaged, match="deleted"):
        cache.find(component, False)
    assert files(cache.directory) == set()
    assert cache.find(component, False) is None


@pytest.mark.parametrize("change", ["shorter", "longer", "empty", "gone"])
def test_an_artefact_of_another_length_is_found(filled: tuple[ArtefactCache, str], change: str) -> None:
    cache, component = filled
    path = only_entry(cache, "cwasm")
    content = path.read_bytes()
    path.write_bytes({"shorter": content[:-1], "longer": content + b"\0", "empty": b"", "gone": b""}[change])
    if change == "gone":
        path.unlink()
    with pytest.raises(ContentDamaged):
        cache.find(component, False)
    assert files(cache.directory) == set()


def test_an_artefact_without_its_meta_file_is_no_entry(filled: tuple[ArtefactCache, str]) -> None:
    cache, component = filled
    only_entry(cache, "meta").unlink()
    assert cache.find(component, False) is None


def test_a_damaged_entry_is_compiled_again(tmp_path: Path) -> None:
    component = write_component(tmp_path, "(component)")
    assert compile_child(component, tmp_path / "cache").returncode == 0
    cache = ArtefactCache(tmp_path / "cache")
    only_entry(cache, "cwasm").write_bytes(b"damaged")
    child = compile_child(component, tmp_path / "cache")
    assert "compiling" in child.stdout
    assert isinstance(cache.find(digest_of(component), False), Artefact)


def test_what_is_in_the_cache_is_not_compiled_again(finished: tuple[Path, str, Any], tmp_path: Path) -> None:
    component = write_component(tmp_path, faults())
    child = compile_child(component, finished[0])
    assert child.returncode == 0
    assert "compiling" not in child.stdout


# ---- two at once, and death


def test_two_children_compile_a_component_once(tmp_path: Path) -> None:
    component = write_component(tmp_path, faults())
    cache = ArtefactCache(tmp_path / "cache")
    with Child(component, cache.directory) as one, Child(component, cache.directory) as other:
        with cache.locked(cache.key(digest_of(component), False), lambda: None):
            one.until("waiting")
            other.until("waiting")
        assert one.end() == other.end()
        assert sorted(["compiling" in one.stages(), "compiling" in other.stages()]) == [False, True]
    assert files(cache.directory) == {".cwasm", ".meta"}


def test_a_lock_dies_with_its_holder(tmp_path: Path, slow_component: Path) -> None:
    cache = ArtefactCache(tmp_path / "cache")
    with Child(slow_component, cache.directory) as first:
        first.until("compiling")
        first.compiler().suspend()
        with Child(slow_component, cache.directory) as second:
            second.until("waiting")
            first.kill()
            assert isinstance(second.end(), Path)


def test_of_a_killed_compiler_nothing_is_used_and_nothing_remains(tmp_path: Path, slow_component: Path) -> None:
    cache = ArtefactCache(tmp_path / "cache")
    component = digest_of(slow_component)
    with Child(slow_component, cache.directory) as child:
        child.until("compiling")
        compiler = child.compiler()
        child.kill()
        compiler.wait(10)
    assert cache.find(component, False) is None
    (cache.directory / f"{cache.key(component, False)}.{child.process.pid}.tmp").write_bytes(b"half")
    (cache.directory / f"{cache.key(component, True)}.1.tmp").write_bytes(b"half of another")
    other = write_component(tmp_path, "(component)")
    assert compile_child(other, cache.directory).returncode == 0
    assert files(cache.directory) == {".cwasm", ".meta"}


def test_a_file_that_is_being_written_is_not_swept(tmp_path: Path) -> None:
    cache = ArtefactCache(tmp_path / "cache")
    key = cache.key("0" * 64, False)
    cache.temporary(key).write_bytes(b"half")
    with cache.locked(key, lambda: None):
        cache.sweep()
        assert cache.temporary(key).exists()
    cache.sweep()
    assert not cache.temporary(key).exists()


def test_a_component_whose_wrapper_kills_the_compiler_is_compiled_plain(tmp_path: Path, slow_component: Path) -> None:
    with Child(slow_component, tmp_path / "cache") as child:
        child.until("compiling")
        child.compiler().send_signal(signal.SIGABRT)
        assert isinstance(child.end(), Path)
        found = ArtefactCache(tmp_path / "cache").find(digest_of(slow_component), False)
    assert found is not None
    assert found.meta.mode is Mode.PLAIN
    assert "SIGABRT" in found.meta.reason


def test_a_component_that_kills_the_compiler_twice_has_failed(tmp_path: Path, slow_component: Path) -> None:
    with Child(slow_component, tmp_path / "cache") as child:
        for _ in range(2):
            child.until("compiling")
            child.compiler().send_signal(signal.SIGABRT)
        last = child.end()
        assert isinstance(last, BuildFailed)
        assert "SIGABRT" in str(last)
        assert child.process.returncode == 13
    assert files(tmp_path / "cache") == set()


def test_a_compile_child_that_nobody_reads_ends_and_takes_the_compiler_along(
    tmp_path: Path, slow_component: Path
) -> None:
    with Child(slow_component, tmp_path / "cache") as child:
        child.until("compiling")
        compiler = child.compiler()
        compiler.suspend()  # so that the work cannot end before the reader is missed
        assert child.process.stdout is not None
        child.process.stdout.close()
        assert child.process.wait(30) == 13
        compiler.wait(10)


# ---- keys and age


def test_a_key_depends_on_component_and_fuel(tmp_path: Path) -> None:
    cache = ArtefactCache(tmp_path / "cache")
    keys = {cache.key("0" * 64, False), cache.key("0" * 64, True), cache.key("1" * 64, False)}
    assert len(keys) == 3


def test_entries_that_nobody_uses_can_be_pruned(filled: tuple[ArtefactCache, str]) -> None:
    cache, component = filled
    used = only_entry(cache, "meta").stat().st_mtime
    assert cache.prune(unused_for=100, now=used + 99) == []
    assert cache.find(component, False) is not None
    used = only_entry(cache, "meta").stat().st_mtime
    assert cache.prune(unused_for=100, now=used + 101) == [cache.key(component, False)]
    assert files(cache.directory) == set()


def test_finding_an_entry_counts_as_using_it(filled: tuple[ArtefactCache, str]) -> None:
    cache, component = filled
    os.utime(only_entry(cache, "meta"), (0, 0))
    assert cache.find(component, False) is not None
    assert only_entry(cache, "meta").stat().st_mtime > time.time() - 3600
