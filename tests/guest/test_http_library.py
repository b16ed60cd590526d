"""HTTP in the guest library: what a server is told, and which method a request arrives at."""

from __future__ import annotations

import json

import pytest
from loaded import LoadFailed
from recording_host import HTTP_CLIENT, HTTP_FRAMEWORK, WEBSOCKETS

from theater.core.values import Case, Err

SHOP = """
    import theater
    from theater import http

    class Shop(theater.Actor):
        initial = {"sold": 0, "gone": []}

        def init(self):
            self.state["server"] = http.serve(self, port=8080).id

        def handle_request(self, message):
            return eval(message)

        @http.middleware("/admin")
        def guard(self, request):
            if request.headers.get("AUTHORIZATION") == "root":
                request.headers["x-user"] = "root"
                return request
            if request.query.get("please") != "yes":
                raise http.Abort(403, "no")

        @http.get("/")
        def home(self, request):
            return http.html("<h1>Shop</h1>")

        @http.get("/items/{item}")
        @http.get("/old/{item}/price")
        def item(self, request, item):
            return {"item": item, "query": request.query, "path": request.path}

        @http.get("/files/*")
        def file(self, request, rest):
            return rest

        @http.post("/items/{item}")
        def buy(self, request, item):
            self.state["sold"] += request.json()["number"]
            if self.state["sold"] > 5:
                raise http.Abort(409, {"left": 0}, {"x-why": "sold out"})

        @http.put("/fails")
        def fails(self, request):
            raise theater.Error("not today")

        @http.websocket("/talk")
        def said(self, socket, message):
            if message == "bye":
                socket.close()
                return None
            return message if isinstance(message, bytes) else {"was": message}

        @http.websocket_connect("/talk")
        def came(self, socket, path, query):
            socket.send([path, query])

        @http.websocket_disconnect("/talk")
        def went(self, socket):
            self.state["gone"].append(socket.id)
"""


class Framework:
    """A host that counts."""

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.handlers: dict[str, int] = {}
        self.routes = 0

    def answers(self):
        names = (
            "start-server stop-server destroy-server remove-route remove-middleware enable-websocket disable-websocket "
            "send-websocket-message close-websocket"
        )
        return {
            **{(HTTP_FRAMEWORK, name): self._tell(name) for name in names.split()},
            (HTTP_FRAMEWORK, "create-server"): self._tell("create-server", lambda _: 7),
            (HTTP_FRAMEWORK, "register-handler"): lambda name: self.handlers.setdefault(name, len(self.handlers) + 100),
            (HTTP_FRAMEWORK, "add-route"): self._tell("add-route", self._route),
            (HTTP_FRAMEWORK, "add-middleware"): self._tell("add-middleware", self._route),
            (HTTP_FRAMEWORK, "get-server-info"): lambda server: {
                "id": server,
                "port": 8080,
                "host": "127.0.0.1",
                "running": True,
                "routes-count": self.routes,
                "middleware-count": 1,
                "websocket-enabled": True,
            },
        }

    def _tell(self, name, result=lambda *_: None):
        def tell(*args):
            self.told.append((name, *args))
            return 8080 if name == "start-server" else result(*args)

        return tell

    def _route(self, *_) -> int:
        self.routes += 1
        return self.routes


@pytest.fixture
def framework() -> Framework:
    return Framework()


@pytest.fixture
def shop(load, framework):
    actor = load(SHOP, framework.answers())
    actor.init()
    return actor


def request(method, uri, body=None, headers=()):
    return {"method": method, "uri": uri, "headers": list(headers), "body": body}


def body_of(response):
    return json.loads(response["body"])


def test_serving_tells_the_host_every_marked_method_in_the_order_of_the_source(shop, framework):
    ids = framework.handlers
    assert list(ids) == ["guard", "home", "item", "file", "buy", "fails", "said", "came", "went"]
    assert framework.told == [
        ("create-server", {"port": 8080, "host": None, "tls-config": None}),
        ("add-middleware", 7, "/admin", ids["guard"]),
        ("add-route", 7, "/", "GET", ids["home"]),
        ("add-route", 7, "/items/{item}", "GET", ids["item"]),
        ("add-route", 7, "/old/{item}/price", "GET", ids["item"]),
        ("add-route", 7, "/files/*", "GET", ids["file"]),
        ("add-route", 7, "/items/{item}", "POST", ids["buy"]),
        ("add-route", 7, "/fails", "PUT", ids["fails"]),
        ("enable-websocket", 7, "/talk", ids["came"], ids["said"], ids["went"]),
        ("start-server", 7),
    ]


def test_what_a_method_returns_is_the_response(shop, framework):
    home = shop.http("handle-request", framework.handlers["home"], request("GET", "/"))
    assert home == {"status": 200, "headers": [("content-type", "text/html; charset=utf-8")], "body": b"<h1>Shop</h1>"}
    bought = shop.http("handle-request", framework.handlers["buy"], request("POST", "/items/1", b'{"number": 2}'))
    assert bought == {"status": 204, "headers": [], "body": None}
    assert json.loads(shop.state)["sold"] == 2


@pytest.mark.parametrize(
    ("uri", "item", "query"),
    [
        ("/items/bread", "bread", {}),
        ("/items/a%20b?x=1&y=%C3%A4&x=2&z", "a b", {"x": "2", "y": "ä", "z": ""}),
        ("/old/bread/price", "bread", {}),
        ("/items/%2F", "/", {}),
    ],
)
def test_what_stands_in_the_path_is_an_argument(shop, framework, uri, item, query):
    answer = shop.http("handle-request", framework.handlers["item"], request("GET", uri))
    assert body_of(answer) == {"item": item, "query": query, "path": uri.partition("?")[0]}


def test_a_star_is_the_rest_of_the_path(shop, framework):
    answer = shop.http("handle-request", framework.handlers["file"], request("HEAD", "/files/a/b%20c/"))
    assert answer["body"] == b"a/b c/"


def test_a_parameter_that_was_added_while_the_actor_ran_is_read_by_the_host(shop, framework):
    told = [("host", "x"), ("x-theater-param-item", "salt")]
    answer = shop.http("handle-request", framework.handlers["item"], request("GET", "/new/salt", headers=told))
    assert body_of(answer)["item"] == "salt"


def test_an_abort_is_a_response_and_leaves_the_state(shop, framework):
    buy = framework.handlers["buy"]
    shop.http("handle-request", buy, request("POST", "/items/1", b'{"number": 5}'))
    before = shop.state
    answer = shop.http("handle-request", buy, request("POST", "/items/1", b'{"number": 5}'))
    assert (answer["status"], body_of(answer)) == (409, {"left": 0})
    assert ("x-why", "sold out") in answer["headers"]
    assert shop.state == before
    answer = shop.http("handle-request", buy, request("POST", "/items/1", b"{"))
    assert answer["status"] == 400
    assert b"this is not JSON" in answer["body"]


def test_an_error_is_one_of_the_call(shop, framework):
    assert shop.http("handle-request", framework.handlers["fails"], request("PUT", "/fails")) == Err("not today")


def test_a_middleware_lets_pass_changes_or_answers(shop, framework):
    guard = framework.handlers["guard"]
    polite = request("GET", "/admin?please=yes")
    assert shop.http("handle-middleware", guard, polite) == {"proceed": True, "request": polite}
    passed = shop.http("handle-middleware", guard, request("GET", "/admin", headers=[("Authorization", "root")]))
    assert passed["proceed"]
    assert passed["request"]["headers"] == [("Authorization", "root"), ("x-user", "root")]
    refused = shop.http("handle-middleware", guard, request("GET", "/admin"))
    assert not refused["proceed"]
    assert refused["request"]["method"] == "403"
    assert refused["request"]["body"] == b"no"


@pytest.mark.parametrize(("answer", "proceeds"), [(True, True), (False, False)])
def test_a_middleware_may_say_yes_or_no(load, framework, answer, proceeds):
    actor = load(
        f"""
        import theater

        class Guarded(theater.Actor):
            @theater.http.middleware()
            def guard(self, request):
                return {answer}
        """,
        framework.answers(),
    )
    result = actor.http("handle-middleware", 100, request("GET", "/"))
    assert (result["proceed"], result["request"]["method"]) == (proceeds, "GET" if proceeds else "403")


def test_a_websocket_is_met_heard_and_seen_off(shop, framework):
    ids = framework.handlers
    shop.http("handle-websocket-connect", ids["came"], 3, "/talk", "name=ann")
    text = {"ty": Case("text"), "data": None, "text": '["/talk",{"name":"ann"}]'}
    assert framework.told[-1] == ("send-websocket-message", 0, 3, text)
    said = {"ty": Case("text"), "data": None, "text": "hi"}
    answer = {"ty": Case("text"), "data": None, "text": '{"was":"hi"}'}
    assert shop.http("handle-websocket-message", ids["said"], 3, said) == [answer]
    binary = {"ty": Case("binary"), "data": b"\x00", "text": None}
    assert shop.http("handle-websocket-message", ids["said"], 3, binary) == [binary]
    assert shop.http("handle-websocket-message", ids["said"], 3, {**said, "text": "bye"}) == []
    assert framework.told[-1] == ("close-websocket", 0, 3)
    shop.http("handle-websocket-disconnect", ids["went"], 3)
    assert json.loads(shop.state)["gone"] == [3]


def test_the_next_life_finds_the_methods_again(load, shop, framework):
    again = load(SHOP, framework.answers())
    again.state = shop.state
    known = dict(framework.handlers)
    answer = again.http("handle-request", known["item"], request("GET", "/items/salt"))
    assert body_of(answer)["item"] == "salt"
    assert framework.handlers == known
    lost = again.http("handle-request", 99, request("GET", "/"))
    assert lost == Err("Shop has no method any more for the handler 99")


def test_a_server_is_changed_while_it_runs(shop, framework):
    before = len(framework.told)
    shop.ask("[http.Server(7).add_route('get', '/new', self.home), http.Server(7).remove_route(8)]")
    shop.ask("[http.Server(7).add_middleware('/', self.guard), http.Server(7).remove_middleware(9)]")
    shop.ask("[http.Server(7).add_websocket('/more', self.said), http.Server(7).remove_websocket('/more')]")
    shop.ask("[http.Server(7).stop(), http.Server(7).start(), http.Server(7).destroy()]")
    ids = framework.handlers
    assert framework.told[before:] == [
        ("add-route", 7, "/new", "GET", ids["home"]),
        ("remove-route", 8),
        ("add-middleware", 7, "/", ids["guard"]),
        ("remove-middleware", 9),
        ("enable-websocket", 7, "/more", None, ids["said"], None),
        ("disable-websocket", 7, "/more"),
        ("stop-server", 7),
        ("start-server", 7),
        ("destroy-server", 7),
    ]
    assert shop.ask("str(http.Server(7).info())") == (
        "ServerInfo(id=7, host='127.0.0.1', port=8080, running=True, routes=9, middlewares=1, websockets=True)"
    )


def test_all_websockets_of_a_path_are_told_at_once(load):
    actor = load(
        SHOP,
        {
            (WEBSOCKETS, "broadcast-text"): lambda *_: 2,
            (WEBSOCKETS, "broadcast-binary"): lambda *_: 3,
            (WEBSOCKETS, "connections"): lambda *_: [4, 5],
        },
    )
    calls = (
        "s.broadcast('/talk', 'hi'), s.broadcast('/talk', {'a': 1}), s.broadcast('/talk', b'x'), s.connections('/talk')"
    )
    assert actor.ask(f"[[{calls}] for s in [http.Server(7)]][0]") == [2, 2, 3, [4, 5]]
    assert [args[1:] for _, _, args in actor.host.calls] == [
        ("/talk", "hi"),
        ("/talk", '{"a":1}'),
        ("/talk", b"x"),
        ("/talk",),
    ]


def test_a_server_may_speak_tls(shop, framework):
    shop.ask("http.Server.create(443, '0.0.0.0', certificate='c.pem', key='k.pem').id")
    config = {"port": 443, "host": "0.0.0.0", "tls-config": {"cert-path": "c.pem", "key-path": "k.pem"}}
    assert framework.told[-1] == ("create-server", config)


def test_what_is_refused_is_a_call_that_failed(load):
    assert load(SHOP).init() == Err("create-server of theater:simple/http-framework is not granted")


def test_a_path_that_is_none_is_said_when_the_program_is_loaded(load):
    with pytest.raises(LoadFailed, match="the path 'x' does not begin with a slash"):
        load("import theater\nclass A(theater.Actor):\n  @theater.http.get('x')\n  def x(self, request): pass")


def test_a_response_of_another_machine_is_read(load):
    def send(sent):
        assert sent["uri"] == "http://api/x"
        return {"status": 201, "headers": [("X-A", "1"), ("x-a", "2")], "body": b'{"sent": %d}' % len(sent["body"])}

    actor = load(
        """
        import theater
        from theater import http

        class Client(theater.Actor):
            def handle_request(self, message):
                found = http.fetch("http://api/x", "post", json=message, headers={"a": "b"})
                return [found.status, found.ok, found.json(), found.headers["x-a"], found.headers.all("X-A")]
        """,
        {(HTTP_CLIENT, "send-http"): send},
    )
    assert actor.ask([1]) == [201, True, {"sent": 3}, "1", ["1", "2"]]
    (call,) = actor.host.calls
    assert call[2][0]["headers"] == [("a", "b"), ("content-type", "application/json")]
    assert call[2][0]["method"] == "POST"
