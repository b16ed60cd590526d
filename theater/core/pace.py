"""How much may be done in a time: a bucket that fills steadily and holds one second's worth. Pure: time is an argument.

`Pace` counts single things, messages above all, and says when there have been too many. `Share` counts time
of a processor, which is known only when it has been used: whoever has used too much rests until the bucket has
recovered.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """So many things a second, and as many at once after a second of rest.

    Args:
        rate: things in a second.
        since: monotonic seconds at which the bucket was full.
    """

    rate: float
    since: float

    def take(self, now: float) -> bool:
        """Whether one more may be done now; then it counts."""
        # What is in the bucket is kept as the time since when it has been filling, at most a second ago.
        since = max(self.since, now - 1.0) + 1.0 / self.rate
        if since > now + 1e-9:
            return False
        self.since = since
        return True

    def spend(self, now: float) -> float:
        """One more is done, whether it was time or not; from when on the next may be."""
        self.since = max(self.since, now - 1.0) + 1.0 / self.rate
        return self.since + 1.0 / self.rate


@dataclass(slots=True)
class Share:
    """A share of one processor, over times of a second and more.

    Args:
        share: 0.5 for half of a processor.
        since: monotonic seconds at which nothing was owed.
        used: seconds of processor that had been used then.
    """

    share: float
    since: float
    used: float

    def begins(self, now: float) -> None:
        """Work begins: what rest has saved up is a second's worth, no more."""
        self.since = max(self.since, now - 1.0)

    def ends(self, now: float, used: float) -> float:
        """Work has ended, and so much has been used in all; how long to rest before the next, in seconds."""
        self.since += (used - self.used) / self.share
        self.used = used
        return max(0.0, self.since - now)
