"""Replay of chains: each is performed again in a process of its own, with nothing behind it but its record.

The rules are in core/replay.py. `replay_home` and `replay_chain` start that process and say what came of it.
"""

from theater.replay.guard import End
from theater.replay.home import replay_chain, replay_home, words

__all__ = ["End", "replay_chain", "replay_home", "words"]
