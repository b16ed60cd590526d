"""Variables that a manifest grants: by name, and by the beginnings of names."""

from __future__ import annotations

import pytest

from theater.core.manifest import parse
from theater.core.permissions import Asked
from theater.core.permissions.environment import Environment
from theater.core.values import Err, Ok
from theater.errors import ManifestError

WIT = "theater:simple/environment"


def asked(function: str, *args: str, answer: object = None) -> Asked:
    return Asked(WIT, function, args, answer)


def test_nothing_is_granted_by_default() -> None:
    assert Environment().of({"HOME": "/root"}) == {}


def test_names_and_beginnings_of_names_are_granted() -> None:
    granted = Environment(("HOME", "APP_*"))
    assert granted.of({"APP_B": "2", "HOME": "/", "HOMER": "d", "APP": "1", "APP_": "3", "_APP_": "4"}) == {
        "APP_": "3",
        "APP_B": "2",
        "HOME": "/",
    }


@pytest.mark.parametrize(
    ("child", "parent", "excess"),
    [
        (("HOME",), ("HOME",), None),
        (("APP_A", "APP_B_*"), ("APP_*",), None),
        (("A*",), ("*",), None),
        (("HOME", "PATH"), ("HOME",), "see the variables PATH"),
        (("APP_*",), ("APP_A",), "see the variables APP_*"),
        (("APP*",), ("APP_*",), "see the variables APP*"),
        (("*",), ("A*",), "see the variables *"),
    ],
)
def test_a_child_sees_no_more_than_its_parent(
    child: tuple[str, ...], parent: tuple[str, ...], excess: str | None
) -> None:
    assert Environment(child).excess(Environment(parent)) == excess


def test_what_was_asked_for_and_granted_was_used() -> None:
    granted = Environment(("APP_*", "HOME"))
    calls = [asked("get-var", "APP_A", answer="1"), asked("exists", "APP_B"), asked("get-var", "PATH")]
    assert granted.used(calls).variables == ("APP_A", "APP_B")
    assert granted.used([*calls, asked("list-vars", answer=[])]) == granted
    assert granted.used([]).variables == ()


@pytest.mark.parametrize("wrong", ["A B", "*A", "A**", "1A", "", "A=B", 7])
def test_what_is_no_name_is_refused_with_its_line(wrong: object) -> None:
    shown = f'"{wrong}"' if isinstance(wrong, str) else wrong
    text = f'name = "a"\ncomponent = "a.wasm"\n[[handler]]\ntype = "environment"\nvariables = [{shown}]\n'
    with pytest.raises(ManifestError, match=r"^m:5: .*variables.*allowed"):
        parse(text, "m")


def test_a_refused_call_is_one_that_was_told_an_error() -> None:
    assert asked("x", answer=Err("no")).refused
    assert not asked("x", answer=Ok("yes")).refused
    assert not asked("x").refused
