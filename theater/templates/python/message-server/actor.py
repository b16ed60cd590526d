"""{{name}}: a queue that other actors, or you, put things into and take them from.

{"put": x} is a message without an answer. {"take": true} is a request: it is answered with {"item": x} at once, or as
soon as there is something to take. {"size": true} is answered with the number of things in the queue.
"""

import theater


class Queue(theater.Actor):
    initial = {"items": [], "waiting": []}

    def handle_send(self, message):
        self.state["items"].append(message["put"])
        self.serve()

    def handle_request(self, message):
        if message.get("size"):
            return {"size": len(self.state["items"])}
        if not message.get("take"):
            raise theater.Error('ask for {"take": true} or {"size": true}')
        self.state["waiting"].append(theater.reply_later())
        self.serve()

    def serve(self):
        """Gives what there is to those who wait, first come, first served."""
        items, waiting = self.state["items"], self.state["waiting"]
        while items and waiting:
            try:
                theater.respond(waiting.pop(0), {"item": items[0]})
                items.pop(0)
            except theater.CallFailed as failed:
                theater.log(f"somebody no longer waits: {failed}")
