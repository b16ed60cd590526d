"""The first stage: whoever opens a channel to it gets one to the next stage, with this one in between."""

import theater


class Split(theater.Actor):
    codec = theater.Raw
    initial = {"inner": {}, "outer": {}}  # the channel that leads on, by the one that came in; and the reverse

    def handle_channel_open(self, channel, message):
        inner = theater.open_channel("tally", message)
        self.state["inner"][channel] = inner
        self.state["outer"][inner] = channel
        return b"split and counted:"

    def handle_channel_message(self, channel, message):
        outer = self.state["outer"].get(channel)
        if outer is not None:
            theater.send_on_channel(outer, message)
        elif words := message.decode().lower().split():
            theater.send_on_channel(self.state["inner"][channel], " ".join(words).encode())

    def handle_channel_close(self, channel):
        other = self.state["inner"].pop(channel, None) or self.state["outer"].pop(channel, None)
        if other is not None:
            self.state["inner"].pop(other, None)
            self.state["outer"].pop(other, None)
            theater.close_channel(other)
