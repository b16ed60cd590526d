"""{{name}}: one of the workers."""

import theater


class Worker(theater.Actor):
    def handle_request(self, message):
        match message:
            case {"work": str(text)}:
                return {"done": text.upper()}
            case {"crash": True}:
                raise RuntimeError("crashed, as the message told it to")
            case _:
                raise theater.Error('a worker understands {"work": TEXT} and {"crash": true}')
