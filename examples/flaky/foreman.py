"""A supervisor with a flaky child: the child's crashes are its parent's news, and nobody else's.

The manifest's `[supervision.children]` says that a child which crashes is started again, with the state it had. So the
foreman only keeps count; without that table it would decide by itself, in `handle_child_error`.
"""

import theater


class Foreman(theater.Actor):
    initial = {"crashes": []}

    def init(self):
        self.state["worker"] = theater.spawn("worker.toml")

    def handle_request(self, message):
        if message == "report":
            return {"crashes": self.state["crashes"], "done": theater.child_state(self.state["worker"])["done"]}
        try:
            return theater.request(self.state["worker"], message)
        except theater.CallFailed as failed:
            return {"failed": str(failed).partition(":")[0]}

    def handle_child_error(self, child, error):
        self.state["crashes"].append(error.kind)
        theater.log(f"the worker crashed: {error.kind}")
