"""`--retention` of `theater server` and `theater systemd`: the words of a manifest's `[chain] retention`."""

from __future__ import annotations

import click
import pytest
from commandline import Theater
from theater_cli.retention import read

from theater.core.manifest import Retention


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ((), None),
        (("entries=1000",), Retention(entries=1000)),
        (("bytes=10GiB", "age=30d"), Retention(bytes=10 << 30, age=30 * 86_400_000)),
        (("bytes=65536",), Retention(bytes=65536)),
    ],
)
def test_each_option_is_one_limit(texts: tuple[str, ...], found: Retention | None) -> None:
    assert read(texts) == found


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (("30d",), "has no =; allowed: entries=N, bytes=SIZE, age=TIME"),
        (("age=30d", "age=31d"), "is there twice"),
        (("age=soon",), 'age: "soon" is not a duration'),
        (("age=",), 'age: "" is not a duration'),
        (("entries=99",), "entries: found 99"),
        (("entries=" + "9" * 5000,), "entries: found"),
        (("bytes=1",), "bytes: found 1"),
        (("days=3",), "days"),
        (("=3",), "--retention"),
    ],
)
def test_what_is_none_is_refused_with_what_is_allowed(texts: tuple[str, ...], why: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        read(texts)
    assert why in refused.value.message
    assert "\n" not in refused.value.message


def test_a_server_does_not_start_with_what_is_none(theater: Theater) -> None:
    done = theater("server", "--retention", "age=soon")
    assert done.code == 2
    assert "--retention" in done.err
    assert not (theater.home / "key").exists()


def test_a_unit_has_it_and_a_wrong_one_is_not_written(theater: Theater) -> None:
    done = theater("systemd", "print", "--retention", "age=365d", "--retention", "bytes=1GiB")
    assert " server --retention age=365d --retention bytes=1GiB\n" in done.text
    assert theater("systemd", "print", "--retention", "age=soon").code == 2
