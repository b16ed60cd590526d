"""The last stage: says after each line how often its words have come by this channel so far."""

import theater


class Tally(theater.Actor):
    codec = theater.Raw
    initial = {}  # channel -> {word: count}

    def handle_channel_open(self, channel, message):
        self.state[channel] = {}

    def handle_channel_message(self, channel, message):
        counts = self.state[channel]
        words = message.decode().split()
        for word in words:
            counts[word] = counts.get(word, 0) + 1
        theater.send_on_channel(channel, " ".join(f"{word}={counts[word]}" for word in sorted(set(words))).encode())

    def handle_channel_close(self, channel):
        self.state.pop(channel, None)
