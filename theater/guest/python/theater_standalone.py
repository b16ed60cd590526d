"""A component that holds one actor: `theater_program`, made by the build, is its source."""

import sys

import theater_program
from theater_runtime import exports, library, program, randomness, streams

exports.import_bindings()
carried = library.carry()
randomness.guard()
streams.install()
# The program is loaded while there are files, so that it can import packages which are installed here.
sys.meta_path.insert(0, program.modules)
exports.serve(program.load(theater_program.MODULES, theater_program.ENTRY))
library.detach(program.modules, carried)

Actor = exports.Actor
MessageServerClient = exports.MessageServerClient
SupervisorHandlers = exports.SupervisorHandlers
MonitorHandlers = exports.MonitorHandlers
HttpHandlers = exports.HttpHandlers
ProcessHandlers = exports.ProcessHandlers
