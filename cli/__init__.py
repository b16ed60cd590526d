"""The `theater` command: a person's words in, operations of the client library out.

`main` turns arguments into a command and errors into one line and an exit code; `options` holds what several
commands share; `output` is the only place that writes to a terminal; every file in `commands` is one command.
The folder is installed as `theater_cli`, since `cli` alone would collide with other people's; its modules
therefore import each other relatively. A command imports what it needs when it runs: `theater --help` loads
neither ZeroMQ nor wasmtime nor rich.
"""
