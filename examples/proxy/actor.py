"""Asks another API for its clients, and for a minute only once for each city."""

from urllib.parse import quote

import theater
from theater import http, time

UPSTREAM = "http://127.0.0.1:8084"
FRESH = 60.0


class Proxy(theater.Actor):
    initial = {"cache": {}, "asked": 0}

    def init(self):
        http.serve(self, port=8083)

    @http.get("/weather/{city}")
    def weather(self, request, city):
        cached = self.state["cache"].get(city)
        if cached is not None and time.now() < cached["until"]:
            return cached["weather"] | {"cached": True}
        weather = self.ask(city)
        self.state["cache"][city] = {"until": time.now() + FRESH, "weather": weather}
        return weather | {"cached": False}

    def ask(self, city):
        self.state["asked"] += 1
        try:
            found = http.fetch(f"{UPSTREAM}/weather/{quote(city, safe='')}")
        except theater.CallFailed as failed:
            theater.log(f"no weather for {city}: {failed}")
            raise http.Abort(502, {"error": "the weather service does not answer"}) from None
        if found.status == 404:
            raise http.Abort(404, {"error": f"nobody knows the weather in {city}"})
        if not found.ok:
            raise http.Abort(502, {"error": f"the weather service answered with the status {found.status}"})
        return {"city": city, "degrees": found.json()["temp"]}

    def handle_request(self, message):
        return {"asked": self.state["asked"], "cities": sorted(self.state["cache"])}
