"""What replaces stat(2) by name says the same of whatever it may open."""

from __future__ import annotations

from pathlib import Path

import pytest
from confined import confined


def test_a_file_and_a_folder_are_as_they_were_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 5000)
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    for number in range(3000):
        (tmp_path / "folder" / f"{number} of the names that take more than one call, ü").touch()
    found = confined(f"""
        from theater.walls import sight
        os.chdir({str(tmp_path)!r})
        def facts(found):
            return [list(found), *(getattr(found, name) for name in sorted(dir(found)) if name.startswith("st_"))]
        def look():
            with open("file") as file:
                every = [os.stat("file"), os.stat("link"), os.stat("folder"), os.stat("/dev/null"), os.lstat("folder")]
                every += [os.fstat(file.fileno()), os.stat(file.fileno())]
            names = sorted(os.listdir("folder")), sorted(os.listdir())
            return [facts(each) for each in every], names, os.path.exists("link"), os.path.isdir("file")
        look()  # Whoever reads a folder sets the time of that, once.
        by_name = look()
        sight.only_what_is_open()
        say([look() == by_name, os.stat is sight._stat, len(by_name[1][0])])
    """)
    assert found.said == [True, True, 3000]


def test_what_is_not_there_or_no_folder_is_refused_as_before(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    found = confined(f"""
        from theater.walls import sight
        os.chdir({str(tmp_path)!r})
        sight.only_what_is_open()
        say([tried(lambda: os.stat("absent")), tried(lambda: os.listdir("file")), tried(lambda: os.fstat(99)),
             os.path.exists("absent"), tried(lambda: os.lstat("link"))])
    """)
    assert found.said == ["ENOENT", "ENOTDIR", "EBADF", False, "ELOOP"], "a link itself cannot be opened"


def test_a_worker_asks_of_what_it_has_open_and_of_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("text")
    (tmp_path / "theirs").write_text("text")
    found = confined(f"""
        from theater.walls import sight
        mine, theirs = {str(tmp_path / "mine")!r}, {str(tmp_path / "theirs")!r}
        stat = os.stat
        rooms.enter(rooms.SPAWNER)
        rooms.enter(rooms.worker(os.getpid(), 99, by_name=False), {{mine: landlock.READ}})
        sight.only_what_is_open()
        say([os.stat(mine).st_size, tried(lambda: os.stat(theirs)), tried(lambda: stat(mine)),
             tried(lambda: os.open(mine, os.O_PATH)), tried(lambda: os.readlink(mine)),
             tried(lambda: os.statvfs(mine)), tried(lambda: os.open(theirs, 3)), tried(lambda: os.open(mine, 3))])
    """)
    assert found.said == [4, "EACCES", *["EPERM"] * 6]


@pytest.mark.parametrize("by_name", [True, False])
def test_no_worker_opens_a_file_for_neither_reading_nor_writing_or_changes_its_mode(
    tmp_path: Path, by_name: bool
) -> None:
    """Landlock has nothing against access mode 3, and what that gives could be asked and changed."""
    (tmp_path / "mine").write_text("text")
    (tmp_path / "theirs").write_text("text")
    found = confined(f"""
        mine, theirs = {str(tmp_path / "mine")!r}, {str(tmp_path / "theirs")!r}
        rooms.enter(rooms.SPAWNER)
        rooms.enter(rooms.TEMPLATE, {{mine: landlock.CHANGE}})
        rooms.enter(rooms.worker(os.getpid(), 99, by_name={by_name}), {{mine: landlock.CHANGE}})
        own = os.open(mine, os.O_RDWR)
        how = (3).to_bytes(8, "little") + bytes(16)
        openat2 = lambda path: kernel.system_call(437, -100, path.encode(), how, 24)
        os.utime(own)
        say([tried(lambda: openat2(theirs)), tried(lambda: openat2(mine)), tried(lambda: os.utime(own, (1, 1))),
             tried(lambda: os.open(theirs, 3)), tried(lambda: os.open(mine, 3)), tried(lambda: os.fchmod(own, 0o666)),
             tried(lambda: os.chmod(mine, 0o666)), tried(lambda: os.close(os.open(mine, os.O_WRONLY)))])
    """)
    assert found.said == [*["EPERM"] * 7, "done"]
