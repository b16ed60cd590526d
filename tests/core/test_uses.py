"""Granted against used: what a record shows, and the least manifest that would have done."""

from __future__ import annotations

from theater.core.handlers import MESSAGE_SERVER_CLIENT
from theater.core.manifest import Manifest, parse
from theater.core.manifest_text import write
from theater.core.permissions import Asked
from theater.core.uses import Tally, Use, smallest
from theater.core.values import Err, Ok

ME = "10000000-0000-4000-8000-000000000001"
ENVIRONMENT = "theater:simple/environment"


def actor(*tables: str) -> Manifest:
    rows = [table.partition(" ") for table in tables]
    text = "".join(f'[[handler]]\ntype = "{name}"\n{keys}\n' for name, _, keys in rows)
    return parse(f'name = "a"\ncomponent = "a.wasm"\n{text}', "m")


def used(manifest: Manifest, *calls: Asked, handled: tuple[str | None, ...] = ()) -> dict[str, Use]:
    tally = Tally(manifest, ME)
    for call in calls:
        tally.asked(call)
    for sender in handled:
        tally.handled(MESSAGE_SERVER_CLIENT, "handle-send", sender)
    return {use.type: use for use in tally.uses()}


def suggested(manifest: Manifest, uses: dict[str, Use], *imports: str, children: tuple[Manifest, ...] = ()) -> str:
    """The suggestion, which must read back as what it is."""
    least = smallest(manifest, uses.values(), imports, children)
    text = write(least)
    assert parse(text, "suggested") == least
    return text


def get(name: str, answer: object = "value") -> Asked:
    return Asked(ENVIRONMENT, "get-var", (name,), answer)


def test_what_was_called_is_counted_and_what_was_refused() -> None:
    manifest = actor("timing", 'environment variables = ["*"]')
    sleep = Asked("theater:simple/timing", "sleep", (1,), Ok(None))
    found = used(manifest, get("A"), get("A"), get("B"), sleep, sleep._replace(answer=Err("too long")))
    assert (found["environment"].calls, found["environment"].refused) == (3, 0)
    assert (found["timing"].functions, found["timing"].refusals) == ({"sleep": 2}, {"too long": 1})


def test_the_suggestion_grants_what_was_used_and_no_more() -> None:
    manifest = actor("timing", "store", 'environment variables = ["A*", "B"]', "message-server")
    text = suggested(manifest, used(manifest, get("AB"), get("C", None), handled=(None,)))
    assert parse(text, "m").handler_types == {"environment", "message-server"}
    assert 'variables = ["AB"]' in text


def test_what_was_only_refused_is_not_suggested() -> None:
    found = used(actor("timing"), Asked("theater:simple/timing", "sleep", (9**9,), Err("too long")))
    assert (found["timing"].used, found["timing"].calls) == (None, 1)
    assert smallest(actor("timing"), found.values(), (), ()).handlers == ()


def test_what_is_asked_for_without_a_grant_is_shown() -> None:
    found = used(actor(), Asked("theater:simple/random", "random-float", (), Err("not granted")))
    assert (found["random"].granted, found["random"].refused) == (None, 1)
    assert found["runtime"].granted is not None if "runtime" in found else True


def test_what_a_component_imports_it_must_be_granted_though_it_calls_none() -> None:
    manifest = actor("timing", 'environment variables = ["A"]')
    text = suggested(manifest, used(manifest), "theater:simple/environment", "wasi:io/streams@0.2.0")
    assert text.endswith('[[handler]]\ntype = "environment"\n')


def test_messages_need_the_message_server_unless_they_are_the_actors_own_timers() -> None:
    manifest = actor("message-server", "timers")
    assert used(manifest, handled=(ME, ME))["timers"].calls == 2
    assert used(manifest, handled=(ME, None))["message-server"].functions == {"handle-send": 1}
    assert used(actor("timers"), handled=(None,))["timers"].used is not None


def test_what_only_children_need_is_passed_on() -> None:
    manifest = actor("supervisor", "store", "timing", 'environment variables = ["A"]')
    spawned = Asked("theater:simple/supervisor", "spawn", ("child.toml", None), Ok("id"))
    children = actor("store"), actor('environment variables = ["A"]')
    text = suggested(manifest, used(manifest, spawned), children=children)
    found = parse(text, "m")
    assert found.handler_types == {"supervisor"}
    assert [(grant.type, grant.permissions) for grant in found.grants] == [
        (handler.type, handler.permissions) for handler in manifest.handlers if handler.type in ("store", "environment")
    ]


def test_a_long_record_is_summed_up_as_it_is_read() -> None:
    manifest = actor('environment variables = ["A*"]')
    calls = [get(f"A{number % 3}", f"answer {number}") for number in range(5000)] + [get("AX")]
    text = suggested(manifest, used(manifest, *calls))
    assert 'variables = ["A0", "A1", "A2", "AX"]' in text


def test_arguments_that_are_no_text_do_not_matter() -> None:
    odd = Asked(ENVIRONMENT, "get-var", ({"a": [b"x"]},), None)
    assert used(actor("environment"), odd)["environment"].calls == 1
