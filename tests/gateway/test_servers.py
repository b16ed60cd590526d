"""Servers over the lives of their actor, of the gateway and of the whole server; ports that are taken, and shared."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from house import House, eventually
from web import Line, Web, listens, request

from theater.errors import StartFailed, TheaterError

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


def test_a_hundred_open_requests_of_an_actor_that_dies_are_each_told_so_at_once(house: House) -> None:
    web = Web.started(house, "hundred", fast=True, limits='request_timeout = "60s"\ncall_timeout = "infinity"\n')
    lines = [web.line() for _ in range(100)]
    for line in lines:
        line.send(request("GET", "/hang"))
    eventually(lambda: house.client.inspect("hundred").facts["call"], "it hangs")
    for _ in range(3):
        assert web.ask("OPTIONS", "*").status == 204  # By now the gateway has read what came before.
    house.kill_worker("hundred")
    assert [line.answer().status for line in lines] == [502] * 100
    eventually(lambda: web.get("/").status == 200, "there is a next life")
    for line in lines:
        assert line.send(GET).answer().status == 200  # The connection is as good as before.
        line.socket.close()


def test_a_request_that_comes_between_two_lives_waits_for_the_next(house: House) -> None:
    web = Web.started(house, "between", fast=True)
    with web.line() as line:
        assert line.send(GET).answer().status == 200
        for _ in range(5):
            house.kill_worker("between")
            assert line.send(GET).answer().status in (200, 502, 503)
        assert eventually(lambda: line.send(GET).answer().status == 200)


def test_an_actor_that_is_stopped_listens_no_more(house: House) -> None:
    more = 'listen = ["127.0.0.1:*"]'
    web = Web.started(house, "away", more, fast=True)
    house.client.stop("away")
    eventually(lambda: not _answers(web, "/"), "nobody listens")


def test_a_client_that_vanishes_leaves_nothing_behind(house: House) -> None:
    web = Web.started(house, "vanish")
    for _ in range(20):
        with web.line() as line:
            line.send(request("GET", "/slow?s=0.01"))
    assert web.get("/hello/x").status == 200


def test_servers_routes_and_middlewares_are_told_about(web: Web) -> None:
    port, host, running, routes, middlewares, websockets = web.tell("info")
    assert (port, host, running, websockets) == (web.port, "127.0.0.1", True, True)
    assert routes > 5
    assert middlewares == 2


def test_routes_come_and_go_while_a_server_runs(web: Web) -> None:
    assert web.get("/late/7").status == 404
    route = web.tell("add-route", method="get", path="/late/{number}")
    assert web.get("/late/7").status == 200
    assert web.ask("POST", "/late/7").status == 405
    web.tell("remove-route", id=route)
    assert web.get("/late/7").status == 404
    middleware = web.tell("add-middleware", path="/hello")
    assert web.get("/hello/x").status == 503
    web.tell("remove-middleware", id=middleware)
    assert web.get("/hello/x").status == 200
    for what in ("route", "middleware"):
        with pytest.raises(TheaterError, match=f"there is no {what} {route}"):
            web.tell(f"remove-{what}", id=route)


def test_what_makes_no_sense_is_refused_with_a_sentence(web: Web) -> None:
    with pytest.raises(TheaterError, match=r"has GET /hello/.name. already"):
        web.tell("add-route", method="GET", path="/hello/{other}")
    with pytest.raises(TheaterError, match="is no path"):
        web.tell("add-route", method="GET", path="hello")
    with pytest.raises(TheaterError, match="there is no server 99"):
        web.tell("start", server=99)
    with pytest.raises(TheaterError, match="is running already"):
        web.tell("start")
    with pytest.raises(TheaterError, match=r"accepts websockets on ./chat. already"):
        web.tell("add-websocket", path="/chat")
    with pytest.raises(TheaterError, match="is no IP address"):
        web.tell("create", host="example.com")


def test_a_server_that_is_stopped_takes_no_connections_until_it_is_started(house: House) -> None:
    web = Web.started(house, "stopped")
    with web.line() as idle:
        web.tell("stop")
        assert idle.is_closed()
    with pytest.raises(ConnectionRefusedError):
        web.line()
    assert listens(house, "stopped") == []
    assert web.tell("start") == web.port
    assert web.get("/hello/x").status == 200
    web.tell("destroy")
    with pytest.raises(ConnectionRefusedError):
        web.line()
    with pytest.raises(TheaterError, match="there is no server"):
        web.tell("info")


def test_what_is_being_answered_is_answered_when_its_server_stops(house: House) -> None:
    web = Web.started(house, "drained")
    with web.line() as line, ThreadPoolExecutor() as pool:
        line.send(request("GET", "/slow?s=0.3"))
        eventually(lambda: house.client.inspect("drained").facts["call"], "it is being answered")
        stopping = pool.submit(web.tell, "stop")
        answer = line.answer()
        assert (answer.status, answer.body) == (200, b"slow")
        stopping.result(30)
        assert line.is_closed()


def test_what_is_being_answered_is_answered_when_the_whole_server_ends(own_house: House) -> None:
    web = Web.started(own_house, "ends")
    with web.line() as line:
        line.send(request("GET", "/busy?n=1000000"))
        eventually(lambda: own_house.client.inspect("ends").facts["call"], "it is being answered")
        own_house.send_signal(15)
        assert line.answer().body == b"busy"
    assert own_house.await_end() == 0


def test_a_port_that_is_taken_is_named(house: House, web: Web) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(TheaterError, match=f"port {port} of 127.0.0.1 is taken by another program"):
            web.tell("serve", port=port)
    with pytest.raises(TheaterError, match=f"port {web.port} of 127.0.0.1 is taken: any host, any path is answered by"):
        web.tell("serve", port=web.port)


def test_only_addresses_that_are_granted_are_listened_on(house: House) -> None:
    web = Web.started(house, "granted", 'listen = ["127.0.0.1:20000-20999", "[::1]:*"]')
    assert 20000 <= web.port <= 20999
    with pytest.raises(TheaterError, match=r"does not grant listening on 127.0.0.1, port 8080; .* has 127.0.0.1:20000"):
        web.tell("create", port=8080)
    with pytest.raises(TheaterError, match=r"does not grant listening on a port of 0.0.0.0"):
        web.tell("create", host="0.0.0.0")
    number, port = web.tell("serve", host="::1")
    with Line(port, "::1") as line:
        assert line.send(GET).answer().status == 404
    assert number != 1


def test_an_actor_without_the_grant_cannot_listen(house: House) -> None:
    with pytest.raises(StartFailed, match=r"does not grant listening on a port of 127.0.0.1"):
        Web.started(house, "nowhere", "listen = []", fast=True)


def test_a_server_outlives_the_life_of_its_actor_with_all_that_was_added(house: House) -> None:
    web = Web.started(house, "outlives")
    web.tell("add-route", method="GET", path="/late")
    row = house.kill_worker("outlives")
    assert web.get("/late").status in (200, 502)
    house.await_incarnation("outlives", row.incarnation + 1)
    assert web.get("/late").status == 200
    assert port(web) == web.port


def port(web: Web) -> int:
    return int(web.tell("info")[0])


def test_an_actor_that_begins_anew_has_the_servers_of_its_init_and_no_others(house: House) -> None:
    web = Web.started(house, "anew", handlers="")
    path = house.folder / "anew.toml"
    path.write_text(
        path.read_text().replace("[supervision]", '[supervision]\nstate = "fresh"').replace("anew", "fresh")
    )
    house.client.start(path)
    fresh = Web(house, "fresh", int(listens(house, "fresh")[0].split(":")[2].split()[0]))
    fresh.tell("add-route", method="GET", path="/late")
    number, other = fresh.tell("serve")
    assert number != 1
    row = house.kill_worker("fresh")
    house.await_incarnation("fresh", row.incarnation + 1)
    there = eventually(lambda: len(found := listens(house, "fresh")) == 1 and found)
    again = Web(house, "fresh", int(there[0].split(":")[2].split()[0]))
    assert again.get("/late").status == 404
    assert again.get("/hello/x").status == 200
    eventually(lambda: not _answers(Web(house, "fresh", other), "/hello/x"), "the second server is gone")
    assert web.get("/hello/x").status == 200


def test_a_gateway_that_dies_is_replaced_and_everybody_listens_where_they_did(own_house: House) -> None:
    web = Web.started(own_house, "anchor")
    web.tell("add-route", method="GET", path="/late")
    dead = own_house.service("gateway")
    own_house.kill(dead)
    own_house.service("gateway", other_than=dead)
    eventually(lambda: _answers(web, "/late"), own_house.log_text)


def test_a_server_that_is_started_again_listens_where_it_did(own_house: House) -> None:
    web = Web.started(own_house, "again")
    web.tell("add-route", method="GET", path="/late")
    own_house.send_signal(15)
    own_house.await_end()
    own_house.open()
    eventually(lambda: _answers(web, "/late"), own_house.log_text)


def _answers(web: Web, path: str) -> bool:
    try:
        return web.get(path).status == 200
    except OSError:
        return False


def test_several_actors_share_a_port_by_host(house: House) -> None:
    one = Web.started(house, "host1", 'hosts = ["one.test"]', fast=True)
    more = f'hosts = ["two.test", "localhost"]\nlisten = ["127.0.0.1:{one.port}"]'
    two = Web.started(house, "host2", more)
    assert two.port == one.port
    assert two.get("/hello/x", host="Two.Test:80").body == b"Hello, x!"
    assert two.get("/hello/x", host="one.test").body.startswith(b"0123456789")
    assert two.get("/hello/x", host="three.test").status == 421
    with pytest.raises(StartFailed, match=r"is taken: two.test, any path is answered by server 1 of host2"):
        Web.started(house, "host3", f'hosts = ["two.test"]\nlisten = ["127.0.0.1:{one.port}"]', fast=True)
    house.client.stop("host1")
    assert two.get("/hello/x", host="one.test").status == 421
    assert two.get("/hello/x").status == 200


def test_several_actors_share_a_port_by_path(house: House) -> None:
    one = Web.started(house, "path1", 'prefixes = ["/fast"]', fast=True)
    two = Web.started(house, "path2", f'prefixes = ["/hello", "/seen"]\nlisten = ["127.0.0.1:{one.port}"]')
    assert two.get("/hello/x").body == b"Hello, x!"
    assert two.get("/fast/x").body.startswith(b"0123456789")
    assert two.get("/faster").status == 404
    with pytest.raises(StartFailed, match="is taken: any host, /hello/x is answered by server 1 of path2"):
        Web.started(house, "path3", f'prefixes = ["/hello/x"]\nlisten = ["127.0.0.1:{one.port}"]', fast=True)


def test_a_full_mailbox_is_503(house: House) -> None:
    web = Web.started(
        house, "full", limits='mailbox = 3\nrequest_timeout = "60s"\ncall_timeout = "infinity"\n', fast=True
    )
    lines = [web.line() for _ in range(10)]
    for line in lines:
        line.send(request("GET", "/hang"))
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda line=line: statuses.append(line.answer().status)) for line in lines]
    for thread in threads:
        thread.start()
    eventually(lambda: statuses.count(503) == 7, "seven are refused")
    house.kill_worker("full")
    for thread in threads:
        thread.join()
    for line in lines:
        line.socket.close()
    assert sorted(statuses) == [502] * 3 + [503] * 7


def test_a_chain_with_servers_replays_without_them(own_house: House) -> None:
    from replays import reproduced

    web = Web.started(own_house, "replayed")
    web.get("/hello/x")
    web.get("/private/room")
    web.ask("POST", "/echo/1/2", b"body")
    row = own_house.kill_worker("replayed")
    own_house.await_incarnation("replayed", row.incarnation + 1)
    web.tell("serve")
    own_house.client.stop("replayed")
    reproduced(own_house, row.id)
    own_house.verify()
