"""The supervisor's loop gives everybody a turn, however much somebody else has for it."""

from __future__ import annotations

import os

from theater.server.loop import Loop


def test_whoever_always_has_something_keeps_nobody_from_the_loop() -> None:
    loop = Loop()
    heard: list[str] = []
    read, write = os.pipe()
    try:
        loop.drain(read, lambda: True)
        other_read, other_write = os.pipe()
        loop.reader(other_read, lambda: heard.append(os.read(other_read, 10).decode()))
        loop.after(0.0, lambda: heard.append("alarm"))
        loop.soon(lambda: heard.append("soon"))
        loop.turn()
        os.write(other_write, b"reader")
        loop.turn()
        assert sorted(heard) == ["alarm", "reader", "soon"]
    finally:
        loop.close()
        for fd in (read, write, other_read, other_write):
            os.close(fd)


def test_the_loop_sleeps_only_when_nobody_has_anything_left() -> None:
    loop = Loop()
    read, write = os.pipe()
    left = 1_000_000

    def drain() -> bool:
        nonlocal left
        left -= 1
        return left > 0

    try:
        loop.drain(read, drain)
        turns = 0
        while left > 0:
            loop.turn()
            turns += 1
        assert turns > 1
    finally:
        loop.close()
        os.close(read)
        os.close(write)
