"""Asks two counters every second to add 1, and writes to its log what they answer.

A counter that is down, or starting again, is an answer like any other: it is logged, and the pinger goes on.
"""

import theater

COUNTERS = ("counter-a", "counter-b")
PERIOD = 1.0


class Pinger(theater.Actor):
    def init(self):
        theater.send_interval(PERIOD, "ask")

    def handle_send(self, message):
        for counter in COUNTERS:
            try:
                answer = theater.request(counter, {"add": 1})
                theater.log(f"{counter} has counted to {answer['count']}")
            except theater.CallFailed as failed:
                theater.log(f"{counter} did not answer: {failed}")
