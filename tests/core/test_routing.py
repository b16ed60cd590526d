"""The directory of names and of who has asked."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from theater.core.routing import Directory
from theater.errors import InvalidInput, NameTaken, NotFound


def test_a_name_has_one_owner() -> None:
    directory = Directory()
    directory.register("a", "1")
    directory.register("a", "1")
    with pytest.raises(NameTaken, match="belongs to actor 1"):
        directory.register("a", "2")
    assert directory.owner("a") == "1"


def test_only_the_owner_gives_a_name_back() -> None:
    directory = Directory()
    directory.register("a", "1")
    with pytest.raises(NotFound):
        directory.unregister("a", "2")
    directory.unregister("a", "1")
    assert directory.owner("a") is None


@pytest.mark.parametrize("name", ["", " a", "a/b", "-a", "a" * 65, "ä", "a\n"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="is not a name"):
        Directory().register(name, "1")


def test_everyone_who_asked_is_told_once_of_a_death() -> None:
    directory = Directory()
    directory.register("a", "1")
    directory.watch("2", "1", "a")
    directory.watch("3", "1", "1")
    assert directory.dead("1") == {"2", "3"}
    assert directory.dead("1") == set()


def test_the_dead_are_told_nothing() -> None:
    directory = Directory()
    directory.watch("2", "1", "1")
    directory.dead("2")
    assert directory.dead("1") == set()


def test_who_asked_by_name_forgets_the_name_when_it_is_given_back() -> None:
    directory = Directory()
    directory.register("a", "1")
    directory.watch("2", "1", "a")
    assert directory.release("1") == {"a": {"2"}}
    assert directory.owner("a") is None


def test_of_the_dead_it_is_known_whom_they_could_have_written_to() -> None:
    """(1.13.8): whoever is told of a death waits for the last messages only if there can be some."""
    directory = Directory()
    directory.watch("1", "2", "2")
    assert directory.has_asked("1", "2")
    assert not directory.had_asked("1", "2")
    directory.dead("1")
    assert directory.had_asked("1", "2")
    assert not directory.had_asked("1", "3")
    assert not directory.has_asked("1", "2")
    directory.dead("1")  # its next life had asked nobody
    assert not directory.had_asked("1", "2")


def test_an_address_is_of_one_life() -> None:
    directory = Directory()
    directory.watch("1", "2", "2")
    directory.dead("2")
    directory.dead("1")
    assert not directory.had_asked("1", "2")


def test_only_the_newest_dead_are_remembered() -> None:
    directory = Directory()
    for number in range(2000):
        directory.watch(f"a{number}", "2", "2")
        directory.dead(f"a{number}")
    assert directory.had_asked("a1999", "2")
    assert not directory.had_asked("a0", "2")


class Names(RuleBasedStateMachine):
    """Against a plain model: a name belongs to the first who asked for it until that one lets go."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Directory()
        self.model: dict[str, str] = {}

    @rule(name=st.sampled_from("abc"), actor=st.sampled_from("12"))
    def register(self, name: str, actor: str) -> None:
        if self.model.get(name, actor) == actor:
            self.directory.register(name, actor)
            self.model[name] = actor
        else:
            with pytest.raises(NameTaken):
                self.directory.register(name, actor)

    @rule(name=st.sampled_from("abc"), actor=st.sampled_from("12"))
    def unregister(self, name: str, actor: str) -> None:
        if self.model.get(name) == actor:
            self.directory.unregister(name, actor)
            del self.model[name]
        else:
            with pytest.raises(NotFound):
                self.directory.unregister(name, actor)

    @rule(actor=st.sampled_from("12"))
    def release(self, actor: str) -> None:
        released = set(self.directory.release(actor))
        assert released == {name for name, owner in self.model.items() if owner == actor}
        self.model = {name: owner for name, owner in self.model.items() if owner != actor}

    @invariant()
    def names_agree(self) -> None:
        assert {name: self.directory.owner(name) for name in "abc" if self.directory.owner(name)} == self.model
        for actor in "12":
            assert self.directory.names(actor) == sorted(name for name, owner in self.model.items() if owner == actor)


TestNames = Names.TestCase
