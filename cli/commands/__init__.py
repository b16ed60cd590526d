"""The commands, a file each: `dead_letters.py` is `theater dead-letters`, and its `command` is found by that name."""
