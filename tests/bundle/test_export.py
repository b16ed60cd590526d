"""What an export writes."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from packing import (
    ONE,
    STATE,
    TWO,
    archive,
    bundle,
    checkpoint,
    live,
    live_long,
    make_home,
    members,
    shrink_home,
    tree,
    write,
)

from theater.bundle.export import export, export_file, sign_here
from theater.bundle.index import read_index
from theater.bundle.opened import Trust, open_bundle
from theater.chainlog.keys import public_key
from theater.chainlog.verify import verify_home
from theater.chainlog.writer import ChainWriter
from theater.config import Home
from theater.core.chain import Call, Kind
from theater.core.codec import content_digest
from theater.core.signed_checkpoint import SignedCheckpoint, Signer
from theater.errors import (
    ChainBroken,
    CheckpointRefused,
    DiskFull,
    IntegrityError,
    InvalidInput,
    LimitExceeded,
    NotFound,
    UnknownContent,
    WrongState,
)
from theater.store.content import ContentStore


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "h", ONE, TWO)


def test_a_bundle_has_the_chains_and_what_they_refer_to_and_nothing_else(home: Home, tmp_path: Path) -> None:
    ContentStore(home.content).put(b"of somebody else")
    found = members(bundle(home, ONE), tmp_path)
    contents = {name for name in found if name.startswith("content/")}
    assert set(found) == {"bundle.json", "checkpoint", f"actors/{ONE}/chain", *contents}
    assert found[f"actors/{ONE}/chain"] == home.chain(ONE).read_bytes()
    assert STATE + ONE.encode() in found.values()
    assert b"of somebody else" not in found.values()
    assert all(name == f"content/{d[:2]}/{d[2:]}" for name in contents for d in [content_digest(found[name]).hex()])
    (row,) = read_index(found["bundle.json"])
    assert (row.id, row.name, row.entries) == (ONE, "a", 3)


def test_the_same_gives_the_same_bytes(home: Home) -> None:
    assert bundle(home, ONE, TWO) == bundle(home, TWO, ONE)


def test_members_stand_in_order_and_have_no_times(home: Home) -> None:
    with zipfile.ZipFile(io.BytesIO(bundle(home, ONE, TWO))) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_it_ends_where_the_checkpoint_says_though_the_actor_goes_on(home: Home, tmp_path: Path) -> None:
    signed = checkpoint(home, ONE)
    live(home, ONE, calls=2)
    out = io.BytesIO()
    export(home, signed, out.write)
    with open_bundle(write(tmp_path / "b", out.getvalue())) as found:
        assert found.ok
        assert [verdict.entries for verdict in found.verdicts] == [3]


def test_unpacked_by_hand_it_is_a_home(home: Home, tmp_path: Path) -> None:
    write(tmp_path / "b.zip", bundle(home, ONE))
    shutil.unpack_archive(tmp_path / "b.zip", tmp_path / "by-hand")
    there = Home(tmp_path / "by-hand")
    assert verify_home(there, ContentStore(there.content)).ok


@pytest.mark.skipif(shutil.which("unzip") is None, reason="there is no unzip")
def test_other_tools_open_it(home: Home, tmp_path: Path) -> None:
    write(tmp_path / "b.theater", bundle(home, ONE))
    subprocess.run(["unzip", "-tq", str(tmp_path / "b.theater")], check=True, capture_output=True, timeout=30)


def test_a_chain_that_is_not_what_was_signed_is_not_exported(home: Home) -> None:
    signed = checkpoint(home, ONE, entries={ONE: (2, bytes(32))})
    with pytest.raises(ChainBroken, match=f"{ONE}: entry 1: expected digest 0000.* by the checkpoint"):
        export(home, signed, io.BytesIO().write)
    longer = checkpoint(home, ONE, entries={ONE: (9, bytes(32))})
    with pytest.raises(ChainBroken, match="found the end after 3 entries"):
        export(home, longer, io.BytesIO().write)


def test_a_bundle_that_would_lack_content_is_not_written(home: Home, tmp_path: Path) -> None:
    signed = checkpoint(home, ONE)
    ContentStore(home.content).delete(content_digest(STATE + ONE.encode()).hex())
    before = tree(tmp_path)
    with pytest.raises(UnknownContent):
        export_file(home, signed, tmp_path / "run.theater")
    assert tree(tmp_path) == before


def test_a_failed_export_leaves_the_file_that_was_there(home: Home, tmp_path: Path) -> None:
    target = write(tmp_path / "run.theater", b"precious")
    with pytest.raises(ChainBroken):
        export_file(home, checkpoint(home, ONE, entries={ONE: (2, bytes(32))}), target)
    assert target.read_bytes() == b"precious"
    export_file(home, checkpoint(home, ONE), target)
    with open_bundle(target) as found:
        assert found.ok
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_made_is_said(home: Home, tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "gone" / "run.theater"):
        with pytest.raises(InvalidInput, match="cannot write"):
            export_file(home, checkpoint(home, ONE), target)


def test_a_full_disk_is_said_and_nothing_is_left(home: Home, small_disk: Path) -> None:
    live(home, ONE, calls=1)
    (small_disk / "filler").write_bytes(bytes(900_000))
    store = ContentStore(home.content)
    with ChainWriter.open(home.chain(ONE), put=store.put, get=store.get) as chain:
        for _ in range(100):
            chain.append(Kind.CALL, Call("i", "f", [os.urandom(4000)]))
    before = tree(small_disk)
    with pytest.raises(DiskFull):
        export_file(home, checkpoint(home, ONE), small_disk / "run.theater")
    assert tree(small_disk) == before


def test_a_home_that_never_had_a_server_has_nobody_who_signs(home: Home, tmp_path: Path) -> None:
    home.supervisor_chain.unlink()
    with pytest.raises(WrongState, match="never had a server"):
        sign_here(home, [ONE], 0)
    with pytest.raises(NotFound):
        sign_here(make_home(tmp_path / "other"), [ONE], 0)


def test_a_key_that_is_known_must_have_signed(home: Home, tmp_path: Path) -> None:
    path = write(tmp_path / "b", bundle(home, ONE))
    with open_bundle(path, Trust(public_key(home))) as found:
        assert found.ok
    with (
        pytest.raises(CheckpointRefused, match="the key that you trust"),
        open_bundle(path, Trust(bytes(32))),
    ):
        pass


def test_a_checkpoint_that_was_kept_finds_another_history(home: Home, tmp_path: Path) -> None:
    kept = checkpoint(home, ONE)
    home.chain(ONE).unlink()
    live(home, ONE, name="anew", calls=2)
    path = write(tmp_path / "b", bundle(home, ONE))
    with open_bundle(path, Trust(kept.key, kept)) as found:
        (verdict,) = found.verdicts
        assert not verdict.ok
        assert verdict.error is not None
        assert verdict.error.startswith("entry 2: expected digest")
    stranger = Signer(b"x" * 32).sign(bytes(32), kept.positions, 0)
    with pytest.raises(CheckpointRefused, match="another home"), open_bundle(path, Trust(None, stranger)):
        pass


def test_a_checkpoint_says_nothing_of_actors_that_it_does_not_name(home: Home, tmp_path: Path) -> None:
    path = write(tmp_path / "b", bundle(home, TWO))
    kept = SignedCheckpoint.read(checkpoint(home, ONE).text)
    with open_bundle(path, Trust(kept.key, kept)) as found:
        assert found.ok


# ---- chains that were made smaller


def test_a_compressed_chain_is_exported_as_it_was(home: Home) -> None:
    live_long(home, ONE)
    signed = checkpoint(home, ONE)
    before, after = io.BytesIO(), io.BytesIO()
    export(home, signed, before.write)
    shrink_home(home, ONE, drop=False)
    export(home, signed, after.write)
    assert after.getvalue() == before.getvalue()


def test_of_what_was_dropped_a_bundle_has_the_statement(home: Home, tmp_path: Path) -> None:
    live_long(home, ONE)
    whole = bundle(home, ONE)
    shrink_home(home, ONE, drop=True)
    path = write(tmp_path / "b.theater", bundle(home, ONE))
    assert path.stat().st_size < len(whole)
    assert f"actors/{ONE}/dropped" in members(path.read_bytes(), tmp_path)
    with open_bundle(path) as found:
        assert found.ok, found.verdicts
        (verdict,) = found.verdicts
        assert verdict.dropped is not None
        assert verdict.entries > 400
        assert found.home.chain(ONE).stat().st_size == home.chain(ONE).stat().st_size


def test_a_statement_that_was_changed_is_not_ok(home: Home, tmp_path: Path) -> None:
    live_long(home, ONE)
    shrink_home(home, ONE, drop=True)
    found = members(bundle(home, ONE), tmp_path)
    name = f"actors/{ONE}/dropped"
    text = found[name]
    changes = [
        text[:-2] + (b"0\n" if text[-2:-1] != b"0" else b"1\n"),
        text.replace(b"time ", b"time 1"),
        text.replace(b"until ", b"until 1"),
        b"",
        b"x" * 2000,
    ]
    for changed in changes:
        path = write(tmp_path / "b.theater", archive({**found, name: changed}))
        assert not is_good(path)
    del found[name]
    assert not is_good(write(tmp_path / "b.theater", archive(found)))


def is_good(path: Path) -> bool:
    try:
        with open_bundle(path) as opened:
            return opened.ok
    except (IntegrityError, LimitExceeded):
        return False
