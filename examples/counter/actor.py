"""Counts: the smallest actor that has a state.

{"add": 2} is answered with {"count": ...}, {"get": true} too; {"crash": true} ends this life of the actor.
"""

import theater


class Counter(theater.Actor):
    initial = {"count": 0}

    def handle_request(self, message):
        match message:
            case {"crash": True}:
                raise RuntimeError("asked to crash")
            case {"add": int(number)}:
                self.state["count"] += number
                return self.state
            case {"get": True}:
                return self.state
            case _:
                raise theater.Error('this actor understands {"add": N} with a whole number N, and {"get": true}')
