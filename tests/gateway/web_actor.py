"""The actor of these tests: it does with its servers what it is told, and says what it has seen."""

from theater._host import ask, interface

import theater
from theater import http

_sockets = interface("websockets")


class Web(theater.Actor):
    initial = {"seen": [], "open": [], "closed": [], "server": None}  # noqa: RUF012

    def init(self):
        self.state["server"] = http.serve(self).id

    # ---- told by messages

    def handle_request(self, message):
        server = http.Server(message.get("server", self.state["server"]))
        match message["do"]:
            case "state":
                return self.state
            case "create":
                return http.Server.create(
                    message.get("port"), message.get("host"), certificate=message.get("cert"), key=message.get("key")
                ).id
            case "serve":
                server = http.Server.create(
                    message.get("port"), message.get("host"), certificate=message.get("cert"), key=message.get("key")
                )
                server.add_all(self)
                return [server.id, server.start()]
            case "start":
                return server.start()
            case "stop":
                return server.stop()
            case "destroy":
                return server.destroy()
            case "info":
                info = server.info()
                return [info.port, info.host, info.running, info.routes, info.middlewares, info.websockets]
            case "add-route":
                return server.add_route(message["method"], message["path"], self.echo)
            case "remove-route":
                return server.remove_route(message["id"])
            case "add-middleware":
                return server.add_middleware(message["path"], self.gate)
            case "remove-middleware":
                return server.remove_middleware(message["id"])
            case "add-websocket":
                return server.add_websocket(message["path"], self.told, self.opened, self.closed)
            case "remove-websocket":
                return server.remove_websocket(message["path"])
            case "send":
                return server.send(message["to"], message["body"])
            case "close":
                return server.close(message["to"])
            case "broadcast":
                return ask(_sockets.broadcast_text, server.id, message["path"], message["body"])
            case "broadcast-bytes":
                return ask(_sockets.broadcast_binary, server.id, message["path"], message["body"].encode())
            case "connections":
                return ask(_sockets.connections, server.id, message["path"])
        raise ValueError(message["do"])

    # ---- requests

    @http.route("*", "/echo")
    @http.route("*", "/echo/{one}/{two}")
    @http.route("*", "/files/*")
    def echo(self, request, **params):
        headers = list(request.headers.pairs)
        return {
            "method": request.method,
            "uri": request.uri,
            "headers": headers,
            "body": None if request.body is None else request.body.decode("latin-1"),
        }

    @http.get("/hello/{name}")
    def hello(self, request, name):
        return f"Hello, {name}!"

    @http.get("/seen")
    def seen(self, request):
        self.state["seen"].append(request.uri)
        return self.state["seen"]

    @http.get("/fail")
    def fail(self, request):
        raise http.Abort(418)

    @http.get("/err")
    def err(self, request):
        raise theater.Error("a sentence that is nobody's business")

    @http.get("/crash")
    def crash(self, request):
        raise ValueError("as asked")

    @http.get("/slow")
    def slow(self, request):
        theater.time.sleep(float(request.query.get("s", "1")))
        return "slow"

    @http.get("/busy")
    def busy(self, request):
        for number in range(int(request.query["n"])):
            hash(number)
        return "busy"

    @http.get("/big")
    def big(self, request):
        return http.Response(b"x" * int(request.query["n"]))

    @http.get("/header")
    def header(self, request):
        return http.Response("x", headers=[(request.query["name"], request.query["value"])])

    @http.get("/status")
    def status(self, request):
        return http.Response("x", status=int(request.query["code"]))

    @http.middleware("/private")
    def private(self, request):
        if request.headers.get("authorization") is None:
            return http.Response("who are you?", status=401, headers=[("www-authenticate", "Basic")])
        return None

    @http.get("/private/room")
    def room(self, request):
        return "come in"

    @http.middleware("/gated")
    def gate(self, request):
        return http.Response("closed", status=503)

    # ---- websockets

    @http.websocket_connect("/chat")
    def opened(self, socket, path, query):
        if query.get("no"):
            raise theater.Error("not you")
        self.state["open"].append(socket.id)

    @http.websocket("/chat")
    def told(self, socket, message):
        if message == "crash":
            raise ValueError("as asked")
        if message == "slow":
            theater.time.sleep(0.2)
        if message[:5] == "quiet":
            return None
        return message

    @http.websocket_disconnect("/chat")
    def closed(self, socket):
        self.state["closed"].append(socket.id)
