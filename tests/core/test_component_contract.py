from __future__ import annotations

import pytest

from theater.core.component_contract import check
from theater.core.handlers import HANDLERS
from theater.core.manifest import Manifest, parse

ACTOR = {"theater:simple/actor": {"init"}}
CLIENT = {"theater:simple/message-server-client": {"handle-send", "handle-request"}}


def manifest(*types: str) -> Manifest:
    rows = "".join(f'[[handler]]\ntype = "{name}"\n' for name in types)
    return parse(f'name = "a"\ncomponent = "a.wasm"\n{rows}', "m")


def test_what_every_actor_may_import_needs_no_handler() -> None:
    imports = {
        "theater:simple/runtime": {"log"},
        "theater:simple/types": set[str](),
        "theater:otp/identity@0.1.0": {"self"},
        "wasi:clocks/wall-clock@0.2.0": {"now"},
    }
    assert check(manifest(), imports, ACTOR) == []


@pytest.mark.parametrize(
    ("interface", "handler"),
    [
        (name, handler)
        for handler, row in HANDLERS.items()
        for name in sorted(row.imports)
        if handler not in ("runtime", "identity")
    ],
)
def test_an_import_needs_its_handler(interface: str, handler: str) -> None:
    exports = {**ACTOR, **CLIENT}
    (sentence,) = check(manifest(), {interface: {"f"}}, exports)
    assert sentence.startswith(f"the component imports {interface}, which the manifest does not grant;")
    assert sentence.endswith(f'add a [[handler]] with type = "{handler}"')
    assert check(manifest(handler), {interface: {"f"}}, exports) == []


def test_an_unknown_interface_is_told_apart_from_one_that_is_not_granted() -> None:
    imports = {"theater:simple/http-client": {"send-http"}, "other:theater/runtime": {"log"}}
    assert check(manifest(), imports, ACTOR) == [
        "the component imports other:theater/runtime, which this version does not know",
        "the component imports theater:simple/http-client, which the manifest does not grant; add a [[handler]] with "
        'type = "http-client"',
    ]


@pytest.mark.parametrize("exports", [{}, CLIENT, {"theater:simple/actor": {"start"}}])
def test_every_actor_exports_init(exports: dict[str, set[str]]) -> None:
    sentence = "the component does not export theater:simple/actor with the function init; every actor needs it"
    assert check(manifest(), {}, exports) == [sentence]


def test_an_actor_that_only_sends_exports_no_handlers() -> None:
    assert check(manifest("message-server"), {"theater:simple/message-server-host": {"send"}}, ACTOR) == []


def test_timers_need_somewhere_to_arrive() -> None:
    imports = {"theater:otp/timers@0.1.0": {"send-after"}}
    (sentence,) = check(manifest("timers"), imports, ACTOR)
    assert "handle-send, where its timers' messages arrive" in sentence
