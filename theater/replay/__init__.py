"""Replay of chains: each is performed again in a process of its own, with nothing behind it but its record.

The rules are in core/replay.py; `home` is where a user of this package begins.
"""
