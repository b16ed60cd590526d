"""`theater verify`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import Theater

from theater.chainlog.keys import open_signer
from theater.chainlog.reader import ChainReader
from theater.chainlog.writer import ChainWriter
from theater.config import Home
from theater.core.chain import SIGNED, Checkpoint, Genesis, Kind, Lifecycle, Mark
from theater.core.signed_checkpoint import Position, SignedCheckpoint, Signer
from theater.errors import ChainBroken, CheckpointRefused, InvalidInput, NotFound, UnknownActor

ONE = "10000000-0000-4000-8000-000000000001"
TWO = "20000000-0000-4000-8000-000000000002"


def chain(path: Path, actor: str, name: str) -> Mark:
    path.parent.mkdir(parents=True, exist_ok=True)
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, Genesis(actor, name, None, None, None, {}))
        writer.append(Kind.LIFECYCLE, Lifecycle("something", {}))
        writer.flush()
        return writer.mark


@pytest.fixture
def home(theater: Theater) -> Path:
    marks = {
        actor: chain(theater.home / "actors" / actor / "chain", actor, name) for actor, name in ((ONE, "a"), (TWO, "b"))
    }
    path = theater.home / "supervisor.chain"
    chain(path, "supervisor", "supervisor")
    with ChainWriter.open(path) as writer:
        writer.append(Kind.CHECKPOINT, Checkpoint({actor: list(mark) for actor, mark in marks.items()}))
        writer.flush()
    return theater.home


def damage(chain: Path) -> None:
    content = bytearray(chain.read_bytes())
    content[-40] ^= 1
    chain.write_bytes(content)


def test_a_sound_home_ends_with_0(theater: Theater, home: Path) -> None:
    done = theater("verify")
    assert done.code == 0
    assert [row.split()[::2] for row in done.text.splitlines()[2:]] == [
        ["10000000", "2", "ok"],
        ["20000000", "2", "ok"],
    ]


def test_json_has_the_published_fields(theater: Theater, home: Path) -> None:
    found = json.loads(theater("verify", "--json").out)
    assert found["ok"] is True
    fields = ["id", "name", "entries", "head", "ok", "error", "dropped", "lost"]
    assert [list(actor) for actor in found["actors"]] == [fields] * 2
    assert [actor["id"] for actor in found["actors"]] == [ONE, TWO]


def test_a_changed_byte_ends_with_9_and_says_where(theater: Theater, home: Path) -> None:
    damage(home / "actors" / TWO / "chain")
    done = theater("verify")
    assert done.code == ChainBroken.exit_code
    assert f"{TWO}: entry 1 at byte" in done.text
    assert "expected" in done.text
    assert "found" in done.text
    found = json.loads(theater("verify", "--json").out)
    assert (found["ok"], [actor["ok"] for actor in found["actors"]]) == (False, [True, False])


def test_a_chain_that_was_cut_does_not_agree_with_its_checkpoint(theater: Theater, home: Path) -> None:
    (home / "actors" / ONE / "chain").write_bytes(b"")
    done = theater("verify", ONE, "--json")
    assert done.code == ChainBroken.exit_code
    assert "by a checkpoint" in json.loads(done.out)["actors"][0]["error"]


def test_a_torn_tail_is_reported_and_no_error(theater: Theater, home: Path) -> None:
    with (home / "actors" / ONE / "chain").open("ab") as file:
        file.write(b"\0\0\0")
    done = theater("verify", "1")
    assert done.code == 0
    assert "ok, 3 bytes unfinished" in done.text


def test_only_the_actors_that_are_named(theater: Theater, home: Path) -> None:
    damage(home / "actors" / TWO / "chain")
    assert theater("verify", "10").code == 0
    assert theater("verify", "-", stdin=f"{ONE}\n{TWO}\n".encode()).code == ChainBroken.exit_code
    assert theater("verify", "nobody").code == UnknownActor.exit_code


def test_no_home_is_not_found(theater: Theater, tmp_path: Path) -> None:
    assert theater("verify", "--home", str(tmp_path / "nothing")).code == NotFound.exit_code


def test_a_home_without_a_record_is_as_it_was(theater: Theater) -> None:
    theater("store", "put", "-", stdin=b"x")
    assert json.loads(theater("verify", "--json").out)["actors"] == []
    assert theater("verify").code == 0


# ---- against a checkpoint that was kept elsewhere


def position(path: Path) -> Position:
    with ChainWriter.open(path) as writer:
        return writer.head.entries, writer.head.digest


@pytest.fixture
def kept(home: Path) -> SignedCheckpoint:
    """What the server of `home` gave to somebody."""
    with ChainReader(home / "supervisor.chain") as reader:
        first = reader.records(1)[0].digest
    positions = {actor: position(home / "actors" / actor / "chain") for actor in (ONE, TWO)}
    positions["supervisor"] = position(home / "supervisor.chain")
    return open_signer(Home(home)).sign(first, positions, 1)


@pytest.fixture
def file(kept: SignedCheckpoint, tmp_path: Path) -> str:
    path = tmp_path / "kept"
    path.write_bytes(kept.text)
    return str(path)


def rewrite(path: Path, actor: str, name: str) -> Mark:
    path.unlink()
    return chain(path, actor, name)


def test_a_home_that_is_as_it_was_agrees_with_what_was_kept(
    theater: Theater, home: Path, kept: SignedCheckpoint, file: str
) -> None:
    assert theater("verify", "--checkpoint", file).code == 0
    assert theater("verify", "--checkpoint", file, "--key", kept.key.hex()).code == 0
    assert theater("verify", "--checkpoint", file, "--key", str(home / "key.pub")).code == 0
    assert theater("verify", "--checkpoint", "-", stdin=kept.text).code == 0


def test_what_was_cut_lost_or_written_anew_is_found_by_what_was_kept_alone(
    theater: Theater, home: Path, file: str
) -> None:
    one, two = (home / "actors" / actor / "chain" for actor in (ONE, TWO))
    one.write_bytes(one.read_bytes()[:-60])
    two.unlink()
    (home / "actors" / TWO).rmdir()
    rewrite(home / "supervisor.chain", "supervisor", "supervisor")
    assert theater("verify", ONE).code == 0
    done = theater("verify", "--checkpoint", file)
    assert done.code == ChainBroken.exit_code
    for words in ("supervisor: entry 0: expected digest", f"{ONE}: entry 1: expected", f"{TWO}: entry 1: expected"):
        assert words in done.text
    assert theater("verify", "--checkpoint", file, ONE).code == ChainBroken.exit_code


def test_chains_of_which_it_says_nothing_are_listed(theater: Theater, home: Path, file: str) -> None:
    later = "30000000-0000-4000-8000-000000000003"
    assert "checkpoint: 3 chains at 1970-01-01" in theater("verify", "--checkpoint", file).text
    chain(home / "actors" / later / "chain", later, "c")
    done = theater("verify", "--checkpoint", file)
    assert done.code == 0
    assert f"{later}: not in the checkpoint" in done.text
    found = json.loads(theater("verify", "--checkpoint", file, "--json").out)
    assert found["checkpoint"]["unnamed"] == [later]
    assert json.loads(theater("verify", "--json").out)["checkpoint"] is None


def refusal(theater: Theater, *arguments: str) -> tuple[int, str]:
    done = theater("verify", *arguments)
    assert done.out == b""
    assert done.err.count("\n") == 1
    return done.code, done.err


def test_a_checkpoint_that_cannot_be_relied_on_is_refused_in_one_sentence(
    theater: Theater, home: Path, kept: SignedCheckpoint, file: str, tmp_path: Path
) -> None:
    own, other = kept.key.hex(), Signer(bytes(32))
    code, said = refusal(theater, "--checkpoint", file, "--key", other.public.hex())
    assert (code, said) == (
        CheckpointRefused.exit_code,
        f"theater: {file}: the checkpoint was signed by key {own}, and the key that you trust is "
        f"{other.public.hex()}\n",
    )
    foreign = tmp_path / "foreign"
    foreign.write_bytes(other.sign(kept.home, kept.positions, 1).text)
    code, said = refusal(theater, "--checkpoint", str(foreign))
    assert code == CheckpointRefused.exit_code
    assert f"signed by key {other.public.hex()}, and that of this home is {own}: it is of another home" in said
    damaged = tmp_path / "damaged"
    damaged.write_bytes(kept.text.replace(b"time 1\n", b"time 2\n"))
    code, said = refusal(theater, "--checkpoint", str(damaged))
    assert (code, "damaged" in said) == (CheckpointRefused.exit_code, True)


def test_what_is_no_checkpoint_and_no_key_is_bad_input(
    theater: Theater, home: Path, kept: SignedCheckpoint, file: str, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for text, words in ((b"{}", "no checkpoint"), (b"theater checkpoint 9\n", "version '9'")):
        other.write_bytes(text)
        code, said = refusal(theater, "--checkpoint", str(other))
        assert (code, words in said) == (InvalidInput.exit_code, True)
    code, said = refusal(theater, "--checkpoint", file, "--key", "nonsense")
    assert (code, "'nonsense' is no key" in said) == (InvalidInput.exit_code, True)
    (home / "key.pub").unlink()
    code, said = refusal(theater, "--checkpoint", file)
    assert (code, "give the one that you know with --key" in said) == (InvalidInput.exit_code, True)
    assert theater("verify", "--checkpoint", file, "--key", kept.key.hex()).code == 0


def test_a_home_that_lost_its_key_is_held_against_what_the_old_one_signed(
    theater: Theater, home: Path, kept: SignedCheckpoint, file: str
) -> None:
    (home / "key").unlink()
    open_signer(Home(home))
    assert theater("verify", "--checkpoint", file).code == CheckpointRefused.exit_code
    assert theater("verify", "--checkpoint", file, "--key", kept.key.hex()).code == 0


def test_a_home_that_is_another_differs_in_the_first_entry(theater: Theater, home: Path, file: str) -> None:
    rewrite(home / "supervisor.chain", "supervisor", "supervisor")
    done = theater("verify", "--checkpoint", file)
    assert (done.code, "supervisor: entry 0: expected digest" in done.text) == (ChainBroken.exit_code, True)


def test_it_says_how_far_the_servers_chain_is_signed(theater: Theater, home: Path, kept: SignedCheckpoint) -> None:
    assert "not yet signed by a key that is trusted here" in theater("verify").text
    assert json.loads(theater("verify", "--json").out)["signed"] is None
    path = home / "supervisor.chain"
    text = open_signer(Home(home)).sign(kept.home, {"supervisor": position(path)}, 10**18).text.decode()
    with ChainWriter.open(path) as writer:
        writer.append(Kind.LIFECYCLE, Lifecycle(SIGNED, {"checkpoint": text}))
    assert f"supervisor: 3 entries signed by key {kept.key.hex()} at 2001-09-09" in theater("verify").text
    signed = json.loads(theater("verify", "--json").out)["signed"]
    assert signed == {"key": kept.key.hex(), "entries": 3, "time_ns": 10**18}
    found = json.loads(theater("verify", "--json", "--key", Signer(bytes(32)).public.hex()).out)
    assert (found["ok"], found["signed"]) == (True, None)
