"""The guest library's functions: what reaches the host, and what its answers become."""

from __future__ import annotations

import pytest
from recording_host import (
    IDENTITY,
    LINKS,
    MESSAGES,
    MONITORS,
    REGISTRY,
    REQUESTS,
    RUNTIME,
    SECRETS,
    STORE,
    SUPERVISOR,
    TIMERS,
    Refused,
)

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


def test_children_are_started_with_a_state_or_with_that_of_their_manifest(load):
    actor = load(
        EVALUATE,
        {(SUPERVISOR, "spawn"): lambda *_: "child-1", (SUPERVISOR, "resume"): lambda *_: "child-2"},
    )
    assert actor.ask("theater.spawn('worker/manifest.toml')") == "child-1"
    assert actor.ask("theater.spawn('m.toml', {'count': 1})") == "child-1"
    assert actor.ask("theater.resume('m.toml', b'raw', codec=theater.Raw)") == "child-2"
    assert actor.host.calls == [
        (SUPERVISOR, "spawn", ("worker/manifest.toml", None)),
        (SUPERVISOR, "spawn", ("m.toml", b'{"count":1}')),
        (SUPERVISOR, "resume", ("m.toml", b"raw")),
    ]


def test_children_are_listed_stopped_restarted_and_looked_into(load):
    event = {"hash": b"h", "parent-hash": None, "event-type": "call", "data": b"d", "timestamp": 1500}
    actor = load(
        EVALUATE,
        {
            (SUPERVISOR, "list-children"): lambda: ["a", "b"],
            (SUPERVISOR, "stop-child"): lambda child: None,
            (SUPERVISOR, "restart-child"): refuse("it does not start"),
            (SUPERVISOR, "get-child-state"): lambda child: b'{"count":1}' if child == "a" else None,
            (SUPERVISOR, "get-child-events"): lambda child: [{**event, "description": "why"}],
        },
    )
    assert actor.ask("theater.children()") == ["a", "b"]
    assert actor.ask("theater.stop_child('a')") is None
    assert actor.request("theater.restart_child('a')") == Err("it does not start")
    assert actor.ask("[theater.child_state('a'), theater.child_state('b')]") == [{"count": 1}, None]
    assert actor.ask("theater.child_state('a', codec=theater.Raw).decode()") == '{"count":1}'
    shown = "e.hash.decode(), e.parent, e.type, e.data.decode(), e.time, e.description"
    assert actor.ask(f"[[{shown}] for e in theater.child_events('a')]") == [["h", None, "call", "d", 1.5, "why"]]


def test_a_secret_is_bytes(load):
    actor = load(EVALUATE, {(SECRETS, "get"): lambda name: b"\xff" if name == "a" else refuse("no such secret")()})
    assert actor.ask("list(theater.secret('a'))") == [255]
    assert actor.request("theater.secret('b')") == Err("no such secret")


def test_monitors_and_links_are_made_and_undone(load):
    actor = load(
        EVALUATE,
        {
            (MONITORS, "monitor"): lambda actor: 3,
            (MONITORS, "demonitor"): lambda monitor: monitor == 3,
            (LINKS, "link"): lambda actor: None,
            (LINKS, "unlink"): refuse("no"),
            (LINKS, "trap-exits"): lambda trap: None,
        },
    )
    assert actor.ask("[theater.monitor('b'), theater.demonitor(3), theater.demonitor(4)]") == [3, True, False]
    assert actor.ask("[theater.link('b'), theater.trap_exits(), theater.trap_exits(False)]") == [None] * 3
    assert actor.request("theater.unlink('b')") == Err("no")
    assert [call[1:] for call in actor.host.calls[3:]] == [
        ("link", ("b",)),
        ("trap-exits", (True,)),
        ("trap-exits", (False,)),
        ("unlink", ("b",)),
    ]


LISTENER = """
    import theater

    class Listener(theater.Actor):
        initial = []

        def handle_child_error(self, child, error):
            self.state.append([child, error.kind, error.detail, error.signal, error.commanded, error.is_normal])

        def handle_child_exit(self, child, data):
            self.state.append([child, data and data.decode()])

        def handle_child_stopped(self, child):
            self.state.append([child])

        def handle_down(self, monitor, actor, reason):
            self.state.append([monitor, actor, reason.kind, reason.status, reason.is_normal])

        def handle_exit(self, actor, reason):
            if reason == theater.ExitReason("killed", signal=9, commanded=True):
                raise theater.Error("not you")
            self.state.append([actor, reason.kind, reason.detail])

        def handle_request(self, message):
            return self.state
"""
SHUT_DOWN = {"kind": "shutdown", "detail": None, "signal": None, "status": None, "commanded": False}


def test_news_of_children_reaches_its_method(load):
    actor = load(LISTENER)
    actor.init()
    reason = b'{"reason":"out_of_memory","detail":"4 MiB","signal":9,"status":null,"commanded":false}'
    assert isinstance(actor.child("handle-child-error", "a", {"error-type": "internal", "data": reason}), Ok)
    assert isinstance(actor.child("handle-child-exit", "b", None), Ok)
    assert isinstance(actor.child("handle-child-exit", "b", b"bye"), Ok)
    assert isinstance(actor.child("handle-child-external-stop", "c"), Ok)
    assert actor.ask(None) == [["a", "out-of-memory", "4 MiB", 9, False, False], ["b", None], ["b", "bye"], ["c"]]


@pytest.mark.parametrize("data", [None, b"", b"{}", b"[]", b"not JSON", b'{"reason": 1}', b"\xff"])
def test_an_error_of_a_child_that_says_nothing_more_is_its_type(load, data):
    actor = load(LISTENER)
    actor.init()
    actor.child("handle-child-error", "a", {"error-type": "operation-timeout", "data": data})
    assert actor.ask(None) == [["a", "error", "operation-timeout", None, False, False]]


def test_news_of_ends_reaches_its_method(load):
    actor = load(LISTENER)
    actor.init()
    assert isinstance(actor.end("handle-down", 2**40, "a", {**SHUT_DOWN, "kind": "no-process"}), Ok)
    assert isinstance(actor.end("handle-down", 1, "a", SHUT_DOWN), Ok)
    assert isinstance(actor.end("handle-exit", "b", {**SHUT_DOWN, "kind": "trap", "detail": "unreachable"}), Ok)
    killed = {**SHUT_DOWN, "kind": "killed", "signal": 9, "commanded": True}
    assert actor.end("handle-exit", "b", killed) == Err("not you")
    assert actor.ask(None) == [
        [2**40, "a", "no-process", None, False],
        [1, "a", "shutdown", None, True],
        ["b", "trap", "unreachable"],
    ]


def test_news_that_an_actor_has_no_method_for_changes_nothing(load):
    actor = load(EVALUATE)
    actor.init(b"5")
    assert actor.child("handle-child-external-stop", "c") == Ok((b"5",))
    assert actor.child("handle-child-exit", "c", None) == Ok((b"5",))
    assert actor.child("handle-child-error", "c", {"error-type": "internal", "data": None}) == Ok((b"5",))
    assert actor.end("handle-down", 1, "a", SHUT_DOWN) == Ok((b"5",))
    assert actor.end("handle-exit", "a", SHUT_DOWN) == Ok((b"5",))


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
        "theater.spawn('m.toml')",
        "theater.resume('m.toml')",
        "theater.stop_child('c')",
        "theater.child_state('c')",
        "theater.child_events('c')",
        "theater.monitor('b')",
        "theater.link('b')",
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
