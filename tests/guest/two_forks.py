"""Two forks of one template that has loaded a program: each prints the random numbers that it draws."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from loaded import Loaded
from recording_host import RecordingHost

from theater.wasm.artefacts import ArtefactCache

SOURCE = b"""
import random, secrets, uuid
import theater

own = random.Random()


class Dice(theater.Actor):
    def handle_request(self, message):
        return [random.random(), own.random(), random.SystemRandom().random(), secrets.token_hex(), str(uuid.uuid4())]
"""


def main(cache: str, component: str) -> None:
    artefact = ArtefactCache(Path(cache)).find(component, fuel=False)
    assert artefact is not None
    actor = Loaded(artefact, RecordingHost(), {"actor.py": SOURCE})
    for _ in range(2):
        child = os.fork()
        if child == 0:
            actor.init()
            print(json.dumps(actor.ask(None)), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
