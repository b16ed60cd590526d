"""Families: actors that have children are their supervisors, for the length of one life each.

A family is a branch (tree.py) of its own. It is there before the actor's `init` runs, and nobody outlives it: however
an actor ends, its children have ended, each by its rule, before that end is announced to the actor's own supervisor,
which may start it again. Asked to end, an actor goes on until its children have ended. A family that ends by its own
decision, since it gave up or a significant child is done, takes the actor with it.

A parent hears of every end of a child that it has not ordered itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from theater.chainlog.reader import ChainReader
from theater.config import Home
from theater.core.chain import Kind, resolve
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.secrets import redacted
from theater.core.supervision import ChildRef, Ended, Phase
from theater.core.wire import ChildEnded
from theater.errors import TheaterError
from theater.server.cast import Actor, Cast, State
from theater.server.loop import Loop
from theater.server.tree import Branch
from theater.server.wishes import family
from theater.store.content import ContentStore
from theater.worker.recovery import goes_on

if TYPE_CHECKING:
    from theater.server.stage import Stage, Worker

_DOWN = frozenset({State.STOPPED, State.FAILED})
_ENDED_KEPT = 100
"""Children of one actor that have ended for good and are still known; of older ones only their chains stay."""


class Families:
    """Begins and ends families along with the lives of the actors that have them.

    Attributes:
        forget: takes an actor out of the books.
    """

    def __init__(self, home: Home, content: ContentStore, loop: Loop, cast: Cast, stage: Stage) -> None:
        self._home = home
        self._content = content
        self._loop = loop
        self._cast = cast
        self._stage = stage
        self.forget: Callable[[Actor], None] = lambda actor: None

    # ---- beginning

    def begin(self, worker: Worker) -> None:
        """Founds the family of a life. A life that begins anew has none of the children of those before it."""
        actor = worker.actor
        if not actor.is_parent:
            return
        if not goes_on(actor.manifest.supervision.state, actor.head, resumed=actor.resumed):
            for child in self._cast.children(actor):
                self.forget(child)
        branch = actor.family = Branch(family(actor), self._loop, self._stage)
        branch.on_ended = lambda ended: self._over(worker, branch, ended)
        branch.start()

    # ---- ending

    def end(self, actor: Actor, then: Callable[[], None]) -> None:
        """Ends the actor's family, each child by its rule; `then` is called when nobody of it is left, now if so."""
        branch = actor.family
        if branch is None or branch.ended is not None:
            then()
        else:
            branch.when_ended.append(then)
            branch.stop()

    def kill(self, actor: Actor) -> None:
        """Kills the actor's family."""
        if actor.family is not None and actor.family.ended is None:
            actor.family.kill()

    def _over(self, worker: Worker, branch: Branch, ended: Ended) -> None:
        """A family has ended. Its children wait for what becomes of their parent, which may come back and want them."""
        for child in self._cast.children(worker.actor):
            if child.branch is branch and child.worker is None and child.state not in _DOWN:
                if child.wanted:
                    child.state = State.RESTARTING
                else:
                    self._stage.rest(child, State.STOPPED)
        if worker.actor.worker is worker and not worker.asked_to_end:
            self._stage.end_with_family(worker, ended.reason)

    def rest(self, parent: Actor) -> None:
        """The parent is down and stays so: children that waited for it do not wait any longer."""
        for child in self._cast.children(parent):
            if child.worker is None and child.state not in _DOWN:
                self._stage.rest(child, State.STOPPED)

    # ---- telling

    def tell(self, worker: Worker, reason: ExitReason) -> None:
        """Tells the parent that a life of its child is over, unless that was its own order."""
        parent = self._present_parent(worker.actor)
        if parent is None or not worker.ready or worker.ended_by == parent.actor.id:
            return
        how = _how(worker, reason)
        data = self._last_words(worker.actor) if reason.kind is ExitKind.NORMAL and reason.detail is not None else None
        self._tell(parent, worker.child, how, data, reason, worker.spoke_to_parent)

    def tell_of_failed_restart(self, actor: Actor, child: ChildRef, reason: ExitReason) -> None:
        """Tells the parent that its child, which was to be started again, did not come up."""
        parent = self._present_parent(actor)
        if parent is not None:
            self._tell(parent, child, "error", None, reason, False)

    def tell_of_failure(self, actor: Actor, error: TheaterError) -> None:
        """Tells the parent that its child could not come back."""
        reason = ExitReason.error(error.message)
        self.tell_of_failed_restart(actor, ChildRef(actor.id, actor.incarnation), reason)

    def tell_of_stop(self, actor: Actor, ended_by: str) -> None:
        """Tells the parent that its child, which had ended and was to be started again, has been stopped."""
        parent = self._present_parent(actor)
        if parent is not None and ended_by != parent.actor.id:
            reason = ExitReason.shutdown().as_commanded()
            self._tell(parent, ChildRef(actor.id, actor.incarnation), "external-stop", None, reason, False)

    def tidy(self, actor: Actor) -> None:
        """A child stays down. Of those that nobody will start again the oldest are forgotten."""
        parent = self._cast.get(actor.parent or "")
        if parent is not None:
            done = [child for child in self._cast.children(parent) if not child.wanted and child.state is State.STOPPED]
            for child in done[:-_ENDED_KEPT]:
                self.forget(child)

    def _present_parent(self, actor: Actor) -> Worker | None:
        """The life of the actor's parent, if the actor belongs to its family and that is not about to end."""
        parent = self._cast.get(actor.parent or "")
        if parent is None or parent.family is None or parent.family is not actor.branch:
            return None
        return parent.worker if parent.family.machine.phase is Phase.RUNNING else None

    def _tell(
        self, parent: Worker, child: ChildRef, how: str, data: bytes | None, reason: ExitReason, spoke: bool
    ) -> None:
        if self._stage.switchboard is not None:
            told = ChildEnded(child.id, child.incarnation, how, data, reason.to_dict(), spoke)
            self._stage.switchboard.tell(parent, told)

    def _last_words(self, actor: Actor) -> bytes | None:
        """What a life that has ended said at its end: the data of its `shutdown`."""
        try:
            with ChainReader(self._home.chain(actor.id)) as chain:
                (last,) = chain.tail(1)
            details = redacted(resolve(last.payload, self._content.get))[1] if last.kind is Kind.LIFECYCLE else {}
        except (TheaterError, OSError, ValueError):
            return None
        data = details.get("data")
        return data if isinstance(data, bytes) else None


def _how(worker: Worker, reason: ExitReason) -> str:
    """The word of `ChildEnded` for an end."""
    if worker.ended_by is not None or reason.commanded:
        return "external-stop"
    if reason.kind is ExitKind.SHUTDOWN:
        # Of its own accord a worker ends so only with its family; else somebody has sent it SIGTERM.
        return "exit" if worker.verdict is not None else "external-stop"
    return "exit" if reason.kind is ExitKind.NORMAL else "error"
