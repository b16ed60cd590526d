"""Requests, answered by an actor: what it is told, what it may answer, and what becomes of its failures."""

from __future__ import annotations

import pytest
from house import House
from web import Web


def test_an_actor_answers(web: Web) -> None:
    answer = web.get("/hello/World")
    assert (answer.status, answer.body) == (200, b"Hello, World!")
    assert answer.headers["server"] == "Theater"


def test_the_actor_is_told_the_request_as_it_came(web: Web) -> None:
    told = web.ask("PUT", "/echo?a=%20b&a=c", b"body", X_One="1", x_TWO="ü").json()
    assert told["method"] == "PUT"
    assert told["uri"] == "/echo?a=%20b&a=c"
    assert told["body"] == "body"
    assert ["x-one", "1"] in told["headers"]
    assert ["x-two", "ü"] in told["headers"]


def test_parameters_arrive_as_headers_that_no_client_can_forge(web: Web) -> None:
    told = web.get("/echo/a%20b/2", X_Theater_Param_One="forged", X_THEATER_else="forged").json()
    ours = [pair for pair in told["headers"] if pair[0].startswith("x-theater-")]
    assert ours == [["x-theater-param-one", "a b"], ["x-theater-param-two", "2"]]
    rest = web.get("/files/x/y%2Fz").json()
    assert ["x-theater-wildcard", "x/y/z"] in rest["headers"]


def test_one_connection_carries_many_requests_also_before_they_are_answered(web: Web) -> None:
    with web.line() as line:
        for name in "abc":
            assert line.send(_get(f"/hello/{name}")).answer().body == f"Hello, {name}!".encode()
        line.send(b"".join(_get(f"/hello/{name}") for name in "def"))
        assert [line.answer().body[-2:-1] for _ in "def"] == [b"d", b"e", b"f"]


def test_chunks_are_one_body(web: Web) -> None:
    head = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    with web.line() as line:
        assert line.send(head + b"3\r\nabc\r\n").send(b"4\r\ndefg\r\n0\r\n\r\n").answer().json()["body"] == "abcdefg"


def test_who_expects_to_be_told_to_continue_is(web: Web) -> None:
    with web.line() as line:
        line.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        assert line.answer().status == 100
        assert line.send(b"abc").answer().json()["body"] == "abc"
    assert web.ask("POST", "/echo", b"abc", expect="something").status == 417


def test_what_is_not_there_is_404_and_a_wrong_method_405(web: Web) -> None:
    assert web.get("/nothing").status == 404
    wrong = web.ask("DELETE", "/hello/x")
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    asked = web.ask("OPTIONS", "/hello/x")
    assert (asked.status, asked.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert web.ask("OPTIONS", "*").status == 204


def test_head_is_get_without_a_body(web: Web) -> None:
    answer = web.ask("HEAD", "/hello/World")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "13", b"")


def test_an_error_of_the_actor_is_500_and_its_sentence_stays_inside(web: Web) -> None:
    answer = web.get("/err")
    assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")
    assert "nobody's business" in str(web.house.client.logs(web.name))


def test_an_answer_that_comes_too_late_is_504(house: House) -> None:
    late = Web.started(house, "late", 'timeout = "200ms"')
    assert late.get("/slow?s=0.6").status == 504


@pytest.mark.parametrize(
    ("name", "value"), [("x", "a%0d%0aset-cookie:b"), ("x", "a%00b"), ("x%20y", "a"), ("x%0d%0ay", "a"), ("", "a")]
)
def test_no_header_of_an_answer_begins_another_one(web: Web, name: str, value: str) -> None:
    answer = web.get(f"/header?name={name}&value={value}")
    assert answer.status == 500
    assert "set-cookie" not in answer.headers


def test_what_belongs_to_the_connection_is_not_the_actors_to_say(web: Web) -> None:
    for name, value in (("transfer-encoding", "chunked"), ("content-length", "99"), ("Connection", "upgrade")):
        answer = web.get(f"/header?name={name}&value={value}")
        assert (answer.status, answer.body) == (200, b"x")
        assert answer.headers.get("transfer-encoding") is None
        assert answer.headers["content-length"] == "1"


@pytest.mark.parametrize("code", ["100", "101", "199", "600", "999"])
def test_what_is_no_final_status_is_500(web: Web, code: str) -> None:
    assert web.get(f"/status?code={code}").status == 500


def test_an_answer_without_content_has_none(web: Web) -> None:
    with web.line() as line:
        for code in (204, 304):
            answer = line.send(_get(f"/status?code={code}")).answer(head_only=True)
            assert answer.status == code
        assert line.send(_get("/hello/x")).answer().body == b"Hello, x!"


def test_a_middleware_answers_in_place_of_the_route_or_lets_it_answer(web: Web) -> None:
    refused = web.get("/private/room")
    assert (refused.status, refused.body, refused.headers["www-authenticate"]) == (401, b"who are you?", "Basic")
    assert web.get("/private/nothing").status == 401
    assert web.get("/private/room", authorization="me").body == b"come in"
    assert web.get("/privates").status == 404


def test_an_absolute_target_is_of_this_host_or_refused(web: Web) -> None:
    assert web.ask("GET", "http://localhost/hello/x").body == b"Hello, x!"
    assert web.ask("GET", "http://elsewhere/hello/x").status == 400


def _get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
