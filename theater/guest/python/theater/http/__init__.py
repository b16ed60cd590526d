"""HTTP: servers that hand their requests to this actor, and requests to other machines.

    import theater
    from theater import http

    class Hello(theater.Actor):
        def init(self):
            http.serve(self, port=8080)

        @http.get("/hello/{name}")
        def hello(self, request, name):
            return f"Hello, {name}!"

What a method is for stands above it, so that the actor finds it again in its next life: a restart keeps its servers,
and does not call `init`.
"""

from theater.http.client import fetch
from theater.http.messages import Abort, Headers, Request, Response, html, redirect
from theater.http.routes import (
    delete,
    get,
    middleware,
    patch,
    post,
    put,
    route,
    websocket,
    websocket_connect,
    websocket_disconnect,
)
from theater.http.server import Server, ServerInfo, serve
from theater.http.sockets import Socket

__all__ = [
    "Abort",
    "Headers",
    "Request",
    "Response",
    "Server",
    "ServerInfo",
    "Socket",
    "delete",
    "fetch",
    "get",
    "html",
    "middleware",
    "patch",
    "post",
    "put",
    "redirect",
    "route",
    "serve",
    "websocket",
    "websocket_connect",
    "websocket_disconnect",
]
