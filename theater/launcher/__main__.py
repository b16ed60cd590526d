"""`python -m theater.launcher`: started by the supervisor (theater/server/services.py)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from theater import config
from theater.core.handlers import LAUNCHER
from theater.launcher.board import Board
from theater.launcher.commands_desk import CommandsDesk
from theater.launcher.program import Keeping
from theater.launcher.programs_desk import ProgramsDesk
from theater.launcher.walls import ProgramWalls, seal
from theater.service.office import Desk, Office
from theater.service.process import run


def desks(office: Office, home: Path) -> Sequence[Desk]:
    """What the launcher does."""
    walls = ProgramWalls.of_this_machine([str(home), str(config.cache())])
    keeping = Keeping(adopts=True, walls=walls)
    board = Board(office.announce, keeping)
    return ProgramsDesk(office.invoke, board, keeping, office.log), CommandsDesk(board, keeping)


if __name__ == "__main__":
    sys.exit(run(LAUNCHER, desks, lambda home: seal()))
