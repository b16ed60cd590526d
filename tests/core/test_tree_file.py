from __future__ import annotations

import dataclasses
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.child_spec import AutoShutdown, Restart, ShutdownRule, StopOrder, Strategy
from theater.core.manifest import Backoff
from theater.core.tree_file import EMPTY, FOREVER, ChildRow, SupervisorRow, TreeFile, from_plain, parse, to_plain
from theater.errors import ManifestError

TREE = """\
[[supervisor]]
name = "root"
intensity = 9
[[child]]
name = "first"
manifest = "a/manifest.toml"
[[supervisor]]
name = "pool"
under = "root"
strategy = "one_for_all"
auto_shutdown = "any_significant"
[[child]]
name = "second"
under = "pool"
manifest = "a/manifest.toml"
restart = "transient"
shutdown = "infinity"
significant = true
[[supervisor]]
name = "inner"
under = "pool"
[[child]]
name = "last"
manifest = "b/manifest.toml"
"""


def problem(text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        parse(text, "theater.toml")
    return caught.value.message


def test_rows_keep_the_order_of_the_file_across_both_kinds() -> None:
    tree = parse(TREE, "theater.toml")
    assert [row.name for row in tree.rows] == ["first", "pool", "second", "inner", "last"]
    assert [row.name for row in tree.under("root")] == ["first", "pool", "last"]
    assert [row.name for row in tree.under("pool")] == ["second", "inner"]


def test_every_key_lands_in_its_field() -> None:
    tree = parse(TREE, "theater.toml")
    assert tree.root == SupervisorRow("root", intensity=9)
    assert tree.rows[1] == SupervisorRow(
        "pool", strategy=Strategy.ONE_FOR_ALL, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT
    )
    assert tree.rows[2] == ChildRow(
        "second",
        "a/manifest.toml",
        under="pool",
        restart=Restart.TRANSIENT,
        shutdown=ShutdownRule.INFINITY,
        significant=True,
    )
    assert tree.rows[0] == ChildRow("first", "a/manifest.toml", under="root", restart=None, shutdown=None)


def test_what_otp_lacks_can_be_said_of_a_supervisor_and_of_a_child() -> None:
    pool = 'backoff = { initial = "1s", jitter = 0 }\nmax_children = 3\nstop = "parallel"\nstop_deadline = "2s"\n'
    text = f'[[supervisor]]\nname = "pool"\n{pool}'
    text += '[[child]]\nname = "a"\nmanifest = "a.toml"\nunder = "pool"\nbackoff = { max = "9s" }\n'
    text += 'start_timeout = "infinity"\n[[child]]\nname = "b"\nmanifest = "b.toml"\nstart_timeout = "3s"\n'
    assert parse(text, "theater.toml").rows == (
        SupervisorRow(
            "pool", backoff=Backoff(1000, 30_000, 0.0), max_children=3, stop=StopOrder.PARALLEL, stop_deadline=2000
        ),
        ChildRow("a", "a.toml", "pool", backoff=Backoff(100, 9000, 0.2), start_timeout=FOREVER),
        ChildRow("b", "b.toml", start_timeout=3000),
    )


def test_a_dynamic_supervisor_starts_empty() -> None:
    text = '[[supervisor]]\nname = "pool"\nstrategy = "dynamic"\n'
    assert parse(text, "theater.toml").supervisors[0].strategy is Strategy.DYNAMIC
    sentence = problem(text + '[[child]]\nname = "a"\nmanifest = "a.toml"\nunder = "pool"\n')
    assert sentence.startswith('theater.toml:7: [[child]] under: "pool" is dynamic, so it starts empty; allowed:')


@pytest.mark.parametrize("tree", [EMPTY, parse(TREE, "theater.toml")])
def test_the_plain_form_is_read_back(tree: TreeFile) -> None:
    assert from_plain(to_plain(tree)) == tree


def test_a_plain_form_that_is_no_tree_is_refused() -> None:
    for plain in ({}, {"root": {}, "rows": []}, {"root": {"name": "root"}, "rows": [["actor", {}]]}):
        with pytest.raises(ManifestError):
            from_plain(plain)


def test_an_empty_file_is_a_tree_without_rows() -> None:
    assert parse("", "theater.toml") == EMPTY


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('under = "pool"', 'under = "pol"', r':14: \[\[child\]\] under: "pol" is no supervisor; .*did you mean pool\?'),
        ('under = "pool"', 'under = "inner"', r':14: .* "inner" comes later, at line 19; allowed: a supervisor that'),
        ('under = "root"', 'under = "inner"', r":9: .*pool is under inner is under pool: a circle"),
        ('under = "root"', 'under = "pool"', r":9: .*pool is under pool: a circle"),
        ('under = "root"', 'under = "first"', r':9: \[\[supervisor\]\] under: "first" is no supervisor; allowed: root'),
        ('"second"', '"first"', r':13: \[\[child\]\] name: "first" is the name of the row at line 4; allowed: a name'),
        ('"second"', '"pool"', r':13: \[\[child\]\] name: "pool" is the name of the row at line 7'),
        ('"second"', '"root"', r':13: \[\[child\]\] name: found "root", the server\'s own supervisor'),
        ("intensity = 9", 'restart = "temporary"', r":3: .*the server's own supervisor is under no other; allowed for"),
        ('"one_for_all"', '"one4all"', r":10: .* allowed: one_for_one, one_for_all, rest_for_one"),
        ('"transient"', '"permanent"', r":18: .*significant: what is permanent is always restarted"),
        ('"any_significant"', '"never"', r':18: .*the auto_shutdown of "pool" is never; allowed: under'),
        ('manifest = "b/manifest.toml"', "", r":22: \[\[child\]\] manifest is missing"),
        ("manifest =", "manifset =", r":6: \[\[child\]\] manifset is not a key; allowed: name, .*mean manifest\?"),
        ("[[child]]", "[[children]]", r":4: children is not a key; allowed: supervisor, child; did you mean child\?"),
        ("strategy", "strateggy", r":10: \[\[supervisor\]\] strateggy is not a key; .*did you mean strategy\?"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_is_allowed(before: str, after: str, expected: str) -> None:
    assert before in TREE
    sentence = problem(TREE.replace(before, after, 1))
    assert re.search(expected, sentence), sentence
    assert sentence.startswith("theater.toml:")


@given(st.lists(st.sampled_from([*TREE.splitlines(keepends=True), "[", "]", "{", "=", '"""', "\n"])).map("".join))
def test_no_text_raises_anything_but_a_manifest_error(text: str) -> None:
    with suppress(ManifestError):
        parse(text, "theater.toml")


# ---- docs/tree-file.md

PAGE = (Path(__file__).parents[2] / "docs" / "tree-file.md").read_text()
SECTIONS = dict(re.findall(r"^## `\[\[([a-z]+)\]\]`\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(("section", "row"), [("supervisor", SupervisorRow), ("child", ChildRow)])
def test_every_key_is_documented_and_no_other(section: str, row: type) -> None:
    documented = re.findall(r"^\| `([a-z_]+)` \|", SECTIONS[section], re.MULTILINE)
    assert set(documented) == {field.name for field in dataclasses.fields(row)}


def test_the_documented_defaults_are_the_defaults() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| `([^`]+)` \|", SECTIONS["supervisor"], re.MULTILINE)
    text = '[[supervisor]]\nname = "pool"\n' + "".join(f"{key} = {value}\n" for key, value in rows)
    assert parse(text, "page").supervisors == (SupervisorRow("pool"),)


def test_the_tree_of_the_page_is_one() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert [row.name for row in parse(example, "docs/tree-file.md").rows] == ["pool", "workers", "a", "b"]
