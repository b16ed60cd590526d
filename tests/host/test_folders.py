"""What an actor may do with files, and what it may not: on real folders, through the descriptors of a life."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from granting import ACTOR, granted
from hypothesis import given, settings
from hypothesis import strategies as st

from theater import beneath
from theater.errors import StartFailed, TimedOut
from theater.host.base import Refused
from theater.host.folders import DRAFT, MOST_NAMES, Folders

SECRET = b"what nobody here may see"


@pytest.fixture(autouse=True, params=["openat2", "without openat2"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of this holds on a kernel, or within a service manager's filter, that does not give openat2."""
    if request.param != "openat2":
        monkeypatch.setattr("theater.beneath._OPENAT2", 9999)  # a system call that no kernel has


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """The folder of a manifest, with things around it that are not granted."""
    folder = tmp_path / "beside"
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / "out").mkdir()
    (folder / "data" / "a.txt").write_bytes(b"alpha")
    (folder / "data" / "deep" / "b.txt").write_bytes(b"beta")
    (folder / "secret.txt").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_bytes(SECRET)
    return folder


@pytest.fixture
def files(beside: Path) -> Folders:
    return granted(beside, read=("data", "out"), write=("out",))


def refusal(ask: object, *args: object) -> str:
    with pytest.raises(Refused) as refused:
        ask(*args)  # type: ignore[operator]
    return str(refused.value)


# ---- reading and writing


def test_a_path_begins_with_the_folder_as_the_manifest_writes_it(files: Folders) -> None:
    assert files.read("data/a.txt") == b"alpha"
    assert files.read("./data//deep/./b.txt") == b"beta"
    assert files.names("data") == ["a.txt", "deep"]


def test_an_absolute_path_is_one_of_a_folder_that_is_granted_so(beside: Path) -> None:
    here = str(beside / "data")
    files = granted(beside, read=(here,), write=("out",))
    assert files.read(f"{here}/a.txt") == b"alpha"
    assert "does not let this actor read" in refusal(files.read, "data/a.txt")
    assert "does not let this actor write" in refusal(files.write, str(beside / "out" / "x"), b"")


def test_relative_paths_begin_in_the_root_that_the_manifest_names(beside: Path) -> None:
    files = granted(beside, root="data", read=(".",))
    assert files.read("a.txt") == b"alpha"
    assert files.names(".") == ["a.txt", "deep"]


def test_what_is_written_can_be_read_and_replaced(files: Folders, beside: Path) -> None:
    files.write("out/n.txt", b"one")
    files.write("out/n.txt", b"two")
    assert (beside / "out" / "n.txt").read_bytes() == b"two"
    files.append("out/n.txt", b", three")
    files.append("out/new.txt", b"first")
    assert files.read("out/n.txt") == b"two, three"
    assert files.read_part("out/n.txt", 5, 3) == b"thr"
    assert files.read_part("out/n.txt", 9, 100) == b"e"
    assert files.read_part("out/n.txt", 1 << 62, 100) == b""
    assert files.names("out") == ["n.txt", "new.txt"]
    files.delete("out/new.txt")
    assert files.info("out/new.txt") is None


def test_a_replaced_file_keeps_its_mode(files: Folders, beside: Path) -> None:
    target = beside / "out" / "run.sh"
    target.write_bytes(b"")
    target.chmod(0o750)
    files.write("out/run.sh", b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o750


def test_neither_right_is_part_of_the_other(beside: Path) -> None:
    files = granted(beside, read=("data",), write=("out",))
    files.write("out/x", b"")
    assert 'it may read in "data"' in refusal(files.read, "out/x")
    assert 'it may write in "out"' in refusal(files.write, "data/x", b"")
    info = files.info("out/x")
    assert info is not None
    assert (info.kind, info.size) == ("file", 0)


def test_nothing_is_granted_by_default(beside: Path) -> None:
    files = granted(beside)
    for ask in (files.read, files.names, files.delete, files.info, files.make, files.delete_folder):
        assert "in no folder" in refusal(ask, "data/a.txt")


def test_a_folder_is_made_with_those_on_the_way_and_again(files: Folders, beside: Path) -> None:
    files.make("out/x/y/z")
    files.make("out/x/y/z")
    assert (beside / "out" / "x" / "y" / "z").is_dir()
    files.write("out/file", b"")
    assert "not a folder" in refusal(files.make, "out/file/x")
    assert "file" in refusal(files.make, "out/file")


def test_a_folder_goes_with_all_that_is_in_it(files: Folders, beside: Path) -> None:
    files.make("out/x/y")
    files.write("out/x/y/f", b"1")
    (beside / "out" / "x" / "link").symlink_to(beside / "data")
    os.mkfifo(beside / "out" / "x" / "pipe")
    files.delete_folder("out/x")
    assert os.listdir(beside / "out") == []
    assert (beside / "data" / "a.txt").read_bytes() == b"alpha"


def test_a_file_takes_another_path_and_may_replace_a_file(files: Folders) -> None:
    files.write("out/a", b"a")
    files.write("out/b", b"b")
    files.rename("out/a", "out/b")
    assert files.names("out") == ["b"]
    assert files.read("out/b") == b"a"
    files.make("out/d")
    files.make("out/e")
    files.rename("out/b", "out/d/c")
    files.rename("out/d", "out/f")
    assert files.read("out/f/c") == b"a"
    assert "already" in refusal(files.rename, "out/f", "out/e")
    assert "no such file" in refusal(files.rename, "out/nothing", "out/g")
    assert "folder" in refusal(files.rename, "out/f/c", "out/e")
    assert "does not let this actor write" in refusal(files.rename, "data/a.txt", "out/a")


def test_names_come_in_order_and_those_that_are_no_text_not_at_all(files: Folders, beside: Path) -> None:
    for name in (b"b", b"a", b"\xc3\xa4", b"B", b"\xff\xfe"):
        (Path(os.fsdecode(os.fsencode(beside / "out") + b"/" + name))).write_bytes(b"")
    assert files.names("out") == ["B", "a", "b", "ä"]


def test_what_is_there_is_told_without_touching_it(files: Folders, beside: Path) -> None:
    os.mkfifo(beside / "out" / "pipe")
    kinds = {path: files.info(path) for path in ("out", "data/a.txt", "out/pipe", "out/none", "data/a.txt/x")}
    assert [info and info.kind for info in kinds.values()] == ["folder", "file", "other", None, None]
    assert "does not let" in refusal(files.info, "secret.txt")


def test_a_granted_folder_itself_stays(files: Folders) -> None:
    for ask in (files.delete_folder, files.delete):
        assert "granted folder itself" in refusal(ask, "out")
    assert "granted folder itself" in refusal(files.rename, "out", "out/x")
    assert "granted folder itself" in refusal(files.write, "out", b"")


def test_a_folder_is_no_file_and_a_file_no_folder(files: Folders) -> None:
    assert "this is a folder" in refusal(files.read, "data/deep")
    assert "not a folder" in refusal(files.names, "data/a.txt")
    files.make("out/d")
    assert "this is a folder" in refusal(files.write, "out/d", b"")
    assert "delete-dir" in refusal(files.delete, "out/d")
    files.write("out/f", b"")
    assert "not a folder" in refusal(files.delete_folder, "out/f")


def test_what_was_recorded_is_let_out_before_anything_is_changed(beside: Path) -> None:
    seen = []
    files = granted(beside, write=("out",), before_change=lambda: seen.append(sorted(os.listdir(beside / "out"))))
    files.write("out/a", b"1")
    files.append("out/a", b"2")
    files.make("out/d")
    files.rename("out/a", "out/b")
    files.delete("out/b")
    files.delete_folder("out/d")
    assert seen == [[], ["a"], ["a"], ["a", "d"], ["b", "d"], ["d"]]


# ---- ways out


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("data/../secret.txt", "'..'"),
        ("data/deep/../../secret.txt", "'..'"),
        ("..", "'..'"),
        ("../outside/a.txt", "'..'"),
        ("secret.txt", "does not let"),
        (".", "does not let"),
        ("/etc/passwd", "does not let"),
        ("/", "does not let"),
        ("data\0/a.txt", "NUL"),
        ("data/a.txt\0.png", "NUL"),
        ("", "empty"),
        ("data/" + "x" * 256, "255 bytes"),
        ("data/" + "ä" * 128, "255 bytes"),
        ("data/" + "x/" * 200, "201 names"),
        ("data/" + ("y" * 200 + "/") * 30, "4000"),
        ("data/\ud800", "lone surrogates"),
        ("/proc/self/cwd/etc/passwd", "does not let"),
        ("datax/a.txt", "does not let"),
    ],
)
def test_a_path_that_leads_out_is_refused_with_a_sentence(files: Folders, path: str, words: str) -> None:
    for ask in (files.read, files.names, files.info):
        assert words in refusal(ask, path)


@pytest.fixture
def linked(beside: Path) -> Path:
    """The same folder with links in all places."""
    outside = beside.parent / "outside"
    for folder in ("data", "out"):
        (beside / folder / "dir-link").symlink_to(outside)
        (beside / folder / "file-link").symlink_to(outside / "a.txt")
        (beside / folder / "inner-link").symlink_to("deep")
        (beside / folder / "up").symlink_to("..")
        (beside / folder / "magic").symlink_to("/proc/self/root")
    return beside


@pytest.mark.parametrize(
    "path", ["dir-link/a.txt", "file-link", "inner-link/b.txt", "up/secret.txt", "magic/etc/passwd", "up/data/a.txt"]
)
def test_no_link_is_followed(linked: Path, files: Folders, path: str) -> None:
    assert "link" in refusal(files.read, f"data/{path}")
    assert "link" in refusal(files.read_part, f"data/{path}", 0, 10)
    assert "link" in refusal(files.write, f"out/{path}", b"x")
    assert "link" in refusal(files.append, f"out/{path}", b"x")
    assert (linked.parent / "outside" / "a.txt").read_bytes() == SECRET


def test_a_link_is_a_name_that_can_be_seen_and_deleted(linked: Path, files: Folders) -> None:
    info = files.info("out/dir-link")
    assert info is not None
    assert info.kind == "other"
    assert "link" in refusal(files.names, "data/dir-link")
    assert "link" in refusal(files.make, "out/dir-link/new")
    refusal(files.delete_folder, "out/dir-link")
    files.delete("out/dir-link")
    assert os.listdir(linked.parent / "outside") == ["a.txt"]


def test_pipes_devices_and_sockets_are_never_opened(files: Folders, beside: Path) -> None:
    os.mkfifo(beside / "data" / "pipe")
    os.mkfifo(beside / "out" / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(beside / "data" / "sock"))
    listener.close()
    names = ["data/pipe", "data/sock"]
    if os.geteuid() == 0:
        os.mknod(beside / "data" / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        names.append("data/null")
    for name in names:
        assert "neither a file nor a folder" in refusal(files.read, name)
    assert "neither a file nor a folder" in refusal(files.write, "out/pipe", b"x")
    assert "neither a file nor a folder" in refusal(files.append, "out/pipe", b"x")


def test_nothing_is_appended_to_a_file_with_a_second_name(files: Folders, beside: Path) -> None:
    os.link(beside / "secret.txt", beside / "out" / "hard")
    assert "hard links" in refusal(files.append, "out/hard", b"x")
    files.write("out/hard", b"mine")
    assert (beside / "secret.txt").read_bytes() == SECRET


_PARTS = st.sampled_from(
    ["..", ".", "", "data", "out", "deep", "a.txt", "dir-link", "file-link", "up", "magic", "secret.txt", "outside"]
) | st.text(max_size=6)
_PATHS = st.lists(_PARTS, max_size=8).map("/".join) | st.text(max_size=30) | st.just("/etc/passwd")


@settings(max_examples=400, deadline=None)
@given(path=_PATHS)
def test_no_path_at_all_leads_out(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    folder = _playground(tmp_path_factory)
    files = granted(folder / "beside", read=("data", "out"), write=("out",))
    for ask in (files.read, files.names, files.info, files.delete, files.make):
        try:
            found = ask(path)
        except Refused:
            continue
        assert found != SECRET
        assert not isinstance(found, list) or "passwd" not in found
    for change in (files.write, files.append):
        try:
            change(path, b"written")
        except Refused:
            continue
    assert (folder / "beside" / "secret.txt").read_bytes() == SECRET
    assert (folder / "outside" / "a.txt").read_bytes() == SECRET
    assert sorted(os.listdir(folder)) == ["beside", "outside"]
    assert sorted(os.listdir(folder / "beside")) == ["data", "out", "secret.txt"]
    assert os.listdir(folder / "outside") == ["a.txt"]
    assert sorted(os.listdir(folder / "beside" / "data")) == ["a.txt", "dir-link", "file-link", "magic", "up"]


def _playground(factory: pytest.TempPathFactory) -> Path:
    made: Path | None = getattr(_playground, "made", None)
    if made is None:
        made = factory.mktemp("playground")
        (made / "outside").mkdir()
        (made / "outside" / "a.txt").write_bytes(SECRET)
        for name in ("data", "out"):
            folder = made / "beside" / name
            folder.mkdir(parents=True)
            (folder / "dir-link").symlink_to(made / "outside")
            (folder / "file-link").symlink_to(made / "outside" / "a.txt")
            (folder / "up").symlink_to("..")
            (folder / "magic").symlink_to("/proc/self/root")
        (made / "beside" / "data" / "a.txt").write_bytes(b"alpha")
        (made / "beside" / "secret.txt").write_bytes(SECRET)
        _playground.made = made  # type: ignore[attr-defined]
    return made


def test_a_folder_that_becomes_a_link_and_back_all_the_time_never_leads_out(beside: Path, files: Folders) -> None:
    """Thousands of tries against a thread that swaps a folder for a link to another, atomically."""
    outside = beside.parent / "outside"
    swapped = beside / "out" / "d"
    swapped.mkdir()
    (swapped / "a.txt").write_bytes(b"alpha")
    link = beside / "other"
    link.symlink_to(outside)
    libc = ctypes.CDLL(None)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            libc.renameat2(-100, bytes(swapped), -100, bytes(link), 2)  # RENAME_EXCHANGE

    thread = threading.Thread(target=swap)
    thread.start()
    told: set[bytes | str] = set()
    try:
        for number in range(3000):
            try:
                told.add(files.read("out/d/a.txt"))
                told.update(files.names("out/d"))
            except Refused as refused:
                told.add("link" if "link" in str(refused) else "gone")
            for change in (
                lambda: files.write("out/d/a.txt", b"alpha"),
                lambda number=number: files.append(f"out/d/n{number % 3}", b"x"),
                lambda number=number: files.delete(f"out/d/n{number % 3}"),
                lambda: files.make("out/d/made"),
                lambda: files.delete_folder("out/d/made"),
            ):
                with contextlib.suppress(Refused):
                    change()
    finally:
        over.set()
        thread.join()
    assert SECRET not in told
    assert {b"alpha", "link"} <= told
    assert os.listdir(outside) == ["a.txt"]
    assert (outside / "a.txt").read_bytes() == SECRET


# ---- what a folder must be to be granted


def test_a_folder_to_write_to_is_made_and_one_to_read_must_be_there(beside: Path) -> None:
    granted(beside, read=("new",), write=("new/inner",))
    assert (beside / "new" / "inner").is_dir()
    with pytest.raises(StartFailed, match=r'the folder "none" that the manifest grants .* No such file'):
        granted(beside, read=("none",))


def test_a_granted_folder_is_no_link_and_nothing_in_its_path_is(beside: Path) -> None:
    (beside / "link").symlink_to(beside.parent / "outside")
    for name in ("link", "link/x", str(beside / "link")):
        with pytest.raises(StartFailed, match="a link stands in its path"):
            granted(beside, read=(name,))
    with pytest.raises(StartFailed, match="a link stands in its path"):
        granted(beside, write=("link",))


def test_an_actor_without_a_file_has_no_folder_beside_it(beside: Path) -> None:
    with pytest.raises(StartFailed, match="beside nothing"):
        granted(beside, where="text", read=("data",))
    assert granted(beside, where="text", read=(str(beside / "data"),)).names(str(beside / "data")) == ["a.txt", "deep"]


@pytest.mark.parametrize("folder", [".", "home", "home/actors"])
def test_the_servers_home_is_granted_to_nobody(beside: Path, folder: str) -> None:
    (beside / "home" / "actors").mkdir(parents=True)
    with pytest.raises(StartFailed, match="server's home"):
        granted(beside, read=(folder,), home=str(beside / "home"))


def test_what_was_granted_stays_that_folder_whatever_takes_its_name(beside: Path, files: Folders) -> None:
    (beside / "data").rename(beside / "moved")
    (beside / "data").symlink_to(beside.parent / "outside")
    assert files.read("data/a.txt") == b"alpha"


# ---- how much


def test_the_quota_holds_for_all_folders_together(beside: Path) -> None:
    (beside / "out" / "before").write_bytes(bytes(400))
    files = granted(beside, write=("out", "out2"), quota=1000)
    files.write("out/a", bytes(300))
    files.write("out2/b", bytes(300))
    sentence = refusal(files.write, "out/c", b"x")
    assert "1 more bytes; 1000 of quota = 1000 are in use" in sentence
    files.write("out/a", bytes(300))
    files.write("out/a", bytes(100))
    files.append("out/a", bytes(200))
    assert "no room" in refusal(files.append, "out/a", b"x")
    files.delete("out/before")
    files.write("out/c", bytes(400))


def test_a_folder_within_a_granted_folder_counts_once(beside: Path) -> None:
    (beside / "out" / "in").mkdir()
    (beside / "out" / "in" / "x").write_bytes(bytes(600))
    granted(beside, write=("out", "out/in"), quota=1000).write("out/in/y", bytes(400))


def test_files_and_folders_are_counted_too(beside: Path) -> None:
    files = granted(beside, write=("out",), files=3)
    files.make("out/a/b")
    files.write("out/a/c", b"")
    assert "there are 3, and files is 3" in refusal(files.write, "out/d", b"")
    assert "there are 3, and files is 3" in refusal(files.make, "out/d")
    files.write("out/a/c", b"again")
    files.delete_folder("out/a")
    files.write("out/d", b"")


def test_room_that_others_made_is_seen_before_anything_is_refused(beside: Path) -> None:
    files = granted(beside, write=("out",), quota=1000)
    files.write("out/a", bytes(1000))
    (beside / "out" / "a").unlink()
    files.write("out/b", bytes(1000))


def test_one_file_has_a_largest_size(beside: Path) -> None:
    files = granted(beside, read=("data", "out"), write=("out",), max_file=10)
    assert "max_file is 10" in refusal(files.write, "out/x", bytes(11))
    assert "max_file is 10" in refusal(files.append, "out/x", bytes(11))
    (beside / "data" / "large").write_bytes(bytes(11))
    assert "read-part" in refusal(files.read, "data/large")
    assert files.read_part("data/large", 1, 10) == bytes(10)
    assert "max_file is 10" in refusal(files.read_part, "data/large", 0, 11)


def test_a_list_of_too_many_names_is_refused(beside: Path, files: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_NAMES == 100_000
    monkeypatch.setattr("theater.host.folders.MOST_NAMES", 3)
    for number in range(4):
        files.write(f"out/{number}", b"")
    assert "over 3 names" in refusal(files.names, "out")


def test_a_deep_tree_is_deleted_and_one_that_is_too_deep_is_refused(beside: Path, files: Folders) -> None:
    files.make("out/" + "/".join(["d"] * 127))
    assert "129 names" in refusal(files.make, "out/" + "/".join(["d"] * 128))
    files.make("out/top")
    assert "deep; allowed: 128" in refusal(files.rename, "out/d", "out/top/d")
    files.delete_folder("out/d")
    here = beside / "out"
    fd = os.open(here, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("x", dir_fd=fd)
        inner = os.open("x", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    assert "too deep" in refusal(files.delete_folder, "out/x")
    assert files.names("out") == ["top", "x"]
    subprocess.run(["rm", "-rf", str(here / "x")], check=True)  # Whoever clears up after a test cannot.


def test_a_folder_of_many_files_is_deleted_part_by_part(
    beside: Path, files: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("theater.beneath._AT_ONCE", 10)
    for number in range(25):
        files.make(f"out/x/{number}")
        files.write(f"out/x/{number}/f", b"")
    files.delete_folder("out/x")
    assert os.listdir(beside / "out") == []


def test_what_takes_longer_than_the_call_may_is_given_up(beside: Path) -> None:
    folder = beside / "out" / "many"
    folder.mkdir()
    for number in range(600):
        (folder / str(number)).write_bytes(b"")
    files = granted(beside, write=("out",), remaining=lambda: -1.0)
    with pytest.raises(TimedOut, match="call_timeout"):
        files.delete_folder("out/many")
    assert 0 < len(os.listdir(folder)) < 600


# ---- drafts


def test_drafts_are_seen_by_nobody_and_cleared_up_by_the_next_life(beside: Path, files: Folders) -> None:
    left = beside / "out" / f"{DRAFT}{ACTOR}.0.1"
    left.write_bytes(bytes(100))
    folder = beside / "out" / f"{DRAFT}{ACTOR}.0.2"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "x").write_bytes(b"")
    other = beside / "out" / f"{DRAFT}another.0.1"
    other.write_bytes(b"")
    assert files.names("out") == []
    assert "are the server's" in refusal(files.read, f"out/{left.name}")
    assert "are the server's" in refusal(files.write, f"out/{DRAFT}x", b"")
    files.write("out/a", b"")
    assert sorted(os.listdir(beside / "out")) == [other.name, "a"]


@pytest.mark.parametrize("durability", ["process", "host"])
def test_nothing_is_left_beside_what_was_written(beside: Path, durability: str) -> None:
    files = granted(beside, write=("out",), durability=durability)
    files.write("out/a", b"1")
    files.append("out/a", b"2")
    files.rename("out/a", "out/b")
    files.make("out/c")
    files.delete_folder("out/c")
    assert os.listdir(beside / "out") == ["b"]


# ---- the kernel


def test_a_folder_cannot_be_left_by_dots_either(beside: Path) -> None:
    folder = os.open(beside / "data", os.O_PATH)
    try:
        for path in ("..", "deep/../..", "../secret.txt", "/etc/passwd", "deep/../../secret.txt"):
            with pytest.raises(OSError, match=r"cross-device|Invalid"):
                beneath.open_beneath(folder, path, os.O_RDONLY)
        with pytest.raises(OSError, match="NUL"):
            beneath.open_beneath(folder, "a.txt\0x", os.O_RDONLY)
    finally:
        os.close(folder)
