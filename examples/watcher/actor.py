"""Watches a folder: looks every half second what is there, and tells what has changed since the last time."""

from hashlib import sha256

import theater
from theater import files

FOLDER = "inbox"
PERIOD = 0.5
KEPT = 100


class Watcher(theater.Actor):
    initial = {"files": {}, "news": []}

    def init(self):
        self.state["files"] = look()
        theater.send_interval(PERIOD, "look")

    def handle_send(self, message):
        before, now = self.state["files"], look()
        news = [f"new {name}" for name in now.keys() - before.keys()]
        news += [f"gone {name}" for name in before.keys() - now.keys()]
        news += [f"changed {name}" for name in now.keys() & before.keys() if now[name] != before[name]]
        for line in sorted(news):
            theater.log(line)
        self.state["files"] = now
        self.state["news"] = (self.state["news"] + sorted(news))[-KEPT:]

    def handle_request(self, message):
        """{"forget": true} to begin anew; anything else just asks."""
        news = self.state["news"]
        if message.get("forget"):
            self.state["news"] = []
        return {"files": sorted(self.state["files"]), "news": news}


def look():
    found = {}
    for name in files.names(FOLDER):
        try:
            found[name] = sha256(files.read(f"{FOLDER}/{name}")).hexdigest()
        except theater.CallFailed:
            pass  # It has just been removed, or is no file.
    return found
