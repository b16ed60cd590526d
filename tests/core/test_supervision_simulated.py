"""Whole lives of supervisors under chaos (simulator.py): the machine breaks no rule, and planted bugs are found."""

from __future__ import annotations

from collections import deque

import pytest
from simulator import Life, lives
from supervised_clerk import Broken
from supervised_world import CRASH

from theater.core.child_spec import Restart, Strategy
from theater.core.exit_reason import ExitKind
from theater.core.intensity import RestartIntensity
from theater.core.supervision import ChildRef, Command, Refusal, RetryLater, Supervisor

SEEDS = range(1200)
"""More than 100,000 events. Every planted bug below is found within the first lives; so would be its like."""


def test_no_life_breaks_a_rule() -> None:
    """1.3 to 1.11, as far as they can be told from events and commands alone."""
    assert sum(lives(SEEDS)) > 100_000


@pytest.mark.parametrize("seed", range(0, 40, 7))
def test_the_same_seed_has_the_same_history(seed: int) -> None:
    once, twice, another = (Life(number, record=True).run().digest for number in (seed, seed, seed + 1))
    assert once == twice
    assert once != another


# ---- planted bugs


class StopsOldestFirst(Supervisor):
    """1.6: a mass restart stops in order of start."""

    def _restart_steps(self, pivot):
        steps = super()._restart_steps(pivot)
        stops = [step for step in steps if step[0] == self._stop_step]
        return deque([*reversed(stops), *list(steps)[len(stops) :]])


class EndsOldestFirst(Supervisor):
    """1.9: the end stops in order of start."""

    def _end(self, reason):
        super()._end(reason)
        self._plan.steps.reverse()


class LeavesTheOldest(Supervisor):
    """1.9: the end forgets one."""

    def _end(self, reason):
        super()._end(reason)
        if self._plan.steps:
            self._plan.steps.pop()


class AllowsOneMore(Supervisor):
    """1.5.2: intensity + 1 attempts."""

    def __init__(self, flags, specs=(), **more):
        super().__init__(flags, specs, **more)
        self._intensity = RestartIntensity(flags.intensity + 1, flags.period)


class AllowsOneLess(Supervisor):
    """1.5.2: intensity - 1 attempts."""

    def __init__(self, flags, specs=(), **more):
        super().__init__(flags, specs, **more)
        self._intensity = RestartIntensity(max(flags.intensity - 1, 0), flags.period)


class HasAShorterWindow(Supervisor):
    """1.5.1: the far end of the window is left out."""

    def __init__(self, flags, specs=(), **more):
        super().__init__(flags, specs, **more)
        self._intensity = RestartIntensity(flags.intensity, flags.period - 1)


class RetriesForFree(Supervisor):
    """1.5.3: failed attempts do not count."""

    def _try_again(self, child):
        self._admit_restart = lambda: True
        super()._try_again(child)
        del self._admit_restart


class CountsEveryChild(Supervisor):
    """1.5.4: a mass restart counts once for each child."""

    def _restart_steps(self, pivot):
        steps = super()._restart_steps(pivot)
        for _ in range(len(steps) // 2 - 1):
            self._admit_restart()
        return steps


class BelievesOldExits(Supervisor):
    """1.25: an exit of an older incarnation is taken for one of the present."""

    def exited(self, child, reason, now):
        record = self._children.get(child.id)
        return super().exited(child if record is None else record.ref, reason, now)


class DoesNotWait(Supervisor):
    """1.8: goes on when a child has been asked to end."""

    def _ask_to_end(self, record):
        super()._ask_to_end(record)
        self._awaited.clear()


class NeverKills(Supervisor):
    """1.8: there is no end to its patience."""

    def _set_timer(self, record, seconds):
        pass


class LeavesTimers(Supervisor):
    """1.8: a timer outlives the stop."""

    def _cancel_timer(self, record):
        record.timer = None


class ForgetsExitsWhenBusy(Supervisor):
    """1.3.4, 1.13: what arrives at the wrong moment is lost."""

    def _post(self, handle, arguments, caller=None):
        if caller is not None or not self.busy:
            super()._post(handle, arguments, caller)


class RestartsForUsedUpExits(Supervisor):
    """1.6.5: an exit that a stop has used up is handled again."""

    def _use_up_exit(self, record, reason):
        super()._use_up_exit(record, reason)
        if self._ending is None and record.spec.id in self._children:
            self._post(self._restart, (record, reason))


class RestartsNormalEnds(Supervisor):
    """1.4: transient is treated like permanent."""

    def _consider_auto_shutdown(self, spec):
        if spec.restart is Restart.TRANSIENT and spec.id in self._children:
            record = self._children[spec.id]
            self._restart(record, record.last_exit)
        else:
            super()._consider_auto_shutdown(spec)


class SparesNormalEnds(Supervisor):
    """1.4: permanent is treated like transient."""

    def _restart(self, record, reason):
        if reason.is_normal:
            self._keep_or_remove(record)
        else:
            super()._restart(record, reason)


class RestartsTemporaries(Supervisor):
    """1.6.2: temporary siblings come back."""

    def _keep_or_remove(self, record):
        restart = record.spec.restart
        object.__setattr__(record.spec, "restart", Restart.TRANSIENT)
        super()._keep_or_remove(record)
        object.__setattr__(record.spec, "restart", restart)

    def _restart_steps(self, pivot):
        steps = super()._restart_steps(pivot)
        started = {id for step, id in steps if step == self._start_step}
        return steps + deque((self._start_step, id) for _, id in steps if id not in started)


class ForgetsRetries(Supervisor):
    """1.7.1: a failed restart is not tried again."""

    def _emit(self, command: Command) -> None:
        if not isinstance(command, RetryLater):
            super()._emit(command)


class RestartsOnlyTheFailed(Supervisor):
    """1.6: a mass restart that fails is resumed as if it were for one."""

    def _try_again(self, child):
        super()._try_again(child)
        if self._plan is not None and self._ending is None:
            self._plan.steps = deque(step for step in self._plan.steps if step == (self._start_step, child.id))


class ReusesNumbers(Supervisor):
    """1.25: the successor has its predecessor's number."""

    def _next_incarnation(self, id):
        return ChildRef(id, self._incarnations.setdefault(id, 1))


class IgnoresTheUndead(Supervisor):
    """1.8: starts a successor beside a process that could not be killed."""

    def _leftover(self, id):
        return None


class AnswersTwice(Supervisor):
    """1.11."""

    def _refuse_all(self):
        super()._refuse_all()
        if self._plan is not None:
            self._answer(self._plan.caller, self._down())


class LosesCallers(Supervisor):
    """1.11: whoever waits when the end comes is never answered."""

    def _refuse_all(self):
        self._mailbox.clear()


class ServesTheLastFirst(Supervisor):
    """1.11: the mailbox is a stack."""

    def _post(self, handle, arguments, caller=None):
        super()._post(handle, arguments, caller)
        self._mailbox.rotate(1)


class StartsWhileEnding(Supervisor):
    """1.9: a start that is under way when the stop comes is left to itself."""

    def _cut_start_short(self):
        pass


class EndsForACall(Supervisor):
    """1.10: terminate_child of a significant child ends the supervisor."""

    def _terminate_child(self, caller, id):
        super()._terminate_child(caller, id)
        if id in self._children:
            self._post(self._consider_auto_shutdown, (self._children[id].spec,))


class RetriesAtOnce(Supervisor):
    """1.23: there are no pauses."""

    def _pause(self, child):
        return 0.0


class PausesAreAllTheSame(Supervisor):
    """1.23: the second is as long as the first."""

    def _pause(self, child):
        child.failures = 0
        return super()._pause(child)


class PausesGrowForEver(Supervisor):
    """1.23: without a cap."""

    def _pause(self, child):
        pause = super()._pause(child)
        backoff = child.spec.backoff or self._flags.backoff
        return pause if backoff is None else max(pause, backoff.initial * 2 ** (child.failures - 1) / 1000)


class NeverForgives(Supervisor):
    """1.23: a long life does not make good for the failures before it."""

    def _end_of_life(self, child, reason):
        failures = child.failures
        super()._end_of_life(child, reason)
        child.failures = failures


class CountsFailuresToo(Supervisor):
    """1.5.3, 1.23: what is attempted after a pause counts twice."""

    def _retry_after(self, child, seconds):
        super()._retry_after(child, seconds)
        self._admit_restart()


class TriesTheCancelledAgain(Supervisor):
    """1.7.2: who was terminated while it was restarting comes back."""

    def _try_again(self, ref):
        child = self._children.get(ref.id)
        if child is not None and child.ref == ref and child.life != "running":
            self._restart(child, child.last_exit)


class KillsBeforeTheDeadline(Supervisor):
    """1.25: a start has half of its time."""

    def _set_timer(self, child, seconds):
        super()._set_timer(child, seconds / 2 if child.life == "starting" else seconds)


class HasNoStartDeadline(Supervisor):
    """1.25: a start that hangs, hangs."""

    def _set_timer(self, child, seconds):
        if child.life != "starting":
            super()._set_timer(child, seconds)


class SaysNothingOfTheDeadline(Supervisor):
    """1.25: a start that took too long has failed, but nobody is told why."""

    def _fail_start(self, child, reason):
        super()._fail_start(child, CRASH)


class TakesEverybody(Supervisor):
    """1.22: there is no limit of children."""

    def _unless_welcome(self, spec):
        refused = super()._unless_welcome(spec)
        return None if refused is not None and refused.why is Refusal.MAX_CHILDREN else refused


class EndsOneByOne(Supervisor):
    """1.9.4: what should stop at once does not."""

    def _stops_in_parallel(self):
        return False


class EndsAtOnce(Supervisor):
    """1.9.3: what should stop one by one does not."""

    def _stops_in_parallel(self):
        return True


class EndsInItsOwnTime(Supervisor):
    """1.9, 1.24: the end has no deadline."""

    def _limit_end(self):
        pass


class SparesWhoIsLate(Supervisor):
    """1.9, 1.24: the deadline of the end has no consequence."""

    def _kill_all(self):
        if self._ending.kind is ExitKind.KILLED:
            super()._kill_all()


class KeepsTheEnded(Supervisor):
    """1.11: a dynamic supervisor keeps specs, as if it were static."""

    def _keep_or_remove(self, child):
        self._is_dynamic = False
        super()._keep_or_remove(child)
        self._is_dynamic = self.flags.strategy is Strategy.DYNAMIC


class ChangesNoOrder(Supervisor):
    """1.18: the new order is not taken over."""

    def _merge(self, specs):
        self._children |= {spec.id: self._respecified(spec) for spec in specs}


class ChangesLives(Supervisor):
    """1.18: a child with a new spec loses its process."""

    def _respecified(self, spec):
        return self._new_child(spec)


class ChangesNoFlags(Supervisor):
    """1.18: the old intensity holds."""

    def _change(self, caller, flags, specs, lives):
        intensity, self._intensity = self._intensity, RestartIntensity(0, 1)
        super()._change(caller, flags, specs, lives)
        self._intensity = intensity


def _planted() -> list[type[Supervisor]]:
    return [bug for bug in Supervisor.__subclasses__() if bug.__module__ == __name__]


@pytest.mark.parametrize("bug", _planted(), ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: type[Supervisor]) -> None:
    """Each one is a change of a few words, of the kind that somebody will make."""
    with pytest.raises(Broken):
        deque(lives(SEEDS, bug), maxlen=0)
