from wit_world.imports import counters

import theater


class Visitors(theater.Actor):
    """Counts visits, in counters that outlive it."""

    def handle_request(self, page):
        try:
            return {"visits": counters.add("visits", 1), page: counters.add(f"page-{page}", 1), "all": counters.names()}
        except Exception as refused:
            raise theater.Error(str(getattr(refused, "value", refused)))
