"""The memory of a life made again: its guest executes its lineage, answered by the record, before it meets its host.

The guest that the template has loaded will do if it was answered as the one with which the lineage begins, which most
guests are. Else another is loaded, with those answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from theater.core.codec import pack
from theater.core.life import Life
from theater.core.lineage import Lineage
from theater.core.replay import Script
from theater.core.replay_steps import Cut, Failed
from theater.core.snapshot import Answered
from theater.errors import Diverged, WrongState
from theater.wasm.guest import Guest
from theater.worker import program
from theater.worker.past import Past
from theater.worker.performer import Performer
from theater.worker.warm import Warm

_SLOWER: Final = 3
_PATIENCE_S: Final = 30.0
"""How much longer than its deadline a call may take: the machine may be busy with many actors that come back."""


def remember(
    past: Past,
    warm: Warm,
    read_program: Callable[[], bytes | None],
    call_timeout: float | None,
    between: Callable[[], None],
) -> tuple[Guest, list[Answered]]:
    """The guest of a life with the memory of its lineage, and what it was answered while it was loaded.

    Args:
        warm: what the template has loaded; its seam answers from the record until it is attached.
        read_program: the program that the component runs, if it runs one.
        call_timeout: seconds that a call of this life may last.
        between: called before each call.

    Raises:
        Diverged: the guest does something else than it did.
        IntegrityError: the record, or what it refers to, is damaged.
    """
    script = past.script()
    maker = _Maker(warm, read_program, past)
    timeout = None if call_timeout is None else _SLOWER * call_timeout + _PATIENCE_S
    performer = Performer(script, past.get, maker, timeout=timeout, between=between)
    performer.run()
    assert performer.guest is not None
    return performer.guest, script.loaded


class _Maker:
    """Makes the one guest of a lineage."""

    def __init__(self, warm: Warm, read_program: Callable[[], bytes | None], past: Past) -> None:
        self._warm = warm
        self._read_program = read_program
        self._past = past

    def make(self, life: Life, script: Script) -> Guest:
        seam, guest = self._warm.seam, self._warm.guest
        asked = list(seam.asked)
        seam.answer_from(script)
        assert isinstance(guest, Guest)
        if _was_answered_so(asked, self._past.script()):
            for each in asked:
                script.ask(each.interface, each.function, each.args)
            return guest
        guest.close()
        guest = Guest(self._warm.artefact, self._warm.host, loaded=guest.component)
        content = self._read_program()
        if content is not None:
            program.load(guest, content)
        guest.keep_image()
        return guest

    def remember(self, life: Life, lineage: Lineage, script: Script) -> Guest:
        raise WrongState("a lineage has no other in it")


def _was_answered_so(asked: list[Answered], script: Script) -> bool:
    """Whether the guest with which a script begins was loaded with these questions and answers."""
    try:
        script.next()
        answers = [script.ask(each.interface, each.function, each.args) for each in asked]
    except (Diverged, Cut, Failed):
        return False
    return script.is_loaded and pack(answers) == pack([each.value for each in asked])
