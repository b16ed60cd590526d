"""Bundles that somebody has made to do harm: refused in one sentence, and nothing is left of them."""

from __future__ import annotations

import os
import resource
import stat
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from effort import effort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packing import ONE, STATE, TWO, archive, bundle, make_home, members, tree, write

from theater.bundle import index
from theater.bundle.opened import open_bundle
from theater.bundle.take_in import sort_out, take_in
from theater.config import Home
from theater.core.codec import content_digest
from theater.errors import BundleRefused, CheckpointRefused, InvalidInput, LimitExceeded, NotFound, TheaterError
from theater.server import adoption
from theater.server.cast import Cast

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def good() -> Iterator[tuple[bytes, Files]]:
    """A bundle, and its files."""
    with tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder) / "h", ONE, TWO)
        made = bundle(home, ONE, TWO)
        yield made, members(made, Path(folder))


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TheaterError]:
    """Has a bundle refused, by whoever reads it and by who imports it, and nothing left; gives the error."""
    temporary = tmp_path / "t"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    home = Home(tmp_path / "target").create()

    def refuse(content: bytes, error: type[TheaterError], sentence: str) -> TheaterError:
        path = write(tmp_path / "evil.theater", content)
        before = tree(tmp_path)
        with pytest.raises(error, match=sentence) as raised, open_bundle(path):
            pass
        with pytest.raises(error):
            imported(path, home)
        assert tree(tmp_path) == before
        assert "\n" not in raised.value.message
        return raised.value

    return refuse


def imported(path: Path, home: Home) -> list[str]:
    """Imports as `theater import` does."""
    cast = Cast(home)
    cast.load()
    with open_bundle(path, folder=home.root) as found:
        for verdict in found.verdicts:
            if not verdict.ok:
                raise BundleRefused(f"{verdict.id}: {verdict.error}")
        new = sort_out(found, home).new
        if new:
            take_in(found, new, home, lambda name: adoption.adopt(cast, name))
        return [row.id for row in new]


def test_what_other_tools_pack_again_is_as_good(good: tuple[bytes, Files], tmp_path: Path) -> None:
    with open_bundle(write(tmp_path / "b", archive(good[1]))) as found:
        assert found.ok


# ---- names


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/etc/evil", f"actors/{ONE}/../../evil", "actors/..", f"actors/{ONE}/actor", f"actors/{ONE}/chain2",
        "actors/me/chain", f"actors/{ONE.upper()}x/chain", f"content/ab/{'0' * 61}", f"content/zz/{'0' * 62}",
        f"content/AB/{'0' * 62}", "key", "supervisor.chain", "run/control", "content\\ab", "ä", "C:/evil", " ",
        f"actors/{ONE}/chain\n",
    ],
)  # fmt: skip
def test_names_that_no_export_writes_are_refused(
    name: str, good: tuple[bytes, Files], refused: Callable[..., TheaterError]
) -> None:
    refused(archive({**good[1], name: b"evil"}), BundleRefused, "no export writes one of that name")


def test_folders_are_refused(good: tuple[bytes, Files], refused: Callable[..., TheaterError]) -> None:
    refused(archive({**good[1], "actors/": b""}), BundleRefused, "no plain file")


def test_a_name_with_a_null_byte_is_refused(good: tuple[bytes, Files], refused: Callable[..., TheaterError]) -> None:
    evil = archive({**good[1], "keyZevil": b"x"}).replace(b"keyZevil", b"key\0evil")
    refused(evil, BundleRefused, "no export writes one of that name|damaged")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(good: tuple[bytes, Files], refused: Callable[..., TheaterError]) -> None:
    evil = archive([*good[1].items(), ("checkpoint", b"another")])
    refused(evil, BundleRefused, "two files of one name")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFBLK, stat.S_IFSOCK])
def test_what_is_no_plain_file_is_refused(
    kind: int, good: tuple[bytes, Files], refused: Callable[..., TheaterError]
) -> None:
    refused(archive(good[1], create_system=3, external_attr=(kind | 0o777) << 16), BundleRefused, "no plain file")


# ---- sizes


def entry_of(content: bytes, name: str) -> int:
    """Where the directory's entry of a member begins."""
    at = -1
    while (at := content.index(b"PK\1\2", at + 1)) >= 0:
        if content[at + 46 :].startswith(name.encode()):
            return at
    raise AssertionError(name)


@pytest.mark.parametrize("lie", [0, 1, 4999, 5100, 0xFFFFFFF])
@pytest.mark.parametrize("field", [20, 24])
def test_sizes_that_lie_are_refused(
    lie: int, field: int, good: tuple[bytes, Files], refused: Callable[..., TheaterError]
) -> None:
    digest = content_digest(STATE + ONE.encode()).hex()
    evil = bytearray(good[0])
    at = entry_of(good[0], index.content_name(digest))
    evil[at + field : at + field + 4] = struct.pack("<I", lie)
    refused(bytes(evil), BundleRefused, "damaged|not as long as it says|does not have this digest")


def test_what_would_become_too_large_is_refused_before_it_is_unpacked(
    good: tuple[bytes, Files], refused: Callable[..., TheaterError]
) -> None:
    evil = bytearray(good[0])
    for name in good[1]:
        at = entry_of(good[0], name)
        evil[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
    refused(bytes(evil), LimitExceeded, "would become")


def test_a_bomb_is_refused(
    good: tuple[bytes, Files], refused: Callable[..., TheaterError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("theater.bundle.container.UNPACKED_LEAST", 1 << 20)
    bomb = bytes(16 << 20)
    digest = content_digest(bomb).hex()
    evil = archive({**good[1], index.content_name(digest): bomb})
    assert len(evil) < 100_000
    refused(evil, LimitExceeded, "would become")


def test_one_content_may_not_be_too_large(
    good: tuple[bytes, Files], refused: Callable[..., TheaterError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("theater.bundle.index.CONTENT_MAX", 4000)
    refused(good[0], LimitExceeded, "is larger than the 4000 bytes that are allowed")


def test_too_many_files_are_refused_before_they_are_listed(
    good: tuple[bytes, Files], refused: Callable[..., TheaterError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("theater.bundle.container.MEMBERS_MAX", len(good[1]) - 1)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # Nobody comes so far.
    refused(good[0], LimitExceeded, "has 11 files|files; ")
    modest = bytearray(good[0])
    at = modest.rindex(b"PK\5\6")
    modest[at + 8 : at + 12] = struct.pack("<HH", 1, 1)
    refused(bytes(modest), LimitExceeded, "more than")


def test_a_directory_of_many_files_takes_little_memory(tmp_path: Path) -> None:
    """Half a million names of one letter in 25 MB."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = entry * 500_000
    begin = b"PK\3\4" + bytes(26)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(begin), 0)
    path = write(tmp_path / "evil.theater", begin + directory + end)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LimitExceeded), open_bundle(path):
        pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


# ---- what is in it


def test_missing_content_is_named(good: tuple[bytes, Files], tmp_path: Path) -> None:
    digest = content_digest(STATE + ONE.encode()).hex()
    files = {name: data for name, data in good[1].items() if name != index.content_name(digest)}
    path = write(tmp_path / "b", archive(files))
    with open_bundle(path) as found:
        (bad,) = (verdict for verdict in found.verdicts if not verdict.ok)
        assert bad.id == ONE
        assert bad.error is not None
        assert f"does not have content {digest}" in bad.error
    home = Home(tmp_path / "h").create()
    before = tree(tmp_path)
    with pytest.raises(BundleRefused):
        imported(path, home)
    assert tree(tmp_path) == before


def test_content_that_nobody_refers_to_is_refused(
    good: tuple[bytes, Files], refused: Callable[..., TheaterError]
) -> None:
    digest = content_digest(b"stowaway").hex()
    evil = archive({**good[1], index.content_name(digest): b"stowaway"})
    refused(evil, BundleRefused, f"has content {digest}, which no chain in it refers to")


def test_content_that_is_not_its_digest_is_refused(
    good: tuple[bytes, Files], refused: Callable[..., TheaterError]
) -> None:
    digest = content_digest(STATE + ONE.encode()).hex()
    evil = archive({**good[1], index.content_name(digest): STATE + TWO.encode()})
    refused(evil, BundleRefused, f"content {digest} does not have this digest")


@pytest.mark.parametrize("name", [index.INDEX, index.CHECKPOINT, index.chain_name(ONE)])
def test_each_file_must_be_there(name: str, good: tuple[bytes, Files], refused: Callable[..., TheaterError]) -> None:
    error = InvalidInput if name == index.INDEX else BundleRefused
    rest = {key: data for key, data in good[1].items() if key != name}
    refused(archive(rest), error, "no bundle|no checkpoint|differ")


def test_a_chain_that_nobody_signed_for_is_refused(
    good: tuple[bytes, Files], refused: Callable[..., TheaterError]
) -> None:
    other = "30000000-0000-4000-8000-000000000003"
    refused(archive({**good[1], index.chain_name(other): b"x"}), BundleRefused, f"differ about the actor {other}")


def test_a_chain_that_goes_on_behind_its_head_is_not_ok(good: tuple[bytes, Files], tmp_path: Path) -> None:
    chain = good[1][index.chain_name(ONE)]
    path = write(tmp_path / "b", archive({**good[1], index.chain_name(ONE): chain + b"\0\0\0"}))
    with open_bundle(path) as found:
        assert [verdict.ok for verdict in found.verdicts] == [False, True]
        assert "expected the end of the chain by the bundle's checkpoint" in str(found.verdicts[0].error)


@pytest.mark.parametrize("at", [0, 20, 100, -40, -1])
def test_a_chain_with_a_bit_flipped_is_not_ok(at: int, good: tuple[bytes, Files], tmp_path: Path) -> None:
    chain = bytearray(good[1][index.chain_name(ONE)])
    chain[at] ^= 4
    with open_bundle(write(tmp_path / "b", archive({**good[1], index.chain_name(ONE): bytes(chain)}))) as found:
        assert [verdict.ok for verdict in found.verdicts] == [False, True]


def test_a_checkpoint_with_another_head_is_refused(
    good: tuple[bytes, Files], refused: Callable[..., TheaterError]
) -> None:
    text = good[1]["checkpoint"]
    refused(archive({**good[1], "checkpoint": text.replace(b" 3 ", b" 2 ", 1)}), CheckpointRefused, "signature")


def test_an_index_that_says_something_else_is_refused(
    good: tuple[bytes, Files], refused: Callable[..., TheaterError]
) -> None:
    whole = good[1][index.INDEX]
    refused(archive({**good[1], index.INDEX: whole.replace(b": 3,", b": 2,")}), BundleRefused, "different chains")
    refused(archive({**good[1], index.INDEX: whole + b" "}), BundleRefused, "does not have the form")
    refused(archive({**good[1], index.INDEX: whole.replace(b'"a"', b"7")}), BundleRefused, "does not have the form")


def test_an_index_that_gives_an_actor_another_name_is_not_believed(good: tuple[bytes, Files], tmp_path: Path) -> None:
    whole = good[1][index.INDEX].replace(b'"a"', b'"b"', 1)
    with open_bundle(write(tmp_path / "b", archive({**good[1], index.INDEX: whole}))) as found:
        assert str(found.verdicts[0].error).startswith("entry 0: expected the name 'b' by the index, found 'a'")


# ---- no bundle


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (b"", InvalidInput, "does not begin like a zip archive"),
        (b"PK\3\4", BundleRefused, "cut short"),
        (b"\x7fELF" + bytes(1000), InvalidInput, "does not begin like a zip archive"),
        (archive({"hello.txt": b"hello"}), InvalidInput, "an archive without a file bundle.json"),
        (archive({index.INDEX: b"{"}), BundleRefused, "no checkpoint"),
        (archive({index.INDEX: b"{", index.CHECKPOINT: b""}), InvalidInput, "is no JSON"),
        (archive({index.INDEX: b"[" * 100_000, index.CHECKPOINT: b""}), InvalidInput, "is no JSON"),
        (archive({index.INDEX: b"[]", index.CHECKPOINT: b""}), InvalidInput, "does not say 'theater bundle'"),
        (
            archive({index.INDEX: b'{"format": "theater bundle", "version": 2}', index.CHECKPOINT: b""}),
            InvalidInput, "of version 2; this Theater knows version 1",
        ),
    ],
)  # fmt: skip
def test_what_is_no_bundle_is_said_to_be_none(
    content: bytes, error: type[TheaterError], sentence: str, refused: Callable[..., TheaterError]
) -> None:
    refused(content, error, sentence)


def test_no_file_and_no_regular_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound), open_bundle(tmp_path / "gone.theater"):
        pass
    os.mkfifo(tmp_path / "pipe.theater")
    for path in (tmp_path / "pipe.theater", tmp_path):
        with pytest.raises(InvalidInput), open_bundle(path):
            pass


@pytest.mark.parametrize("part", range(1, 20))
def test_a_bundle_that_is_cut_short_is_refused(
    part: int, good: tuple[bytes, Files], refused: Callable[..., TheaterError]
) -> None:
    refused(good[0][: len(good[0]) * part // 20], BundleRefused, "cut short|damaged")


# ---- by chance

LAX = settings(max_examples=effort(50, 300), suppress_health_check=[HealthCheck.function_scoped_fixture])


@LAX
@given(st.data())
def test_bytes_that_were_changed_never_raise_anything_else_and_leave_nothing(
    good: tuple[bytes, Files], data: st.DataObject
) -> None:
    """Either the change means nothing, or it is refused."""
    content = bytearray(good[0])
    directory = len(content) - len(content) // 3
    for _ in range(data.draw(st.integers(1, 4))):
        # Most of the harm can be done in the directory, which stands at the end.
        at = data.draw(st.one_of(st.integers(0, len(content) - 1), st.integers(directory, len(content) - 1)))
        content[at] = data.draw(st.integers(0, 255))
    require_all_or_nothing(bytes(content))


@LAX
@given(st.data())
def test_files_that_were_changed_never_raise_anything_else_and_leave_nothing(
    good: tuple[bytes, Files], data: st.DataObject
) -> None:
    """As above, with an archive that is in order."""
    files = dict(good[1])
    name = data.draw(st.sampled_from(sorted(files)))
    old = files[name]
    begin = data.draw(st.integers(0, len(old)))
    end = data.draw(st.integers(begin, len(old)))
    files[name] = old[:begin] + data.draw(st.binary(max_size=40)) + old[end:]
    require_all_or_nothing(archive(files), is_good=files[name] == old)


def require_all_or_nothing(content: bytes, is_good: bool | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "h").create()
        path = write(Path(folder) / "b.theater", content)
        before = tree(Path(folder))
        try:
            found = imported(path, home)
        except TheaterError:
            was_refused = True
            assert tree(Path(folder)) == before
        else:
            was_refused = False
            assert sorted(found) == [ONE, TWO]
            assert {folder.name for folder in home.actors.iterdir()} == {ONE, TWO}
        assert is_good in (None, not was_refused)
