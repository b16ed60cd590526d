"""An actor that has everything at once: requests, timers, programs, HTTP in and out, channels.

Everything that it is told has a token, which it only passes on: the checker looks for it in the record.
"""

import theater
from theater import http, process


class Clerk(theater.Actor):
    initial = {"count": 0, "ticks": 0, "exits": 0, "programs": 0}  # noqa: RUF012

    def init(self):
        self.state["port"] = http.serve(self).info().port
        theater.send_interval(0.2, "tick")

    def handle_request(self, message):
        what = message["do"]
        if what == "count":
            return self.count()
        if what == "look":
            return self.state
        if what == "run":
            self.state["programs"] += 1
            return process.spawn("sh", "-c", "sleep 1000 & sleep 1000")
        if what == "fetch":
            return http.fetch(message["url"]).status
        raise theater.Error(f"there is no {what}")

    def handle_send(self, message):
        if message == "tick":
            self.state["ticks"] += 1
        else:
            self.count()

    def handle_process_exit(self, program, status):
        self.state["exits"] += 1

    def handle_channel_open(self, channel, message):
        return {"welcome": self.count()}

    def handle_channel_message(self, channel, message):
        theater.send_on_channel(channel, {"count": self.count()})

    @http.post("/count")
    def over_http(self, request):
        return {"count": self.count()}

    @http.websocket("/talk")
    def over_websocket(self, socket, message):
        return {"count": self.count()}

    def count(self):
        self.state["count"] += 1
        return self.state["count"]
