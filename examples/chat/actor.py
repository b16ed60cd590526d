"""Rooms in which people talk over WebSockets.

Who is in which room, and the last lines of each, are the actor's state, so a crash loses neither.
"""

import theater
from theater import http

REMEMBERED = 20
"""Lines of a room that somebody who comes later still sees."""

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Chat</title>
<pre id="lines"></pre>
<form id="form"><input id="text" autocomplete="off" autofocus size="60"></form>
<script>
  const name = prompt("Your name?") || "somebody";
  const room = new URLSearchParams(location.search).get("room") || "lobby";
  const query = new URLSearchParams({name, room});
  const socket = new WebSocket(`ws://${location.host}/talk?${query}`);
  socket.onmessage = ({data}) => {
    const line = JSON.parse(data);
    document.getElementById("lines").append(`${line.from}: ${line.text}\\n`);
  };
  document.getElementById("form").onsubmit = (event) => {
    event.preventDefault();
    const text = document.getElementById("text");
    socket.send(text.value);
    text.value = "";
  };
</script>
"""


class Chat(theater.Actor):
    initial = {"people": {}, "lines": {}}  # people: connection -> [name, room]; lines: room -> [[name, text], ...]

    def init(self):
        http.serve(self, port=8081)

    @http.get("/")
    def page(self, request):
        return http.html(PAGE)

    @http.get("/rooms")
    def rooms(self, request):
        rooms = {}
        for name, room in self.state["people"].values():
            rooms.setdefault(room, []).append(name)
        return {room: sorted(names) for room, names in sorted(rooms.items())}

    @http.websocket_connect("/talk")
    def enter(self, socket, path, query):
        name, room = query.get("name") or "somebody", query.get("room") or "lobby"
        for line in self.state["lines"].get(room, []):
            socket.send(said(*line))
        self.state["people"][str(socket.id)] = [name, room]
        self.say(room, "*", f"{name} has come")

    @http.websocket("/talk")
    def hear(self, socket, message):
        name, room = self.state["people"][str(socket.id)]
        self.say(room, name, str(message))

    @http.websocket_disconnect("/talk")
    def leave(self, socket):
        name, room = self.state["people"].pop(str(socket.id), (None, None))
        if name is not None:
            self.say(room, "*", f"{name} has gone")

    def handle_request(self, message):
        """From the command line or another actor: {"room": ..., "text": ...} is said in a room."""
        return {"heard by": self.say(message["room"], "theater", message["text"])}

    def say(self, room, name, text):
        lines = self.state["lines"].setdefault(room, [])
        lines.append([name, text])
        del lines[:-REMEMBERED]
        heard = 0
        for id in [id for id, (_, other) in self.state["people"].items() if other == room]:
            try:
                http.Socket(int(id)).send(said(name, text))
                heard += 1
            except theater.CallFailed:
                pass  # This one is going; `leave` is about to be called for it.
        return heard


def said(name, text):
    return {"from": name, "text": text}
