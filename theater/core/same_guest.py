"""Whether a guest that is made here does what one did that was made elsewhere, or earlier.

What a guest does depends on what it is made of and on the engine: its name, its version and its settings, and on the
wrapper in which its component was compiled. It does not depend on the processor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theater.core.life import Life
from theater.errors import OtherEngine


def check_engine(life: Life, here: Mapping[str, Any]) -> None:
    """Refuses a life that ran on an engine which might do otherwise than ours.

    Args:
        here: the identity of our engine. The processor may be another: what a guest does does not depend on it.

    Raises:
        OtherEngine: it did.
    """
    recorded = life.engine
    if (recorded.get("name"), recorded.get("version")) != (here["name"], here["version"]):
        raise OtherEngine(
            f"entry {life.entry}: this life ran on {recorded.get('name')} {recorded.get('version')}, and "
            f"{here['name']} {here['version']} is installed here; replay it with that version"
        )
    theirs, ours = _flat(recorded), _flat(here)
    for setting in sorted(theirs | ours):
        if theirs.get(setting) != ours.get(setting):
            raise OtherEngine(
                f"entry {life.entry}: this life ran with {setting} = {theirs.get(setting)!r}, and this Theater has "
                f"{ours.get(setting)!r}; replay it with the version of Theater that recorded it"
            )


def check_wrapper(life: Life, wrapper: str, mode: str) -> None:
    """Refuses a life whose component was compiled in another wrapper than ours, which shows in fuel and backtraces.

    Args:
        wrapper: digest of the binary that we compile in place of the component, hex; empty if it is as it is.
        mode: how we compile the component.

    Raises:
        OtherEngine: it was.
    """
    recorded = life.engine.get("mode", mode)
    if (recorded, life.wrapper or "") != (mode, wrapper):
        raise OtherEngine(
            f"entry {life.entry}: this life ran in a wrapper ({recorded} {life.wrapper or ''}) that this Theater does "
            f"not make of its component ({mode} {wrapper}); replay it with the version of Theater that recorded it"
        )


def other_guest(before: Life, now: Life) -> str | None:
    """Why the guest of a life cannot have the memory of an earlier one: what it is made of has changed since. None if
    it can. What the guest feels of its limits is another question (`felt_limits`)."""
    if now.component != before.component:
        return "its component has changed"
    if now.program != before.program:
        return "its program has changed"
    try:
        check_engine(before, now.engine)
        check_wrapper(before, now.wrapper or "", str(now.engine.get("mode")))
    except OtherEngine:
        return "its engine, or the wrapper that its component is compiled in, has changed"
    return None


def _flat(engine: Mapping[str, Any]) -> dict[str, Any]:
    settings = engine.get("settings")
    return {"fuel": engine.get("fuel"), **(settings if isinstance(settings, Mapping) else {})}
