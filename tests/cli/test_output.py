"""What is written for a person, and for a program."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theater_cli import output

from theater.core.values import Case, Err, Ok, Some


@given(st.text())
def test_safe_text_has_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = output.safe(text)
    assert shown.isprintable()
    assert not set("\u202e\u2066\u200f") & set(shown)


@pytest.mark.parametrize(
    ("text", "shown"), [("a\x1b[2J", "a\\u001b[2J"), ("ä\u202e\n", "ä\\u202e\\n"), ("\x9b", "\\u009b")]
)
def test_what_is_escaped_stands_as_in_json(text: str, shown: str) -> None:
    assert output.safe(text) == shown


@given(st.binary())
def test_readable_bytes_have_nothing_that_a_terminal_obeys(data: bytes) -> None:
    assert all(line.isprintable() for line in output.readable(data).split("\n"))


def test_readable_json_is_indented() -> None:
    assert output.readable(b'{"a":[1]}') == '{\n  "a": [\n    1\n  ]\n}'


def test_bytes_in_json_are_text_or_base64() -> None:
    assert json.loads(output.json_text([b"text", b"\xff\x00"])) == ["text", {"base64": "/wA="}]


def test_values_of_wit_have_a_form_in_json() -> None:
    values = [Ok(1), Err("no"), Some(None), Case("a", b"b"), frozenset({"y", "x"})]
    assert json.loads(output.json_text(values)) == [{"ok": 1}, {"err": "no"}, {"some": None}, {"a": "b"}, ["x", "y"]]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 20, "3.0 MiB"), (1 << 50, "1048576.0 GiB")],
)
def test_sizes_are_in_the_unit_that_fits(count: int, shown: str) -> None:
    assert output.size(count) == shown


@pytest.mark.parametrize(("span", "shown"), [(5, "5 ms"), (3200, "3 s"), (7_200_000, "2 h"), (2 * 86_400_000, "2 d")])
def test_spans_are_in_the_unit_they_fill(span: float, shown: str) -> None:
    assert output.duration(span) == shown


def test_a_moment_is_utc_to_the_millisecond() -> None:
    assert output.when(1_500_000_000_123_999_999) == "2017-07-14T02:40:00.123Z"


def test_a_table_in_a_pipe_is_aligned_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("NAME", "N"), [("a" * 100, 1), (None, 22)], right=("N",))
    assert capsys.readouterr().out.splitlines() == [f"NAME{' ' * 98} N", f"{'a' * 100}   1", f"-{' ' * 101}22"]


def test_an_empty_list_is_an_empty_array(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json_list([])
    output.print_json_list([{"a": 1}, {"a": 2}])
    first, rest = capsys.readouterr().out.split("\n", 1)
    assert (first, json.loads(rest)) == ("[]", [{"a": 1}, {"a": 2}])
    assert rest.splitlines()[1] == '{"a":1},'


def test_progress_says_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("working") as say:
        say("still working")
    assert capsys.readouterr() == ("", "")
