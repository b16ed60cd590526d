"""{{name}}: talks to other actors, and answers some requests later.

Messages are text. Requests:

    who               is answered with the actor's id
    ask NAME WORDS    asks the actor NAME with WORDS, and passes the answer on
    tell NAME WORDS   sends WORDS to the actor NAME, and is answered with `told`
    wait              is answered later

Any message that is no request is the answer to all who wait.
"""

import theater


class Text:
    """Messages as text."""

    @staticmethod
    def encode(value):
        return value.encode()

    @staticmethod
    def decode(data):
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise theater.Error("this is not text") from None


class Talker(theater.Actor):
    codec = Text

    def handle_request(self, message):
        match message.split(" ", 2):
            case ["who"]:
                return theater.me().id
            case ["ask", name, words]:
                return theater.request(name, words)
            case ["tell", name, words]:
                theater.send(name, words)
                return "told"
            case ["wait"]:
                theater.reply_later()
                return None
            case _:
                raise theater.Error("this actor understands who, wait, ask NAME WORDS and tell NAME WORDS")

    def handle_send(self, message):
        for request in theater.outstanding_requests():
            try:
                theater.respond(request, message)
            except theater.CallFailed as failed:
                theater.log(f"{request} no longer waits: {failed}")
