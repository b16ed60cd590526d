"""The manual's examples do what the manual says.

In docs/python-actors.md the Python blocks before a `text` block are a program (a first line such as `# prices.py` names
the module), and the `text` block is what goes in and what comes out, a line each:

    request BODY       a request to the actor           reply BODY       its answer
    send BODY          a message to it                  error TEXT       the answer that it failed
    asks ACTOR BODY    a request of the actor           later ID         it will answer later
    gets BODY          the host's answer to that        responds ID BODY and does so
    fails TEXT         or its error                     crash TEXT       the last line of the traceback
    sends ACTOR BODY   a message of the actor           log LINE         a line of its log
    spawns PATH STATE  it starts a child                child ID         the host's answer to that
    restarts ID        it starts a child again          monitors ACTOR N it monitors an actor, and the monitor is N
    failed ID KIND TEXT, ended ID, down N ID KIND       news of the end of a child, or of a monitored actor
    get PATH, put PATH BODY                             a request of HTTP       answer STATUS BODY   its answer
    fetches METHOD URL  it sends one                    found STATUS BODY       and gets this
    opens ID BODY       a channel is opened to it       accepted BODY, refused TEXT
    connect N PATH      a websocket connects            says ID BODY            a message on either
    hears ID BODY       a message of the actor          hangs up ID             it closes either
    closed ID, disconnect N                             a channel, a websocket is gone
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from loaded import Loaded
from manual_web import Web, opened
from recording_host import HTTP_CLIENT, MESSAGES, MONITORS, REQUESTS, SECRETS, STORE, SUPERVISOR, TIMERS, Refused

from theater.core.values import Err, Ok
from theater.wasm.guest import Trap

MANUAL = Path(__file__).parents[2] / "docs" / "python-actors.md"
BLOCK = re.compile(r"^#+ ([^\n]*)$|^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> list[Any]:
    """Programs and what they show, named by the heading they stand under."""
    found: list[Any] = []
    heading, modules = "", dict[str, str]()
    for title, language, text in BLOCK.findall(MANUAL.read_text()):
        if title:
            heading = title
        elif language == "python":
            named = re.match(r"# (\w+\.py)\n", text)
            modules[named[1] if named else "actor.py"] = text
        else:
            found.append(pytest.param(modules, text.splitlines(), id=heading.lower().replace(" ", "-")))
            modules = {}
    return found


class Scene:
    """Plays one example: lines in their order, where what the actor does must be the next line.

    Args:
        lines: the example's text.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._pages: dict[str, bytes] = {}
        self._children: dict[str, bytes] = {}
        self._web = Web()
        self.answers = {
            **self._web.answers(),
            (HTTP_CLIENT, "send-http"): self._fetched,
            (MESSAGES, "request"): self._asked,
            (REQUESTS, "request-timeout"): self._asked,
            (MESSAGES, "send"): lambda to, body: self._expect("sends", to, body),
            (MESSAGES, "respond-to-request"): lambda request, body: self._expect("responds", request, body),
            (TIMERS, "send-interval"): lambda period, msg: 1,
            (TIMERS, "cancel"): lambda timer: timer == 1,
            (STORE, "new"): lambda: "a-store",
            (STORE, "replace-content-at-label"): self._keep,
            (STORE, "get-by-label"): lambda _, label: {"hash": label} if label in self._pages else None,
            (STORE, "get"): lambda _, ref: self._pages[ref["hash"]],
            (SUPERVISOR, "spawn"): self._spawned,
            (SUPERVISOR, "restart-child"): lambda child: self._expect_line(f"restarts {child}"),
            (SUPERVISOR, "list-children"): lambda: list(self._children),
            (SUPERVISOR, "get-child-state"): lambda child: self._children[child],
            (MONITORS, "monitor"): self._monitored,
            (SECRETS, "get"): lambda name: {"door-code": b"open sesame"}[name],
        }

    def play(self, actor: Loaded) -> None:
        actor.init()
        while self._lines:
            what, _, body = self._lines.pop(0).partition(" ")
            if what in _COMES:
                assert not isinstance(_COMES[what](self._web, actor, *body.split(" ", 1)), Err)
            elif what == "opens":
                assert _same_line(self._lines.pop(0), opened(actor, *body.split(" ", 1)))
            elif what in ("get", "put"):
                path, _, content = body.partition(" ")
                status, answer = self._web.fetch(actor, what.upper(), path, content.encode() or None)
                assert _same_line(self._lines.pop(0), f"answer {status} {answer}".rstrip())
            elif what == "send":
                assert isinstance(actor.send(body.encode()), Ok)
            elif what in _NEWS:
                assert isinstance(_NEWS[what](actor, *body.split(" ", 2)), Ok)
            else:
                assert what == "request", what
                self._answered(actor, body.encode())
            while self._web.said:
                assert _same_line(self._lines.pop(0), self._web.said.pop(0))
            while self._lines and self._lines[0].startswith("log "):
                assert actor.host.log.pop(0) == self._lines.pop(0).removeprefix("log ")
            assert not actor.host.log

    def _answered(self, actor: Loaded, body: bytes) -> None:
        try:
            answer = actor.request(body, "r1")
        except Trap:
            what, text = "crash", actor.host.wasi.out["stderr"].decode().splitlines()[-1]
        else:
            if isinstance(answer, Err):
                what, text = "error", answer.value
            else:
                what, text = ("later", "r1") if answer.value is None else ("reply", answer.value.decode())
        place = next(number for number, line in enumerate(self._lines) if not line.startswith("log "))
        expected = self._lines.pop(place)
        assert _same(expected.removeprefix(f"{what} "), text), (expected, what, text)

    def _asked(self, to: str, body: bytes, _: int = 0) -> bytes:
        self._expect("asks", to, body)
        what, _, answer = self._lines.pop(0).partition(" ")
        if what == "fails":
            raise Refused(answer)
        assert what == "gets"
        return answer.encode()

    def _fetched(self, request: dict[str, Any]) -> dict[str, Any]:
        self._expect_line(f"fetches {request['method']} {request['uri']}")
        what, status, body = self._lines.pop(0).split(" ", 2)
        assert what == "found"
        return {"status": int(status), "headers": [], "body": body.encode()}

    def _expect(self, what: str, whom: str, body: bytes) -> None:
        line = self._lines.pop(0)
        assert line.startswith(f"{what} {whom} "), line
        assert _same(line.removeprefix(f"{what} {whom} "), body.decode())

    def _expect_line(self, expected: str) -> None:
        assert self._lines.pop(0) == expected

    def _spawned(self, manifest: str, state: bytes) -> str:
        self._expect("spawns", manifest, state)
        what, _, child = self._lines.pop(0).partition(" ")
        assert what == "child"
        self._children[child] = state
        return child

    def _monitored(self, words: str) -> int:
        line, _, monitor = self._lines.pop(0).rpartition(" ")
        assert line == f"monitors {words}"
        return int(monitor)

    def _keep(self, _: str, label: str, content: bytes) -> dict[str, str]:
        self._pages[label] = content
        return {"hash": f"hash-of-{content.decode()}"}


def _failed(actor: Loaded, child: str, kind: str, detail: str) -> Ok | Err:
    reason = {"reason": kind, "detail": detail, "signal": None, "status": None, "commanded": False}
    return actor.child("handle-child-error", child, {"error-type": "internal", "data": json.dumps(reason).encode()})


def _down(actor: Loaded, monitor: str, ended: str, kind: str) -> Ok | Err:
    reason = {"kind": kind, "detail": None, "signal": None, "status": None, "commanded": False}
    return actor.end("handle-down", int(monitor), ended, reason)


_NEWS = {
    "failed": _failed,
    "ended": lambda actor, child: actor.child("handle-child-exit", child, None),
    "down": _down,
}


_COMES = {
    "connect": Web.connect,
    "disconnect": Web.disconnect,
    "says": Web.say,
    "closed": lambda web, actor, channel: actor.channel("handle-channel-close", channel),
}


def _same_line(shown: str, found: str) -> bool:
    """The same for lines whose first two words are no JSON, or one of them, or none."""
    for words in (2, 1):
        one, other = shown.split(" ", words), found.split(" ", words)
        if len(one) == len(other) == words + 1 and one[:words] == other[:words] and _same(one[words], other[words]):
            return True
    return shown == found


def _same(shown: str, text: str) -> bool:
    """Whether two texts are the same, or are JSON that differs in spaces only."""
    try:
        return bool(json.loads(shown) == json.loads(text))
    except ValueError:
        return shown == text


@pytest.mark.parametrize(("modules", "lines"), examples())
def test_an_example_of_the_manual_does_what_it_says(load, modules, lines):
    scene = Scene(lines)
    scene.play(load(modules, scene.answers))


def test_the_manual_has_its_examples():
    assert len(examples()) >= 10
