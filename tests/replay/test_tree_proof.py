"""Chains that are held against each other."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import MANIFEST, Story

from theater.core.chain import HostCall, Kind
from theater.core.codec import content_digest
from theater.core.handlers import TIMERS
from theater.replay.tree import TreeProof, prove_tree

A = "a0000000-0000-4000-8000-000000000001"
B = "b0000000-0000-4000-8000-000000000002"
LONG = b"long" * 3000


@pytest.fixture
def story(tmp_path: Path) -> Story:
    found = Story(tmp_path)
    found.begin(A)
    found.begin(B)
    return found


def prove(story: Story, at_once: int = 50_000, without: str | None = None) -> TreeProof:
    chains = {actor: path for actor, path in story.paths.items() if actor != without}
    return prove_tree(chains, story.content.get, at_once=at_once)


def flaw(story: Story) -> str:
    proof = prove(story)
    assert not proof.ok
    (found,) = proof.flaws
    return f"{found.actor}: {found.sentence}"


# ---- what fits

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["spawn", "resume", "fail", "send", "ask", "ask later", "ask by name", "remind", "talk"]),
        st.integers(0, 9),
        st.integers(0, 9),
        st.sampled_from([b"", b"x", LONG, b"y" * 4096]),
    ),
    max_size=25,
)


def play(story: Story, steps: list[tuple[str, int, int, bytes]]) -> None:
    for what, first, second, body in steps:
        actors = sorted(story.chains)
        one, other = actors[first % len(actors)], actors[second % len(actors)]
        match what:
            case "spawn":
                story.spawn(one, MANIFEST if second % 2 else "m.toml", body or None)
            case "resume":
                story.spawn(one, state=body or None, resume=True)
            case "fail":
                story.spawn(one, fails=True)
            case "send":
                story.send(one, other, body)
            case "remind":
                story.remind(one, body)
            case "talk" if one != other:
                channel = story.open(one, other, body, body if second % 2 else None, "somebody" if second % 3 else None)
                story.say(one, other, channel, body)
                story.say(other, one, channel, body + b"!")
                story.close(*((one, other) if first % 2 else (other, one)), channel)
            case "talk":
                pass
            case _ if one != other:
                by = "somebody" if what == "ask by name" else None
                story.ask(one, other, body, body + b"!", by, later=what == "ask later")


@settings(max_examples=effort(25, 200))
@given(STEPS, st.sampled_from([1, 3, 50_000]))
def test_what_happened_fits_however_little_is_remembered(
    steps: list[tuple[str, int, int, bytes]], at_once: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder))
        story.begin(A)
        story.begin(B)
        play(story, steps)
        assert prove(story, at_once) == TreeProof((), (), story.children, story.messages, 0)


LIES: list[dict[str, Any]] = [
    {"cause": bytes(32)}, {"cause": content_digest(b"x")}, {"body": b"another"}, {"body": LONG + b"!"},
]  # fmt: skip


@settings(max_examples=effort(25, 200))
@given(STEPS, STEPS, st.sampled_from(LIES), st.booleans())
def test_one_lie_about_a_message_is_found_among_everything_that_is_true(
    before: list[tuple[str, int, int, bytes]],
    after: list[tuple[str, int, int, bytes]],
    lie: dict[str, Any],
    is_long: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder))
        story.begin(A)
        story.begin(B)
        play(story, before)
        story.lies = dict(lie)
        number = story.chains[B].entries
        story.send(A, B, LONG if is_long else b"x")
        play(story, after)
        assert flaw(story).startswith(f"{B}: entry {number}: a message came that ")


# ---- what does not


def test_the_entry_of_a_word_must_be_about_the_channel_on_which_it_came(story: Story) -> None:
    first, second = story.open(A, B, b"one"), story.open(A, B, b"two")
    story.say(A, B, first, b"x", heard_on=second)
    assert flaw(story).endswith(f"is about channel {first}, and not {second}")


def test_another_first_message_of_a_channel_is_found(story: Story) -> None:
    story.lies = {"body": b"four"}
    story.open(A, B, b"three")
    found = flaw(story)
    assert found.startswith(f"{B}: entry 1: the offer of a channel came that entry 1 of {A} is said to have sent")
    assert "sends 5 bytes" in found


def test_another_word_is_found(story: Story) -> None:
    channel = story.open(A, B, b"three")
    story.lies = {"body": b"four"}
    story.say(B, A, channel, b"x")
    assert "a message on a channel came that" in flaw(story)


def test_a_channel_that_was_refused_cannot_have_been_opened(story: Story) -> None:
    story.lies = {"accepted": False}
    story.open(A, B, b"three")
    assert flaw(story).endswith("refuses the channel")


def test_another_acceptance_is_found(story: Story) -> None:
    first = story.open(A, B, b"one", b"hello")
    story.lies = {"reply": True, "cause": story.chains[B].head.digest}
    second = story.open(A, B, b"two")
    assert first != second
    assert "the acceptance of a channel came" in flaw(story)


def test_a_close_must_be_of_its_channel(story: Story) -> None:
    first, second = story.open(A, B, b"one"), story.open(A, B, b"two")
    story.lies = {"body": second}
    story.close(A, B, first)
    assert flaw(story).endswith(f"is about channel {first}, and not {second}")


def test_another_body_is_named_with_both_entries(story: Story) -> None:
    story.lies = {"body": b"four"}
    story.send(A, B, b"x")
    assert flaw(story).startswith(
        f"{B}: entry 1: a message came that entry 1 of {A} is said to have sent, and that entry sends 1 bytes of "
    )


def test_a_cause_that_is_another_act(story: Story) -> None:
    other = story.entry(A, Kind.HOST_CALL, HostCall("theater:simple/runtime", "log", ["x"]))
    story.lies = {"cause": other}
    story.send(A, B, b"x")
    assert flaw(story).endswith("is said to have sent, and that entry is the host call log")


def test_a_message_that_went_to_somebody_else(story: Story) -> None:
    story.send(A, B, b"x", by=A)
    assert flaw(story).endswith(f"and that entry sends to {A}")


def test_a_message_to_a_name_may_have_gone_to_anybody(story: Story) -> None:
    story.send(A, B, b"x", by="somebody")
    assert prove(story).ok


def test_a_sender_whose_chain_says_nothing_of_it(story: Story) -> None:
    story.lies = {"sender": B}
    story.send(A, B, b"x")
    assert flaw(story).startswith(f"{B}: entry 1: a message came that {B} is said to have sent with an entry of digest")


def test_a_timer_goes_to_nobody_else(story: Story) -> None:
    cause = story.entry(A, Kind.HOST_CALL, HostCall(TIMERS, "send-after", [5, b"x"]))
    story.lies = {"cause": cause}
    story.send(A, B, b"x")
    assert flaw(story).endswith("sets a timer, whose message goes to nobody else")


@pytest.mark.parametrize("later", [False, True])
def test_another_reply(story: Story, later: bool) -> None:
    story.lies = {"reply": b"no"}
    story.ask(A, B, b"x", b"yes", later=later)
    assert "a reply came that entry" in flaw(story)
    assert "sends 3 bytes" in flaw(story)


def test_the_reply_to_another_request(story: Story) -> None:
    story.ask(A, B, b"x", b"yes")
    first = story.chains[B].digest
    story.lies = {"reply": b"yes", "cause": first}
    story.ask(A, B, b"x", b"yes")
    assert flaw(story).endswith("and that entry ends the call of another request")


def test_an_actor_whose_chain_is_not_at_hand_is_believed(story: Story) -> None:
    story.send(A, B, b"x")
    proof = prove(story, without=A)
    assert (proof.ok, proof.messages, proof.untold) == (True, 0, 0)


def test_what_is_behind_the_end_of_a_chain_is_not_held_against_it(story: Story) -> None:
    chain = bytes(story.written[A])
    story.send(A, B, b"x")
    paths = story.paths
    paths[A].write_bytes(chain)
    proof = prove_tree(paths, story.content.get)
    assert (proof.ok, proof.messages, proof.untold) == (True, 0, 1)


# ---- families


def test_a_child_that_nobody_spawned(story: Story) -> None:
    stranger = "c0000000-0000-8000-8000-000000000003"
    story.begin(stranger, A, bytes(32))
    expected = f"entry 0: expected a spawn in the chain of its parent {A} that gives the id {stranger}, found none"
    assert flaw(story) == f"{stranger}: {expected}"


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        ({"parent_head": bytes(32)}, "expected the digest"),
        ({"resumed": True}, f"entry 1 of its parent {A} says began with init, and it was resumed"),
        ({"initial": bytes(32)}, f"entry 1 of its parent {A} says the initial state"),
        ({"initial": None}, "says the initial state"),
    ],
)
def test_a_child_that_is_not_what_its_parent_wanted(lie: dict[str, Any], sentence: str, story: Story) -> None:
    story.lies = lie
    child = story.spawn(A, state=b"state")
    assert flaw(story).startswith(f"{child}: entry 0: ")
    assert sentence in flaw(story)


def test_a_child_with_another_manifest_than_the_text_that_its_parent_gave(story: Story) -> None:
    story.spawn(A, MANIFEST.replace('"a"', '"other"'))
    assert flaw(story).endswith("has the text of another manifest than it runs with")


def test_a_child_that_was_recorded_before_genesis_entries_named_their_parents_entry(story: Story) -> None:
    story.lies = {"parent_head": None}
    story.spawn(A)
    assert prove(story).children == 1


def test_a_child_that_is_missing_is_named(story: Story) -> None:
    child = story.spawn(A)
    proof = prove(story, without=child)
    assert [(spawn.child, spawn.parent, spawn.entry) for spawn in proof.missing] == [(child, A, 1)]
    assert not proof.ok


def test_a_child_that_never_came_up_is_not_missed(story: Story) -> None:
    story.spawn(A, fails=True)
    assert prove(story).ok
