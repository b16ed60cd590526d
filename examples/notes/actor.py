"""An HTTP API for notes: each note is content in a store, under the label of its number."""

import theater
from theater import http
from theater.store import Store

LONGEST = 10_000


class Notes(theater.Actor):
    initial = {"last": 0}

    def init(self):
        self.state["store"] = Store().id
        http.serve(self, port=8082)

    @http.middleware("/notes")
    def check(self, request):
        """Who writes says what: everything else that it should be is the business of the methods below."""
        if request.method == "POST" and "json" not in (request.headers.get("content-type") or ""):
            return http.Response({"error": "send application/json"}, 415)
        return None

    @http.get("/notes")
    def all(self, request):
        wanted = request.query.get("find", "")
        return [note for note in map(self.read, self.labels()) if wanted in note["text"]]

    @http.post("/notes")
    def add(self, request):
        text = request.json().get("text")
        if not isinstance(text, str) or not 0 < len(text) <= LONGEST:
            raise http.Abort(400, {"error": f"text must have 1 to {LONGEST} characters"})
        self.state["last"] += 1
        number = str(self.state["last"])
        self.store.replace_at(number, text.encode())
        return http.Response(self.read(number), 201, {"location": f"/notes/{number}"})

    @http.get("/notes/{number}")
    def one(self, request, number):
        return self.read(number)

    @http.put("/notes/{number}")
    def change(self, request, number):
        self.read(number)
        self.store.replace_at(number, str(request.json()["text"]).encode())
        return self.read(number)

    @http.delete("/notes/{number}")
    def remove(self, request, number):
        self.read(number)
        self.store.unlabel(number)

    @property
    def store(self):
        return Store(self.state["store"])

    def labels(self):
        return sorted(self.store.labels(), key=int)

    def read(self, number):
        found = self.store.find(number) if number.isdigit() else None
        if found is None:
            raise http.Abort(404, {"error": f"there is no note {number}"})
        return {"number": int(number), "text": self.store.get(found).decode(), "hash": found[:12]}
