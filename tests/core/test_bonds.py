"""Monitors and links: what OTP 1.13 says of them, and a model that remembers everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from effort import effort
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from theater.core import bonds
from theater.core.bonds import Bonds, Consequence, Down, Exit, Kill, Over, Peer, Standing
from theater.core.exit_reason import ExitKind, ExitReason
from theater.errors import InvalidInput, LimitExceeded

TRAP = ExitReason.trap("unreachable", "wasm `unreachable` instruction executed")
KILLED = ExitReason.by_signal(9)
ABNORMAL = (TRAP, KILLED, ExitReason.error("no"), ExitReason.shutdown(), ExitReason.gave_up(), ExitReason.killed())


def up(actor: str, life: int = 1) -> Peer:
    return Peer(actor, Standing.UP, life)


def coming(actor: str, life: int = 1) -> Peer:
    return Peer(actor, Standing.COMING, life)


def down(actor: str, reason: ExitReason | None = None, life: int = 0) -> Peer:
    return Peer(actor, Standing.DOWN, life, reason)


def over(actor: str, reason: ExitReason, life: int = 1) -> Over:
    return Over(actor, life, reason)


# ---- monitors


def test_a_monitor_leads_to_one_down_with_the_real_reason() -> None:
    """(1.13.2)"""
    kept = Bonds()
    assert kept.monitor("w", 1, up("a")) == []
    assert kept.ended("a", 1, TRAP) == [Down("w", 1, over("a", TRAP))]
    assert kept.ended("a", 2, TRAP) == []


def test_monitors_stack_each_with_its_own_reference() -> None:
    """(1.13.2)"""
    kept = Bonds()
    for ref in (3, 1, 2):
        kept.monitor("w", ref, up("a"))
    assert kept.ended("a", 1, KILLED) == [Down("w", ref, over("a", KILLED)) for ref in (3, 1, 2)]


def test_a_monitor_of_nobody_goes_down_at_once() -> None:
    """(1.13.2) (1.13.6): `noproc`, of which no process ever dies."""
    assert Bonds().monitor("w", 1, down("nobody")) == [Down("w", 1, Over("nobody", 0, ExitReason.no_process()))]


def test_a_monitor_of_the_dead_goes_down_at_once_with_what_ended_it() -> None:
    """(1.13.2)"""
    kept = Bonds()
    assert kept.monitor("w", 1, down("a", TRAP, 7)) == [Down("w", 1, over("a", TRAP, 7))]
    assert kept.demonitor("w", 1) is False


def test_a_monitor_is_one_way() -> None:
    """(1.13.2)"""
    kept = Bonds()
    kept.monitor("w", 1, up("a"))
    assert kept.ended("w", 1, TRAP) == []
    assert kept.ended("a", 1, TRAP) == []


def test_a_normal_end_is_told_to_monitors_too() -> None:
    """(1.13.2)"""
    kept = Bonds()
    kept.monitor("w", 1, up("a"))
    assert kept.ended("a", 1, ExitReason.normal()) == [Down("w", 1, over("a", ExitReason.normal()))]


def test_after_demonitor_nothing_comes() -> None:
    """(1.13.2)"""
    kept = Bonds()
    kept.monitor("w", 1, up("a"))
    kept.monitor("w", 2, up("a"))
    assert kept.demonitor("w", 1) is True
    assert kept.demonitor("w", 1) is False
    assert kept.ended("a", 1, TRAP) == [Down("w", 2, over("a", TRAP))]


def test_an_actor_may_monitor_itself_to_no_effect() -> None:
    kept = Bonds()
    kept.monitor("a", 1, up("a"))
    assert kept.ended("a", 1, TRAP) == []


def test_a_reference_names_one_monitor() -> None:
    kept = Bonds()
    kept.monitor("w", 1, up("a"))
    with pytest.raises(InvalidInput, match="monitor 1 already"):
        kept.monitor("w", 1, up("b"))
    kept.monitor("other", 1, up("a"))


def test_a_monitor_is_of_one_life() -> None:
    """(1.25, "mailbox lost on restart"): what was asked of one incarnation says nothing of its successor."""
    kept = Bonds()
    kept.monitor("w", 1, up("a", 1))
    assert kept.ended("a", 1, TRAP) == [Down("w", 1, over("a", TRAP, 1))]
    kept.is_up("a")
    assert kept.ended("a", 2, TRAP) == []


# ---- actors that are on their way up


def test_a_monitor_of_one_that_is_coming_waits_for_the_life_in_which_it_is_up() -> None:
    kept = Bonds()
    kept.monitor("w", 1, coming("a", 1))
    assert kept.ended("a", 1, TRAP) == []  # This start failed; another is tried.
    kept.is_up("a")
    assert kept.ended("a", 2, KILLED) == [Down("w", 1, over("a", KILLED, 2))]


def test_a_monitor_of_one_that_never_comes_goes_down_with_the_reason_of_the_failed_start() -> None:
    kept = Bonds()
    kept.monitor("w", 1, coming("a", 1))
    kept.ended("a", 1, TRAP)
    assert kept.stays_down("a", 1, TRAP) == [Down("w", 1, over("a", TRAP, 1))]


def test_a_link_to_one_that_never_comes_ends_the_asker() -> None:
    kept = Bonds()
    kept.link("a", coming("b"))
    assert kept.ended("b", 1, TRAP) == []
    assert kept.stays_down("b", 1, TRAP) == [Kill("a", over("b", TRAP))]


def test_who_links_itself_in_its_init_is_bound_from_then_on() -> None:
    """(1.13.1): a failed start is no secret to those whom the started one has linked to."""
    kept = Bonds()
    kept.link("new", up("a"))
    assert kept.ended("new", 1, TRAP) == [Kill("a", over("new", TRAP))]


def test_two_that_link_in_their_inits_are_bound_to_each_other() -> None:
    kept = Bonds()
    kept.link("a", coming("b"))
    kept.link("b", coming("a"))
    assert kept.ended("b", 1, TRAP) == [Kill("a", over("b", TRAP))]


# ---- links


def test_a_link_goes_both_ways() -> None:
    """(1.13.1)"""
    for first, other in (("a", "b"), ("b", "a")):
        kept = Bonds()
        kept.link("a", up("b"))
        assert kept.ended(first, 1, TRAP) == [Kill(other, over(first, TRAP))]
        assert kept.ended(other, 1, TRAP) == []


def test_there_is_at_most_one_link_between_two() -> None:
    """(1.13.1)"""
    kept = Bonds()
    kept.link("a", up("b"))
    kept.link("a", up("b"))
    kept.link("b", up("a"))
    assert kept.ended("a", 1, TRAP) == [Kill("b", over("a", TRAP))]
    kept.link("a", up("b"))
    kept.link("b", up("a"))
    kept.unlink("a", "b")
    assert kept.ended("a", 2, TRAP) == []


@pytest.mark.parametrize("reason", ABNORMAL, ids=lambda reason: reason.kind.value)
def test_any_reason_but_normal_ends_the_other_with_it(reason: ExitReason) -> None:
    """(1.13.3) (1.13.5)"""
    kept = Bonds()
    kept.link("a", up("b"))
    assert kept.ended("b", 1, reason) == [Kill("a", over("b", reason))]


def test_a_normal_end_leaves_the_other_alone_and_the_link_undone() -> None:
    """(1.13.3)"""
    kept = Bonds()
    kept.link("a", up("b"))
    assert kept.ended("b", 1, ExitReason.normal()) == []
    kept.is_up("b")
    assert kept.ended("b", 2, TRAP) == []


@pytest.mark.parametrize("reason", [*ABNORMAL, ExitReason.normal()], ids=lambda reason: reason.kind.value)
def test_who_traps_exits_is_told_of_every_end_and_lives(reason: ExitReason) -> None:
    """(1.13.4): also of a kill, which links see as `killed` and may trap (1.13.5)."""
    kept = Bonds()
    kept.trap_exits("a", True)
    kept.link("a", up("b"))
    assert kept.ended("b", 1, reason) == [Exit("a", over("b", reason))]


def test_trapping_may_be_switched_off_again() -> None:
    """(1.13.4)"""
    kept = Bonds()
    kept.link("a", up("b"))
    kept.trap_exits("a", True)
    kept.trap_exits("a", False)
    kept.trap_exits("a", False)
    assert kept.ended("b", 1, TRAP) == [Kill("a", over("b", TRAP))]


def test_a_new_life_does_not_trap_exits_until_it_says_so() -> None:
    kept = Bonds()
    kept.trap_exits("a", True)
    kept.ended("a", 1, TRAP)
    kept.is_up("a")
    kept.link("a", up("b"))
    assert kept.ended("b", 1, TRAP) == [Kill("a", over("b", TRAP))]


def test_unlink_undoes_a_link_from_either_side() -> None:
    """(1.13.1)"""
    for one, other in (("a", "b"), ("b", "a")):
        kept = Bonds()
        kept.link("a", up("b"))
        kept.unlink(one, other)
        kept.unlink(one, other)
        assert kept.ended("a", 1, TRAP) == kept.ended("b", 1, TRAP) == []


def test_a_link_to_nobody_is_an_exit_signal() -> None:
    """(1.13.6)"""
    kept = Bonds()
    nobody = Over("nobody", 0, ExitReason.no_process())
    assert kept.link("a", down("nobody")) == [Kill("a", nobody)]
    kept.trap_exits("a", True)
    assert kept.link("a", down("nobody")) == [Exit("a", nobody)]


def test_a_link_to_one_that_ended_normally_does_no_harm() -> None:
    """(1.13.3)"""
    assert Bonds().link("a", down("b", ExitReason.normal(), 1)) == []


def test_a_link_to_oneself_is_none() -> None:
    kept = Bonds()
    assert kept.link("a", up("a")) == []
    assert kept.ended("a", 1, TRAP) == []


def test_a_circle_ends_once_each() -> None:
    """(1.13.3): the deaths of those that are killed are reported as they come, and reach nobody twice."""
    kept = Bonds()
    for one, other in ("ab", "bc", "cd", "da", "ac"):
        kept.link(one, up(other))
    assert spread(kept, "a", TRAP) == {"b": 1, "c": 1, "d": 1}


def test_a_chain_stops_at_who_traps() -> None:
    """(1.13.4)"""
    kept = Bonds()
    for one, other in ("ab", "bc", "cd"):
        kept.link(one, up(other))
    kept.trap_exits("c", True)
    assert spread(kept, "a", TRAP) == {"b": 1}


def spread(kept: Bonds, first: str, reason: ExitReason) -> Counter[str]:
    """Carries out all kills that a death leads to; how often each died of it."""
    deaths: Counter[str] = Counter()
    condemned = [first]
    for actor in condemned:
        for consequence in kept.ended(actor, 1, reason):
            if isinstance(consequence, Kill) and consequence.victim not in condemned:
                condemned.append(consequence.victim)
                deaths[consequence.victim] += 1
    return deaths


def test_links_and_monitors_do_not_disturb_each_other() -> None:
    kept = Bonds()
    kept.link("a", up("b"))
    kept.monitor("a", 1, up("b"))
    kept.unlink("a", "b")
    assert kept.ended("b", 1, TRAP) == [Down("a", 1, over("b", TRAP))]


def test_bonds_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bonds, "MOST", 2)
    kept = Bonds()
    for number in range(2):
        kept.monitor("a", number, up("b"))
        kept.link("a", up(f"b{number}"))
    with pytest.raises(LimitExceeded, match="2 monitors"):
        kept.monitor("a", 2, up("b"))
    with pytest.raises(LimitExceeded, match="2 links"):
        kept.link("a", up("b2"))
    kept.link("a", up("b1"))
    kept.demonitor("a", 0)
    kept.monitor("a", 2, up("b"))


def test_who_ends_by_a_link_ends_for_the_same_reason_and_says_whose_it_was() -> None:
    """(1.13.3) (1.13.5)"""
    first = ExitReason.linked("a (1)", KILLED)
    assert (first.kind, first.signal, first.commanded) == (KILLED.kind, 9, False)
    assert first.describe() == "ended because it was linked to a (1), which was killed by signal 9"
    second = ExitReason.linked("b (2)", first)
    assert second.describe() == f"ended because it was linked to b (2), which {first.describe()}"
    trapped = ExitReason.linked("a (1)", TRAP)
    assert trapped.trap_kind == TRAP.trap_kind
    assert trapped.describe().startswith("trapped (unreachable: linked to a (1), which trapped (unreachable: ")
    commanded = ExitReason.linked("a (1)", ExitReason.killed())
    assert (commanded.kind, commanded.commanded) == (ExitKind.KILLED, False)
    assert commanded.describe() == "ended because it was linked to a (1), which was killed by its supervisor"
    assert ExitReason.from_dict(second.to_dict()) == second


# ---- a model

ACTORS = "abc"
REASONS = (TRAP, ExitReason.normal(), ExitReason.shutdown())
actors = st.sampled_from(ACTORS)
flags = st.booleans()
reasons = st.sampled_from(REASONS)


class Model(RuleBasedStateMachine):
    """Against lists that are searched, and a world in which every actor is up, on its way up, or down.

    The model knows no awaiting: a bond is a row with the life it is with, or None as long as that life is to come.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bonds = Bonds()
        self.standing = dict.fromkeys(ACTORS, Standing.DOWN)
        self.life = dict.fromkeys(ACTORS, 0)
        self.last_exit: dict[str, ExitReason | None] = dict.fromkeys(ACTORS)
        self.has_process: set[str] = set()
        self.traps: set[str] = set()
        self.ref = 0
        self.monitors: list[tuple[str, int, str, int | None]] = []
        self.links: list[tuple[str, int | None, str, int | None]] = []
        self.seen_downs: Counter[int] = Counter()

    # ---- the world

    def peer(self, actor: str) -> Peer:
        return Peer(actor, self.standing[actor], self.life[actor], self.last_exit[actor])

    def life_for_bonds(self, actor: str) -> int | None:
        return self.life[actor] if self.standing[actor] is Standing.UP else None

    def signal(self, receiver: str, about: Over) -> list[Consequence]:
        if receiver in self.traps:
            return [Exit(receiver, about)]
        return [] if about.reason.kind is ExitKind.NORMAL else [Kill(receiver, about)]

    def same(self, found: Iterable[Consequence], expected: Iterable[Consequence]) -> None:
        found = list(found)
        assert Counter(found) == Counter(expected)
        for consequence in found:
            if isinstance(consequence, Down):
                self.seen_downs[consequence.ref] += 1

    # ---- what happens

    @rule(actor=actors)
    def begin(self, actor: str) -> None:
        if actor not in self.has_process:
            self.has_process.add(actor)
            self.life[actor] += 1
            self.standing[actor] = Standing.COMING

    @rule(actor=actors)
    def comes_up(self, actor: str) -> None:
        if actor in self.has_process and self.standing[actor] is Standing.COMING:
            self.standing[actor] = Standing.UP
            now = self.life[actor]
            self.monitors = [
                (watcher, ref, of, now if of == actor else life) for watcher, ref, of, life in self.monitors
            ]
            self.links = [
                (one, now if one == actor else of_one, other, now if other == actor else of_other)
                for one, of_one, other, of_other in self.links
            ]
            self.bonds.is_up(actor)

    @rule(actor=actors, reason=reasons, again=flags)
    def dies(self, actor: str, reason: ExitReason, again: bool) -> None:
        if actor not in self.has_process:
            return
        self.has_process.discard(actor)
        self.traps.discard(actor)
        about = Over(actor, self.life[actor], reason)
        expected: list[Consequence] = []
        self.monitors = [row for row in self.monitors if row[0] != actor]
        for row in list(self.monitors):
            if row[2] == actor and row[3] == self.life[actor]:
                self.monitors.remove(row)
                expected.append(Down(row[0], row[1], about))
        for link in list(self.links):
            one, of_one, other, of_other = link
            if actor in (one, other) and self.life[actor] == (of_one if actor == one else of_other):
                self.links.remove(link)
                expected += self.signal(other if actor == one else one, about)
        self.last_exit[actor] = reason
        self.standing[actor] = Standing.COMING
        self.same(self.bonds.ended(actor, self.life[actor], reason), expected)
        if not again:
            self.stays_down(actor)

    @rule(actor=actors)
    def stays_down(self, actor: str) -> None:
        if actor in self.has_process or self.standing[actor] is not Standing.COMING:
            return
        self.standing[actor] = Standing.DOWN
        reason = self.last_exit[actor]
        assert reason is not None
        about = Over(actor, self.life[actor], reason)
        expected: list[Consequence] = [Down(row[0], row[1], about) for row in self.monitors if row[2] == actor]
        self.monitors = [row for row in self.monitors if row[2] != actor]
        for link in [link for link in self.links if actor in (link[0], link[2])]:
            self.links.remove(link)
            expected += self.signal(link[2] if link[0] == actor else link[0], about)
        self.same(self.bonds.stays_down(actor, self.life[actor], reason), expected)

    # ---- what actors ask for

    @precondition(lambda self: self.has_process)
    @rule(data=st.data(), of=actors)
    def monitor(self, data: st.DataObject, of: str) -> None:
        watcher = data.draw(st.sampled_from(sorted(self.has_process)))
        self.ref += 1
        peer = self.peer(of)
        expected: list[Consequence] = []
        if peer.standing is Standing.DOWN:
            why = peer.last_exit or ExitReason.no_process()
            expected = [Down(watcher, self.ref, Over(of, peer.incarnation, why))]
        else:
            self.monitors.append((watcher, self.ref, of, self.life_for_bonds(of)))
        self.same(self.bonds.monitor(watcher, self.ref, peer), expected)

    @precondition(lambda self: self.has_process)
    @rule(data=st.data())
    def demonitor(self, data: st.DataObject) -> None:
        watcher = data.draw(st.sampled_from(sorted(self.has_process)))
        ref = data.draw(st.integers(0, self.ref))
        kept = [row for row in self.monitors if row[:2] != (watcher, ref)]
        assert self.bonds.demonitor(watcher, ref) is (len(kept) != len(self.monitors))
        self.monitors = kept

    @precondition(lambda self: self.has_process)
    @rule(data=st.data(), other=actors)
    def link(self, data: st.DataObject, other: str) -> None:
        asker = data.draw(st.sampled_from(sorted(self.has_process)))
        peer = self.peer(other)
        expected: list[Consequence] = []
        if asker != other and peer.standing is Standing.DOWN:
            why = peer.last_exit or ExitReason.no_process()
            expected = self.signal(asker, Over(other, peer.incarnation, why))
        elif asker != other:
            known = [link for link in self.links if {link[0], link[2]} == {asker, other}]
            for link in known:  # It asks in person, so its own side is with its present life.
                self.links.remove(link)
                one, of_one, _, of_two = link
                of_other = of_one if one == other else of_two
                self.links.append((asker, self.life[asker], other, of_other))
            if not known:
                self.links.append((asker, self.life[asker], other, self.life_for_bonds(other)))
        self.same(self.bonds.link(asker, peer), expected)

    @precondition(lambda self: self.has_process)
    @rule(data=st.data(), other=actors)
    def unlink(self, data: st.DataObject, other: str) -> None:
        asker = data.draw(st.sampled_from(sorted(self.has_process)))
        self.links = [link for link in self.links if {link[0], link[2]} != {asker, other} or asker == other]
        self.bonds.unlink(asker, other)

    @precondition(lambda self: self.has_process)
    @rule(data=st.data(), trap=flags)
    def trap_exits(self, data: st.DataObject, trap: bool) -> None:
        actor = data.draw(st.sampled_from(sorted(self.has_process)))
        (self.traps.add if trap else self.traps.discard)(actor)
        self.bonds.trap_exits(actor, trap)

    # ---- what is always so

    @invariant()
    def no_monitor_goes_down_twice(self) -> None:
        assert all(count == 1 for count in self.seen_downs.values())

    @invariant()
    def nothing_is_kept_that_is_over(self) -> None:
        kept = {ref for refs in self.bonds._monitors.values() for ref in refs}
        assert kept == {row[1] for row in self.monitors}
        assert kept.isdisjoint(self.seen_downs)
        assert sum(map(len, self.bonds._watched.values())) == len(self.monitors)
        assert sum(map(len, self.bonds._links.values())) == 2 * len(self.links)
        assert all((self.bonds._links[b].keys() >= {a}) for a, others in self.bonds._links.items() for b in others)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=effort(60, 1000), stateful_step_count=60, deadline=None)
