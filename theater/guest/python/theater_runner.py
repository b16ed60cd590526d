"""The runner: a component that becomes any Python actor by being given its source."""

import gc

from componentize_py_types import Err

from theater_runtime import crash, exports, library, program, randomness, streams

exports.import_bindings()
library.detach(program.modules, library.carry())
randomness.guard()
streams.install()
gc.collect()
gc.freeze()

Actor = exports.Actor
MessageServerClient = exports.MessageServerClient
SupervisorHandlers = exports.SupervisorHandlers
MonitorHandlers = exports.MonitorHandlers
HttpHandlers = exports.HttpHandlers
ProcessHandlers = exports.ProcessHandlers


class Program:
    """theater:otp/program"""

    def load(self, modules: list[tuple[str, bytes]], entry: str) -> None:
        try:
            exports.serve(program.load(modules, entry))
        except program.LoadFailed as failed:
            raise Err(str(failed)) from None
        except BaseException as error:
            raise Err(crash.text_of(error)) from None
