"""Puts an attacker in the place of every worker whose actor is called `hostile-...`.

Python imports a module of this name when it starts, so a server that is run with this folder on its path is the one
that users run, but for its spawner: from there on, once such an actor is up and its walls stand, somebody else goes on
in its process, as if its guest had broken out. It has all that the worker has: its memory, its line, its links.
"""

from __future__ import annotations

import sys

if "theater.server.spawner" in sys.orig_argv:
    import attacks

    from theater.worker.actor import Actor

    _serve = Actor.serve

    def _serve_or_attack(self: Actor) -> None:
        if self._is.name.startswith("hostile-"):
            attacks.begin(self, self._is.name.split("-")[1])
        _serve(self)

    Actor.serve = _serve_or_attack  # type: ignore[method-assign, assignment]
