from __future__ import annotations

import re
from pathlib import Path

import pytest

from theater.core.handlers import HANDLERS, handled_exports
from theater.errors import BuildFailed
from theater.wasm.types import wit_signature
from theater.wasm.wit import DIRECTORY, known_interfaces, named, parse_package, resolve

FILES = {
    "a.wit": """
        package some:thing@1.2.0;
        /// What is used elsewhere.
        interface types {
            /* an alias, and one of an alias */
            type id = string;
            type ids = list<id>;
            record inner { x: id }
            record outer { all: list<inner>, kind: kind }
            enum kind { good, bad }
        }
    """,
    "b.wit": """
        package some:thing@1.2.0;
        interface calls {
            use types.{ids, outer, kind as sort};
            flags marks { a, b }
            variant choice { none, one(u8), %record(outer) }
            nothing: func();
            all: func(a: ids, b: option<outer>, %result: result<_, sort>,) -> result<tuple<marks, choice>>;
            bare: func() -> result;
        }
        world w { import types; export calls; include other { x as y } }
    """,
}


def test_an_interface_has_the_full_name_of_its_package() -> None:
    assert set(parse_package(FILES)) == {"some:thing/types@1.2.0", "some:thing/calls@1.2.0"}


def test_aliases_are_replaced_and_names_are_kept_across_files() -> None:
    functions = parse_package(FILES)["some:thing/calls@1.2.0"].functions
    types, calls = "some:thing/types@1.2.0", "some:thing/calls@1.2.0"
    assert functions["nothing"] == ((), None)
    assert functions["bare"] == ((), ("result", None, None))
    assert functions["all"].params == (
        ("a", ("list", "string")),
        ("b", ("option", ("named", types, "outer"))),
        ("result", ("result", None, ("named", types, "kind"))),
    )
    result = ("result", ("tuple", (("named", calls, "marks"), ("named", calls, "choice"))), None)
    assert functions["all"].result == result
    assert named(result) == [(calls, "marks"), (calls, "choice")]


def test_a_resolved_type_has_no_names() -> None:
    interfaces = parse_package(FILES)
    inner = ("record", (("x", "string"),))
    outer = ("record", (("all", ("list", inner)), ("kind", ("enum", ("good", "bad")))))
    choice = ("variant", (("none", None), ("one", "u8"), ("record", outer)))
    assert resolve(("named", "some:thing/calls@1.2.0", "choice"), interfaces) == choice


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interface x {\n  resource r;\n}", "f.wit:2: found ';\\n'|f.wit:2: .* expects"),
        ("interface x {\n\n  f: func(a: u8;\n}", "f.wit:4: found '}'"),
        ("interface x { f: func( }", "f.wit:1: "),
        ("interface x { f: func(a: list<u8>)", "f.wit:1: found 'the end'"),
        ("interface x { f: func(a: nowhere); }", "no type nowhere"),
        ("interface x { use y.{z}; f: func(a: z); }", "no type z"),
        ("import x;", "f.wit:1: .* expects package, interface or world"),
        ("interface x { f: func() -> \x00; }", "f.wit:1: "),
    ],
)
def test_what_it_does_not_know_is_refused_with_its_line(text: str, expected: str) -> None:
    with pytest.raises(BuildFailed, match=expected):
        parse_package({"f.wit": "package a:b;\n".replace("\n", " ") + text})


# ---- the files that ship


def test_every_interface_that_a_handler_grants_is_in_a_file() -> None:
    known = known_interfaces()
    for handler in HANDLERS.values():
        assert handler.imports <= set(known)
    assert handled_exports(frozenset(HANDLERS)) <= set(known)


def test_some_signatures_are_those_of_the_reference() -> None:
    known = known_interfaces()
    host = known["theater:simple/message-server-host"].functions
    assert wit_signature(host["request"]) == "func(actor-id: string, msg: list<u8>) -> result<list<u8>, string>"
    init = known["theater:simple/actor"].functions["init"]
    expected = "func(state: option<list<u8>>, params: tuple<string>) -> result<tuple<option<list<u8>>>, string>"
    assert wit_signature(init) == expected


def test_every_function_in_the_files_is_read() -> None:
    text = "".join(path.read_text() for path in Path(DIRECTORY).glob("*/*.wit"))
    declared = re.findall(r"^\s*%?[a-z][a-z0-9-]*: func\(", text, re.MULTILINE)
    assert len(declared) == sum(len(interface.functions) for interface in known_interfaces().values())
