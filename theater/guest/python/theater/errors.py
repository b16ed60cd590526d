"""Two ways to fail: an `Error` is an answer, every other exception ends this life of the actor.

A handler that raises `Error` says no: the caller gets the text, the state stays as it was, the actor goes on. Any
other exception is a defect: its traceback goes to the actor's log, the actor crashes, and its supervisor decides.
"""


class Error(Exception):
    """The actor's answer that a call failed.

    Args:
        text: what the caller is told.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class CallFailed(Error):
    """The host, or another actor, answered a call of this actor with an error.

    Unless it is caught, the caller of this actor is told the same.
    """
