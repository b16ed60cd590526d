"""Walls: what a process may not do any more, whoever takes it over.

The first wall is WebAssembly. These are the second: each process of a server gives up, before it touches what nobody
has reviewed, every right that it will not need, and the kernel holds it to that for the rest of its life. `rooms.py`
says which process gives up what; the other files are one kind of wall each, by hand on the system calls themselves, as
Python has none of them. Whatever a kernel does not have is said (`standing.py`), never passed over.

Of Theater this package knows nothing but `theater.errors`.
"""
