"""The WIT files say what the contract of actors says: names, types, order of arguments."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from theater.build.componentize import GUEST, WIT

CALLBACK = "func(state: option<list<u8>>, params: tuple<{params}>) -> result<tuple<option<list<u8>>{extra}>, string>"


def handler(params: str, extra: str = "") -> str:
    return CALLBACK.format(params=params, extra=f", tuple<{extra}>" if extra else "")


BYTES = "list<u8>"
DONE = "-> result<_, string>"

TYPES = {
    "types": {
        "type actor-id": "string",
        "type channel-id": "string",
        "record channel-accept": "accepted: bool, message: option<list<u8>>",
        "record chain": "events: list<meta-event>",
        "record meta-event": "hash: u64, event: event",
        "record event": "event-type: string, parent: option<u64>, data: list<u8>",
        "record chain-event": "hash: list<u8>, parent-hash: option<list<u8>>, event-type: string, data: list<u8>, "
        "timestamp: u64, description: option<string>",
        "enum wit-error-type": "operation-timeout, channel-closed, shutting-down, function-not-found, type-mismatch, "
        "internal, serialization-error, update-component-error, paused",
        "record wit-actor-error": "error-type: wit-error-type, data: option<list<u8>>",
    },
    "store": {"record content-ref": "hash: string"},
    "http-types": {
        "type bytes": "list<u8>",
        "record http-request": "method: string, uri: string, headers: list<tuple<string, string>>, body: option<bytes>",
        "record http-response": "status: u16, headers: list<tuple<string, string>>, body: option<bytes>",
        "record server-config": "port: option<u16>, host: option<string>, tls-config: option<tls-config>",
        "record tls-config": "cert-path: string, key-path: string",
        "record server-info": "id: u64, port: u16, host: string, running: bool, routes-count: u32, "
        "middleware-count: u32, websocket-enabled: bool",
        "record middleware-result": "proceed: bool, request: http-request",
    },
    "websocket-types": {
        "variant message-type": "text, binary, connect, close, ping, pong, other(string)",
        "record websocket-message": "ty: message-type, data: option<bytes>, text: option<string>",
    },
    "http-framework": {
        "type server-id": "u64",
        "type handler-id": "u64",
        "type route-id": "u64",
        "type middleware-id": "u64",
    },
    "http-handlers": {"type handler-id": "u64"},
    "filesystem": {
        "record command-success": "stdout: string, stderr: string, exit-code: s32",
        "record command-error": "message: string",
        "variant command-result": "success(command-success), error(command-error)",
    },
    "process": {
        "variant output-mode": "raw, line-by-line, json, chunked",
        "record process-config": "program: string, args: list<string>, cwd: option<string>, "
        "env: list<tuple<string, string>>, buffer-size: u32, stdout-mode: output-mode, stderr-mode: output-mode, "
        "chunk-size: option<u32>, execution-timeout: option<u64>",
        "record process-status": "pid: u64, running: bool, exit-code: option<s32>, start-time: u64",
    },
}

FUNCTIONS = {
    "actor": {"init": handler("string")},
    "message-server-client": {
        "handle-send": handler(BYTES),
        "handle-request": handler(f"string, {BYTES}", f"option<{BYTES}>"),
        "handle-channel-open": handler(f"string, {BYTES}", "channel-accept"),
        "handle-channel-message": handler(f"channel-id, {BYTES}"),
        "handle-channel-close": handler("channel-id"),
    },
    "supervisor-handlers": {
        "handle-child-error": handler("string, wit-actor-error"),
        "handle-child-exit": handler(f"string, option<{BYTES}>"),
        "handle-child-external-stop": handler("string"),
    },
    "http-handlers": {
        "handle-request": handler("handler-id, http-request", "http-response"),
        "handle-middleware": handler("handler-id, http-request", "middleware-result"),
        "handle-websocket-connect": handler("handler-id, u64, string, option<string>"),
        "handle-websocket-message": handler("handler-id, u64, websocket-message", "list<websocket-message>"),
        "handle-websocket-disconnect": handler("handler-id, u64"),
    },
    "process-handlers": {
        "handle-stdout": handler(f"u64, {BYTES}"),
        "handle-stderr": handler(f"u64, {BYTES}"),
        "handle-exit": handler("u64, s32"),
    },
    "runtime": {
        "log": "func(msg: string)",
        "get-chain": "func() -> chain",
        "shutdown": f"func(data: option<{BYTES}>) {DONE}",
    },
    "message-server-host": {
        "send": f"func(actor-id: actor-id, msg: {BYTES}) {DONE}",
        "request": f"func(actor-id: actor-id, msg: {BYTES}) -> result<{BYTES}, string>",
        "open-channel": f"func(actor-id: actor-id, initial-msg: {BYTES}) -> result<channel-id, string>",
        "send-on-channel": f"func(channel-id: channel-id, msg: {BYTES}) {DONE}",
        "close-channel": f"func(channel-id: channel-id) {DONE}",
        "list-outstanding-requests": "func() -> list<string>",
        "respond-to-request": f"func(request-id: string, response: {BYTES}) {DONE}",
        "cancel-request": f"func(request-id: string) {DONE}",
    },
    "supervisor": {
        "spawn": f"func(manifest: string, init-bytes: option<{BYTES}>) -> result<string, string>",
        "resume": f"func(manifest: string, init-state: option<{BYTES}>) -> result<string, string>",
        "list-children": "func() -> list<string>",
        "stop-child": f"func(child-id: string) {DONE}",
        "restart-child": f"func(child-id: string) {DONE}",
        "get-child-state": f"func(child-id: string) -> result<option<{BYTES}>, string>",
        "get-child-events": "func(child-id: string) -> result<list<chain-event>, string>",
    },
    "store": {
        "new": "func() -> result<string, string>",
        "store": f"func(store-id: string, content: {BYTES}) -> result<content-ref, string>",
        "get": f"func(store-id: string, content-ref: content-ref) -> result<{BYTES}, string>",
        "exists": "func(store-id: string, content-ref: content-ref) -> result<bool, string>",
        "label": f"func(store-id: string, label: string, content-ref: content-ref) {DONE}",
        "get-by-label": "func(store-id: string, label: string) -> result<option<content-ref>, string>",
        "remove-label": f"func(store-id: string, label: string) {DONE}",
        "remove-from-label": f"func(store-id: string, label: string, content-ref: content-ref) {DONE}",
        "store-at-label": f"func(store-id: string, label: string, content: {BYTES}) -> result<content-ref, string>",
        "replace-content-at-label": f"func(store-id: string, label: string, content: {BYTES}) "
        "-> result<content-ref, string>",
        "replace-at-label": f"func(store-id: string, label: string, content-ref: content-ref) {DONE}",
        "list-labels": "func(store-id: string) -> result<list<string>, string>",
        "list-all-content": "func(store-id: string) -> result<list<content-ref>, string>",
        "calculate-total-size": "func(store-id: string) -> result<u64, string>",
    },
    "http-framework": {
        "create-server": "func(config: server-config) -> result<server-id, string>",
        "get-server-info": "func(server-id: server-id) -> result<server-info, string>",
        "start-server": "func(server-id: server-id) -> result<u16, string>",
        "stop-server": f"func(server-id: server-id) {DONE}",
        "destroy-server": f"func(server-id: server-id) {DONE}",
        "register-handler": "func(handler-name: string) -> result<handler-id, string>",
        "add-route": "func(server-id: server-id, path: string, method: string, handler-id: handler-id) "
        "-> result<route-id, string>",
        "remove-route": f"func(route-id: route-id) {DONE}",
        "add-middleware": "func(server-id: server-id, path: string, handler-id: handler-id) "
        "-> result<middleware-id, string>",
        "remove-middleware": f"func(middleware-id: middleware-id) {DONE}",
        "enable-websocket": "func(server-id: server-id, path: string, connect-handler-id: option<handler-id>, "
        f"message-handler-id: handler-id, disconnect-handler-id: option<handler-id>) {DONE}",
        "disable-websocket": f"func(server-id: server-id, path: string) {DONE}",
        "send-websocket-message": "func(server-id: server-id, connection-id: u64, message: websocket-message) "
        "-> result<_, string>",
        "close-websocket": f"func(server-id: server-id, connection-id: u64) {DONE}",
    },
    "http-client": {"send-http": "func(req: http-request) -> result<http-response, string>"},
    "filesystem": {
        "read-file": f"func(path: string) -> result<{BYTES}, string>",
        "write-file": f"func(path: string, content: string) {DONE}",
        "list-files": "func(path: string) -> result<list<string>, string>",
        "delete-file": f"func(path: string) {DONE}",
        "create-dir": f"func(path: string) {DONE}",
        "delete-dir": f"func(path: string) {DONE}",
        "path-exists": "func(path: string) -> result<bool, string>",
        "execute-command": "func(dir: string, command: string, args: list<string>) -> result<command-result, string>",
        "execute-nix-command": "func(dir: string, command: string) -> result<command-result, string>",
    },
    "timing": {
        "now": "func() -> u64",
        "sleep": f"func(duration: u64) {DONE}",
        "deadline": f"func(timestamp: u64) {DONE}",
    },
    "random": {
        "random-bytes": f"func(length: u32) -> result<{BYTES}, string>",
        "random-range": "func(min: u64, max: u64) -> result<u64, string>",
        "random-float": "func() -> result<f64, string>",
        "generate-uuid": "func() -> result<string, string>",
    },
    "environment": {
        "get-var": "func(name: string) -> option<string>",
        "list-vars": "func() -> list<tuple<string, string>>",
        "exists": "func(name: string) -> bool",
    },
    "process": {
        "os-spawn": "func(config: process-config) -> result<u64, string>",
        "os-write-stdin": f"func(pid: u64, data: {BYTES}) -> result<u32, string>",
        "os-status": "func(pid: u64) -> result<process-status, string>",
        "os-signal": f"func(pid: u64, signal: u32) {DONE}",
        "os-kill": f"func(pid: u64) {DONE}",
    },
}

OTP_TYPES = {
    "files": {
        "enum file-kind": "file, folder, other",
        "record file-info": "kind: file-kind, size: u64, modified: u64",
    },
    "identity": {"record me": "id: string, name: string, parent: option<string>, incarnation: u64"},
    "exits": {
        "enum exit-kind": "normal, shutdown, trap, error, signal, status, out-of-memory, deadline, start-failed, "
        "gave-up, killed, no-process",
        "record exit-reason": "kind: exit-kind, detail: option<string>, signal: option<u32>, status: option<s32>, "
        "commanded: bool",
    },
}

OTP_FUNCTIONS = {
    "identity": {
        "self": "func() -> me",
        "sender": "func() -> option<string>",
        "deadline": "func() -> option<u64>",
    },
    "registry": {
        "register": f"func(name: string) {DONE}",
        "unregister": f"func(name: string) {DONE}",
        "whereis": "func(name: string) -> option<string>",
    },
    "timers": {
        "send-after": f"func(delay: u64, msg: {BYTES}) -> result<u64, string>",
        "send-interval": f"func(period: u64, msg: {BYTES}) -> result<u64, string>",
        "cancel": "func(timer: u64) -> bool",
    },
    "requests": {
        "request-timeout": f"func(actor-id: string, msg: {BYTES}, timeout: u64) -> result<{BYTES}, string>",
    },
    "secrets": {"get": f"func(name: string) -> result<{BYTES}, string>"},
    "monitors": {
        "monitor": "func(actor: string) -> result<u64, string>",
        "demonitor": "func(monitor: u64) -> bool",
    },
    "links": {
        "link": f"func(actor: string) {DONE}",
        "unlink": f"func(actor: string) {DONE}",
        "trap-exits": "func(trap: bool)",
    },
    "monitor-handlers": {
        "handle-down": handler("u64, string, exit-reason"),
        "handle-exit": handler("string, exit-reason"),
    },
    "files": {
        "write-bytes": f"func(path: string, content: {BYTES}) {DONE}",
        "append": f"func(path: string, content: {BYTES}) {DONE}",
        "read-part": f"func(path: string, offset: u64, length: u32) -> result<{BYTES}, string>",
        "rename": f"func(path: string, to: string) {DONE}",
        "stat": "func(path: string) -> result<option<file-info>, string>",
    },
    "websockets": {
        "broadcast-text": "func(server-id: u64, path: string, text: string) -> result<u32, string>",
        "broadcast-binary": f"func(server-id: u64, path: string, data: {BYTES}) -> result<u32, string>",
        "connections": "func(server-id: u64, path: string) -> result<list<u64>, string>",
    },
    "program": {"load": f"func(modules: list<tuple<string, {BYTES}>>, entry: string) {DONE}"},
}


def interfaces(package: str) -> dict[str, str]:
    """The text of each interface of a package, without comments, white space as single spaces."""
    text = "\n".join(path.read_text() for path in sorted((WIT / package).glob("*.wit")))
    plain = re.sub(r"\s+", " ", re.sub(r"//.*", "", text))
    return dict(re.findall(r"interface ([a-z-]+) \{ (.*?) \} ?(?=interface|world|package|$)", plain))


def functions(text: str) -> dict[str, str]:
    return dict(re.findall(r"([a-z-]+): (func\(.*?);", text))


def types(text: str) -> dict[str, str]:
    declared = {f"type {name}": target for name, target in re.findall(r"type ([a-z-]+) = (.*?);", text)}
    for kind, name, body in re.findall(r"(record|variant|enum) ([a-z-]+) \{ (.*?),? \}", text):
        declared[f"{kind} {name}"] = body
    return declared


@pytest.mark.parametrize(
    ("package", "expected_functions", "expected_types"),
    [("simple", FUNCTIONS, TYPES), ("otp", OTP_FUNCTIONS, OTP_TYPES)],
)
def test_interfaces_are_those_of_the_contract(package, expected_functions, expected_types):
    found = interfaces(package)
    assert {name: functions(text) for name, text in found.items() if functions(text)} == expected_functions
    assert {name: types(text) for name, text in found.items() if types(text)} == expected_types
    assert set(found) == set(expected_functions) | set(expected_types)


def test_the_packages_are_named_as_actors_expect_them():
    for package, name in (("simple", "theater:simple"), ("otp", "theater:otp@0.1.0")):
        for path in (WIT / package).glob("*.wit"):
            assert re.search(r"^package (.*);$", path.read_text(), re.MULTILINE)[1] == name


@pytest.mark.parametrize("world", ["theater:simple/everything", "theater:otp/otp", "theater:python/runner"])
def test_bindings_can_be_made_of_every_world(tmp_path: Path, world: str):
    options = [option for folder in (WIT / "simple", WIT / "otp", GUEST / "wit") for option in ("-d", str(folder))]
    command = (sys.executable, "-c", "import sys, componentize_py; sys.exit(componentize_py.script())")
    subprocess.run([*command, *options, "-w", world, "bindings", str(tmp_path / "made")], check=True, timeout=60)
    assert (tmp_path / "made" / "wit_world" / "imports" / "__init__.py").is_file()


def test_every_end_that_there_is_has_its_name_in_wit():
    from theater.core.exit_reason import ExitKind

    names = types(interfaces("otp")["exits"])["enum exit-kind"].split(", ")
    assert names == [kind.value.replace("_", "-") for kind in ExitKind]
