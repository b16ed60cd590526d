"""What permissions mean on a machine: which file a name is, and that it stays that one."""

from __future__ import annotations

from pathlib import Path

import pytest

from theater.errors import InvalidInput, NotFound
from theater.launcher.grants import Programs


def script(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_name_is_looked_for_once_in_absolute_folders_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = script(tmp_path / "b" / "tool")
    script(tmp_path / "relative" / "tool")
    monkeypatch.chdir(tmp_path)
    programs = Programs.found(["tool", "none"], f"relative::.:{tmp_path}/a:{tmp_path}/b")
    script(tmp_path / "a" / "tool")  # which is too late
    assert programs.named("tool", "programs").file == str(tool)
    assert programs.named(str(tool), "programs").file == str(tool)
    with pytest.raises(NotFound, match="in the server's PATH"):
        programs.named("none", "programs")
    with pytest.raises(InvalidInput, match=r'allowed: programs = \["tool", "none"\]'):
        programs.named("b/tool", "programs")


def test_a_link_is_followed_when_a_program_is_granted_and_never_again(tmp_path: Path) -> None:
    tool, other = script(tmp_path / "tool"), script(tmp_path / "other")
    link = tmp_path / "link"
    link.symlink_to(tool)
    programs = Programs.found([str(link)], "")
    link.unlink()
    link.symlink_to(other)
    found = programs.named(str(link), "programs")
    assert (found.called, found.file) == (str(link), str(tool))
    tool.unlink()
    tool.symlink_to(other)
    with pytest.raises(NotFound, match="is not the program any more"):
        programs.named(str(link), "programs")


def test_what_is_no_executable_file_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("")
    (tmp_path / "folder").mkdir()
    names = [str(tmp_path / "text"), str(tmp_path / "folder"), "/no/such"]
    programs = Programs.found(names, "")
    for name in names:
        with pytest.raises(NotFound, match="there is no program"):
            programs.named(name, "programs")


def test_where_nothing_is_granted_it_says_so() -> None:
    with pytest.raises(InvalidInput, match="allowed: none, programs is empty"):
        Programs.found([], "/bin").named("sh", "programs")
