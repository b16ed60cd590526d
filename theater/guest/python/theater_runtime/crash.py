"""How an exception ends this life of the actor: the traceback to its log, then a trap."""

import os
import sys
import traceback
from typing import NoReturn

from theater_runtime import program, streams


def crash(error: BaseException) -> NoReturn:
    """Ends the instance. `SystemExit` leaves as a program does, anything else with a traceback and a trap."""
    if isinstance(error, SystemExit):
        _leave(error.code)
    sys.stderr.write(text_of(error))
    streams.flush()
    os.abort()


def text_of(error: BaseException) -> str:
    """The traceback of an exception, beginning at the actor's own code if it comes by there."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename not in program.modules.files:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


def _leave(code: object) -> NoReturn:
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
    streams.flush()
    os._exit(0 if code is None else code if isinstance(code, int) else 1)
