"""Does what it is told, and does not check what it is told."""

import theater


class Worker(theater.Actor):
    initial = {"done": 0}

    def handle_request(self, message):
        result = 100 / message["divide by"]
        self.state["done"] += 1
        return {"result": result, "done": self.state["done"]}
