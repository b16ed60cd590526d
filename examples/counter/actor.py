"""Counts: the smallest actor that has a state.

{"add": 2} is answered with {"count": ...}, {"get": true} too; {"crash": true} ends this life of the actor.
"""

import theater


class Counter(theater.Actor):
    initial = {"count": 0}

    def handle_request(self, message):
        if not isinstance(message, dict):
            raise theater.Error('send an object, for instance {"add": 1}')
        if message.get("crash"):
            raise RuntimeError("asked to crash")
        number = message.get("add", 0)
        if type(number) is not int:
            raise theater.Error(f"add takes a whole number, not a {type(number).__name__}")
        self.state["count"] += number
        return {"count": self.state["count"]}
