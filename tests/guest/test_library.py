"""The guest library's functions: what reaches the host, and what its answers become."""

from __future__ import annotations

import pytest
from recording_host import IDENTITY, MESSAGES, REGISTRY, REQUESTS, RUNTIME, STORE, TIMERS, Refused

from theater.core.values import Err, Ok

EVALUATE = """
    import theater

    class Evaluate(theater.Actor):
        def handle_request(self, message):
            return eval(message)
"""


def refuse(text):
    def answer(*_):
        raise Refused(text)

    return answer


def test_a_request_is_json_both_ways(load):
    actor = load(EVALUATE, {(MESSAGES, "request"): lambda to, body: b'{"was": ' + body + b"}"})
    assert actor.ask("theater.request('b', {'x': [1, None]})") == {"was": {"x": [1, None]}}
    assert actor.host.calls == [(MESSAGES, "request", ("b", b'{"x":[1,null]}'))]


def test_a_request_with_a_timeout_is_in_milliseconds(load):
    actor = load(EVALUATE, {(REQUESTS, "request-timeout"): lambda *_: b"1"})
    assert actor.ask("theater.request('b', 2, timeout=1.5)") == 1
    assert actor.host.calls == [(REQUESTS, "request-timeout", ("b", b"2", 1500))]


def test_a_codec_of_the_call_goes_before_that_of_the_actor(load):
    actor = load(EVALUATE, {(MESSAGES, "request"): lambda to, body: body[::-1]})
    assert actor.ask("theater.request('b', b'abc', codec=theater.Raw).decode()") == "cba"


def test_a_call_that_fails_can_be_caught_and_is_the_answer_otherwise(load):
    actor = load(
        """
        import theater

        class Caller(theater.Actor):
            def handle_request(self, message):
                try:
                    return theater.request("b", message)
                except theater.CallFailed as failed:
                    if message == "catch":
                        return failed.text
                    raise
        """,
        {(MESSAGES, "request"): refuse("b is down")},
    )
    assert actor.ask("catch") == "b is down"
    assert actor.request("let go") == Err("b is down")


def test_a_message_is_sent(load):
    actor = load(EVALUATE, {(MESSAGES, "send"): lambda *_: None})
    assert actor.ask("theater.send('b', 'x')") is None
    assert actor.host.calls == [(MESSAGES, "send", ("b", b'"x"'))]


def test_a_request_may_be_answered_later(load):
    actor = load(
        """
        import theater

        class Later(theater.Actor):
            def handle_request(self, message):
                return theater.reply_later()

            def handle_send(self, message):
                theater.respond(message, "now")
                theater.cancel_request("other")
        """,
        {(MESSAGES, "respond-to-request"): lambda *_: None, (MESSAGES, "cancel-request"): lambda *_: None},
    )
    assert actor.request("x", "r7") == Ok(None)
    assert actor.host.calls == []
    assert actor.send("r7") == Ok((None,))
    assert actor.host.calls == [
        (MESSAGES, "respond-to-request", ("r7", b'"now"')),
        (MESSAGES, "cancel-request", ("other",)),
    ]


def test_answering_the_request_at_hand_makes_it_the_reply(load):
    actor = load(
        """
        import theater

        class Hasty(theater.Actor):
            def handle_request(self, message):
                request = theater.reply_later()
                theater.respond(request, "at once")
                if message == "twice":
                    theater.respond(request, "again")
        """
    )
    assert actor.ask("once") == "at once"
    assert actor.request("twice", "r2") == Err("request r2 was answered already")
    assert actor.host.calls == []


def test_only_a_request_can_be_answered_later(load):
    actor = load(
        """
        import theater

        class Confused(theater.Actor):
            initial = ""

            def handle_send(self, message):
                try:
                    theater.reply_later()
                except RuntimeError as error:
                    self.state = str(error)
        """
    )
    actor.send(None)
    assert actor.state == b'"reply_later works in handle_request only"'


def test_an_actor_knows_itself_and_who_speaks(load):
    me = {"id": "i", "name": "n", "parent": None, "incarnation": 3}
    actor = load(
        EVALUATE,
        {
            (IDENTITY, "self"): lambda: me,
            (IDENTITY, "sender"): lambda: "someone",
            (IDENTITY, "deadline"): lambda: 1500,
        },
    )
    assert actor.ask("[theater.me().id, theater.me().name, theater.me().parent, theater.me().incarnation]") == [
        "i",
        "n",
        None,
        3,
    ]
    assert actor.ask("[theater.sender(), theater.deadline()]") == ["someone", 1.5]


def test_names_are_registered_and_found(load):
    actor = load(EVALUATE, {(REGISTRY, "register"): refuse("b has it"), (REGISTRY, "whereis"): lambda name: None})
    assert actor.request("theater.register('x')") == Err("b has it")
    assert actor.ask("theater.whereis('x')") is None


def test_timers_are_in_milliseconds(load):
    actor = load(
        EVALUATE,
        {
            (TIMERS, "send-after"): lambda *_: 1,
            (TIMERS, "send-interval"): lambda *_: 2,
            (TIMERS, "cancel"): lambda timer: timer == 2,
        },
    )
    assert actor.ask("[theater.send_after(0.0015, 1), theater.send_interval(2, 'x')]") == [1, 2]
    assert actor.ask("[theater.cancel(1), theater.cancel(2)]") == [False, True]
    assert actor.host.calls[:2] == [(TIMERS, "send-after", (2, b"1")), (TIMERS, "send-interval", (2000, b'"x"'))]


def test_log_shutdown_and_chain_reach_the_host(load):
    event = {"event-type": "call", "parent": 1, "data": b"x"}
    actor = load(
        EVALUATE,
        {
            (RUNTIME, "get-chain"): lambda: {"events": [{"hash": 2, "event": event}]},
            (RUNTIME, "shutdown"): lambda data: None,
        },
    )
    assert actor.ask("theater.log('a', 1, '\\ud800ü')") is None
    assert actor.host.log == ["a 1 \\ud800ü"]
    assert actor.ask("[(e.hash, e.parent, e.type, e.data.decode()) for e in theater.get_chain()]") == [
        [2, 1, "call", "x"]
    ]
    assert actor.ask("theater.shutdown(b'bye')") is None
    assert actor.host.calls[-1] == (RUNTIME, "shutdown", (b"bye",))


def test_a_store_keeps_content_by_hash_and_label(load):
    kept: dict[str, bytes] = {}
    labels: dict[str, str] = {}

    def store(_, content):
        kept["h" + content.decode()] = content
        return {"hash": "h" + content.decode()}

    def replace(_, label, content):
        labels[label] = store(_, content)["hash"]
        return {"hash": labels[label]}

    actor = load(
        EVALUATE,
        {
            (STORE, "new"): lambda: "s1",
            (STORE, "store"): store,
            (STORE, "get"): lambda _, ref: kept[ref["hash"]],
            (STORE, "exists"): lambda _, ref: ref["hash"] in kept,
            (STORE, "replace-content-at-label"): replace,
            (STORE, "get-by-label"): lambda _, label: {"hash": labels[label]} if label in labels else None,
            (STORE, "list-all-content"): lambda _: [{"hash": name} for name in kept],
        },
    )
    assert actor.ask("[theater.Store().id, theater.Store('s1').put(b'x')]") == ["s1", "hx"]
    assert actor.ask("[theater.Store('s1').get('hx').decode(), theater.Store('s1').exists('no')]") == ["x", False]
    assert actor.ask("[theater.Store('s1').replace_at('l', b'y'), theater.Store('s1').find('l')]") == ["hy", "hy"]
    assert actor.ask("[theater.Store('s1').find('m'), theater.Store('s1').contents()]") == [None, ["hx", "hy"]]
    assert actor.request("theater.Store('s1').labels()") == Err(f"list-labels of {STORE} is not granted")


@pytest.mark.parametrize(
    "call",
    [
        "theater.Store('s').label('l', 'h')",
        "theater.Store('s').unlabel('l')",
        "theater.Store('s').unlabel('l', 'h')",
        "theater.Store('s').put_at('l', b'')",
        "theater.Store('s').point('l', 'h')",
        "theater.Store('s').size()",
        "theater.unregister('n')",
        "theater.open_channel('b', 1)",
        "theater.send_on_channel('c', 1)",
        "theater.close_channel('c')",
    ],
)
def test_whatever_is_refused_is_a_call_that_failed(load, call):
    answer = load(EVALUATE).request(call)
    assert isinstance(answer, Err)
    assert answer.value.endswith("is not granted")


def test_raw_messages_are_bytes_and_their_state_is_json_unless_it_says_otherwise(load):
    actor = load(
        """
        import theater

        class Bytes(theater.Actor):
            codec = theater.Raw
            initial = 0

            def handle_request(self, message):
                self.state += len(message)
                return message[::-1]
        """
    )
    assert actor.request(b"\x00\xff") == Ok(b"\xff\x00")
    assert actor.state == b"2"


def test_an_actor_may_encode_and_decode_itself(load):
    actor = load(
        """
        import theater

        class Own(theater.Actor):
            def decode(self, data):
                return data.decode().split(",")

            def encode(self, message):
                return ";".join(message).encode()

            def handle_request(self, message):
                return sorted(message)
        """
    )
    assert actor.request(b"b,a") == Ok(b"a;b")


def test_a_channel_is_accepted_by_an_answer_and_refused_by_an_error(load):
    actor = load(
        """
        import theater

        class Channels(theater.Actor):
            initial = []

            def handle_channel_open(self, channel, message):
                if message == "no":
                    raise theater.Error("closed today")
                return "welcome"

            def handle_channel_message(self, channel, message):
                self.state.append([channel, message])

            def handle_channel_close(self, channel):
                self.state.append(channel)
        """
    )
    client = "theater:simple/message-server-client"
    opened = actor.guest.call(client, "handle-channel-open", (None, ("c1", b'"hi"')))
    assert opened.value[1] == ({"accepted": True, "message": b'"welcome"'},)
    assert actor.guest.call(client, "handle-channel-open", (None, ("c1", b'"no"'))) == Err("closed today")
    told = actor.guest.call(client, "handle-channel-message", (None, ("c1", b"1")))
    closed = actor.guest.call(client, "handle-channel-close", (told.value[0], ("c1",)))
    assert closed.value == (b'[["c1",1],"c1"]',)
