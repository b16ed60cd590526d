"""{{name}}: an actor that answers HTTP. Its state is how often it was visited."""

import theater
from theater import http


class Site(theater.Actor):
    initial = {"visits": 0}

    def init(self):
        http.serve(self, port=8080)

    @http.get("/")
    def home(self, request):
        self.state["visits"] += 1
        return f"visit {self.state['visits']}\n"

    @http.get("/hello/{name}")
    def hello(self, request, name):
        return f"Hello, {name}!\n"

    @http.put("/visits")
    def set_visits(self, request):
        match request.json():
            case {"visits": int(visits)}:
                self.state["visits"] = visits
            case _:
                raise http.Abort(400, 'this actor understands {"visits": N} with a whole number N\n')
