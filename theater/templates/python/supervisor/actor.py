"""{{name}}: starts two workers, gives each message to one of them, and counts their failures.

Whether a worker that fails is started again is said by [supervision.children] in the manifest.
"""

import theater

WORKERS = 2


class Supervisor(theater.Actor):
    initial = {"turn": 0, "failures": 0}

    def init(self):
        for _ in range(WORKERS):
            theater.spawn("worker/manifest.toml")

    def handle_request(self, message):
        workers = theater.children()
        if message == {"report": True}:
            return {"workers": len(workers), "failures": self.state["failures"]}
        self.state["turn"] += 1
        return theater.request(workers[self.state["turn"] % len(workers)], message)

    def handle_child_error(self, child, error):
        self.state["failures"] += 1
        theater.log(f"the worker {child} failed: {error.kind}")
