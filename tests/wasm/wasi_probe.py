"""A component, as text, that does with WASI what it is told."""

from __future__ import annotations

from compiled import LIBC

API = "test:wasi/probe"
DATETIME = '(record (field "seconds" u64) (field "nanoseconds" u32))'


def probe(version: str = "0.2.9") -> str:
    """The component, with all its WASI imports of one version."""
    return f"""(component
  (import "wasi:io/error@{version}" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-type))
  (import "wasi:io/poll@{version}" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))
    (export "[method]pollable.ready" (func (param "self" (borrow $p)) (result bool)))
    (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@{version}" (instance $mono
    (alias outer 1 $pollable (type $given)) (export "pollable" (type $p (eq $given)))
    (export "now" (func (result u64)))
    (export "resolution" (func (result u64)))
    (export "subscribe-instant" (func (param "when" u64) (result (own $p))))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
  (import "wasi:clocks/wall-clock@{version}" (instance $wall
    (type $d {DATETIME}) (export "datetime" (type $datetime (eq $d)))
    (export "now" (func (result $datetime)))
    (export "resolution" (func (result $datetime)))))
  (import "wasi:random/random@{version}" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-random-u64" (func (result u64)))))
  (import "wasi:random/insecure@{version}" (instance $insecure
    (export "get-insecure-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-insecure-random-u64" (func (result u64)))))
  (import "wasi:random/insecure-seed@{version}" (instance $seed
    (export "insecure-seed" (func (result (tuple u64 u64))))))
  (import "wasi:cli/environment@{version}" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))
    (export "initial-cwd" (func (result (option string))))))
  (import "wasi:cli/exit@{version}" (instance $exit
    (export "exit" (func (param "status" (result))))
    (export "exit-with-code" (func (param "status-code" u8)))))
  (import "wasi:io/streams@{version}" (instance $streams
    (alias outer 1 $error-type (type $e)) (export "error" (type $err (eq $e)))
    (alias outer 1 $pollable (type $given)) (export "pollable" (type $p (eq $given)))
    (export "output-stream" (type $out (sub resource)))
    (export "input-stream" (type $in (sub resource)))
    (type $failure (variant (case "last-operation-failed" (own $err)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "[method]output-stream.check-write" (func (param "self" (borrow $out))
      (result (result u64 (error $stream-error)))))
    (export "[method]output-stream.blocking-write-and-flush" (func (param "self" (borrow $out))
      (param "contents" (list u8)) (result (result (error $stream-error)))))
    (export "[method]output-stream.subscribe" (func (param "self" (borrow $out)) (result (own $p))))
    (export "[method]input-stream.blocking-read" (func (param "self" (borrow $in)) (param "len" u64)
      (result (result (list u8) (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output))
  (alias export $streams "input-stream" (type $input))
  (import "wasi:cli/stdin@{version}" (instance $stdin
    (alias outer 1 $input (type $given)) (export "input-stream" (type $s (eq $given)))
    (export "get-stdin" (func (result (own $s))))))
  (import "wasi:cli/stdout@{version}" (instance $stdout
    (alias outer 1 $output (type $given)) (export "output-stream" (type $s (eq $given)))
    (export "get-stdout" (func (result (own $s))))))
  (import "wasi:cli/stderr@{version}" (instance $stderr
    (alias outer 1 $output (type $given)) (export "output-stream" (type $s (eq $given)))
    (export "get-stderr" (func (result (own $s))))))
  (import "wasi:cli/terminal-output@{version}" (instance $terminal (export "terminal-output" (type (sub resource)))))
  (alias export $terminal "terminal-output" (type $terminal-type))
  (import "wasi:cli/terminal-stdout@{version}" (instance $terminal-stdout
    (alias outer 1 $terminal-type (type $given)) (export "terminal-output" (type $t (eq $given)))
    (export "get-terminal-stdout" (func (result (option (own $t)))))))
  (import "wasi:filesystem/types@{version}" (instance $files (export "descriptor" (type (sub resource)))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@{version}" (instance $preopens
    (alias outer 1 $descriptor (type $given)) (export "descriptor" (type $d (eq $given)))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))
  (import "wasi:sockets/network@{version}" (instance $network
    (export "network" (type (sub resource)))
    (type $codes (enum "unknown" "access-denied" "not-supported")) (export "error-code" (type (eq $codes)))))
  (alias export $network "error-code" (type $error-code))
  (import "wasi:sockets/tcp@{version}" (instance $tcp (export "tcp-socket" (type (sub resource)))))
  (alias export $tcp "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@{version}" (instance $create
    (alias outer 1 $tcp-socket (type $given)) (export "tcp-socket" (type $s (eq $given)))
    (alias outer 1 $error-code (type $code)) (export "error-code" (type $ec (eq $code)))
    (export "create-tcp-socket" (func (param "address-family" u8) (result (result (own $s) (error $ec)))))))
  (import "wasi:http/outgoing-handler@{version}" (instance $http (export "handle" (func (param "request" u32)))))
  (import "wasi:clocks/timezone@{version}" (instance $timezone (export "utc-offset" (func (result u64)))))

  {LIBC}
  {_lowers()}
  (core module $main
    (import "libc" "memory" (memory 1))
    (import "libc" "reset" (func $reset))
    {_core_imports()}
    (func (export "wall") (result i32) (call $wall-now (i32.const 16)) i32.const 16)
    (func (export "wall-resolution") (result i32) (call $wall-resolution (i32.const 16)) i32.const 16)
    (func (export "monotonic") (result i64) (call $mono-now))
    (func (export "random") (param i64) (result i32)
      (call $get-random-bytes (local.get 0) (i32.const 16)) i32.const 16)
    (func (export "random-u64") (result i64) (call $get-random-u64))
    (func (export "insecure") (param i64) (result i32)
      (call $get-insecure-random-bytes (local.get 0) (i32.const 16)) i32.const 16)
    (func (export "insecure-u64") (result i64) (call $get-insecure-random-u64))
    (func (export "seed") (result i32) (call $insecure-seed (i32.const 16)) i32.const 16)
    (func (export "environment") (result i32) (call $get-environment (i32.const 16)) i32.const 16)
    (func (export "arguments") (result i32) (call $get-arguments (i32.const 16)) i32.const 16)
    (func (export "cwd") (result i32) (call $initial-cwd (i32.const 16)) i32.const 16)
    (func (export "exit") (param i32) (call $exit (local.get 0)))
    (func (export "exit-with") (param i32) (call $exit-with-code (local.get 0)))
    (func (export "sleep") (param i64) (local $p i32)
      (local.set $p (call $subscribe-duration (local.get 0)))
      (call $block (local.get $p)) (call $drop-pollable (local.get $p)))
    (func (export "ready") (param i64) (result i32) (local $p i32) (local $r i32)
      (local.set $p (call $subscribe-instant (local.get 0)))
      (local.set $r (call $ready (local.get $p))) (call $drop-pollable (local.get $p)) (local.get $r))
    (func (export "poll") (param i64 i64) (result i32)
      (i32.store (i32.const 32) (call $subscribe-duration (local.get 0)))
      (i32.store (i32.const 36) (call $subscribe-duration (local.get 1)))
      (call $poll (i32.const 32) (i32.const 2) (i32.const 16))
      (call $drop-pollable (i32.load (i32.const 32))) (call $drop-pollable (i32.load (i32.const 36)))
      i32.const 16)
    (func (export "poll-nothing") (result i32) (call $poll (i32.const 32) (i32.const 0) (i32.const 16)) i32.const 16)
    (func (export "write") (param i32 i32 i32) (result i32) (local $s i32) (local $p i32)
      (local.set $s (if (result i32) (local.get 0) (then (call $get-stderr)) (else (call $get-stdout))))
      (call $check-write (local.get $s) (i32.const 16))
      (local.set $p (call $subscribe-output (local.get $s)))
      (call $block (local.get $p)) (call $drop-pollable (local.get $p))
      (call $blocking-write-and-flush (local.get $s) (local.get 1) (local.get 2) (i32.const 32))
      (call $drop-output (local.get $s))
      (i32.load8_u (i32.const 32)))
    (func (export "read") (result i32) (local $s i32)
      (local.set $s (call $get-stdin))
      (call $blocking-read (local.get $s) (i64.const 100) (i32.const 16))
      (call $drop-input (local.get $s))
      (i32.add (i32.mul (i32.load8_u (i32.const 16)) (i32.const 10)) (i32.load8_u (i32.const 20))))
    (func (export "terminal") (result i32) (call $get-terminal-stdout (i32.const 16)) (i32.load8_u (i32.const 16)))
    (func (export "directories") (result i32) (call $get-directories (i32.const 16)) (i32.load (i32.const 20)))
    (func (export "connect") (result i32)
      (call $create-tcp-socket (i32.const 0) (i32.const 16))
      (i32.add (i32.mul (i32.load8_u (i32.const 16)) (i32.const 10)) (i32.load8_u (i32.const 20))))
    (func (export "http") (call $http (i32.const 1)))
    (func (export "timezone") (result i64) (call $utc-offset))
    (func (export "hoard") (loop (drop (call $subscribe-instant (i64.const 0))) (br 0)))
    (func (export "churn") (param $n i32)
      (loop $again
        (call $drop-pollable (call $subscribe-instant (i64.const 0)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "done") (param i32) (call $reset)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "w" (instance {" ".join(f'(export "{name}" (func ${name}))' for name in _CORE)}))))
  (alias core export $main "done" (core func $done))
  {_lifts()}
)"""


# core name: (instance, function, needs memory, core type)
_CORE = {
    "wall-now": ("wall", "now", True, "(param i32)"),
    "wall-resolution": ("wall", "resolution", True, "(param i32)"),
    "mono-now": ("mono", "now", False, "(result i64)"),
    "subscribe-instant": ("mono", "subscribe-instant", False, "(param i64) (result i32)"),
    "subscribe-duration": ("mono", "subscribe-duration", False, "(param i64) (result i32)"),
    "block": ("poll", "[method]pollable.block", False, "(param i32)"),
    "ready": ("poll", "[method]pollable.ready", False, "(param i32) (result i32)"),
    "poll": ("poll", "poll", True, "(param i32 i32 i32)"),
    "get-random-bytes": ("random", "get-random-bytes", True, "(param i64 i32)"),
    "get-random-u64": ("random", "get-random-u64", False, "(result i64)"),
    "get-insecure-random-bytes": ("insecure", "get-insecure-random-bytes", True, "(param i64 i32)"),
    "get-insecure-random-u64": ("insecure", "get-insecure-random-u64", False, "(result i64)"),
    "insecure-seed": ("seed", "insecure-seed", True, "(param i32)"),
    "get-environment": ("environment", "get-environment", True, "(param i32)"),
    "get-arguments": ("environment", "get-arguments", True, "(param i32)"),
    "initial-cwd": ("environment", "initial-cwd", True, "(param i32)"),
    "exit": ("exit", "exit", False, "(param i32)"),
    "exit-with-code": ("exit", "exit-with-code", False, "(param i32)"),
    "check-write": ("streams", "[method]output-stream.check-write", True, "(param i32 i32)"),
    "blocking-write-and-flush": (
        *("streams", "[method]output-stream.blocking-write-and-flush"),
        *(True, "(param i32 i32 i32 i32)"),
    ),
    "subscribe-output": ("streams", "[method]output-stream.subscribe", False, "(param i32) (result i32)"),
    "blocking-read": ("streams", "[method]input-stream.blocking-read", True, "(param i32 i64 i32)"),
    "get-stdin": ("stdin", "get-stdin", False, "(result i32)"),
    "get-stdout": ("stdout", "get-stdout", False, "(result i32)"),
    "get-stderr": ("stderr", "get-stderr", False, "(result i32)"),
    "get-terminal-stdout": ("terminal-stdout", "get-terminal-stdout", True, "(param i32)"),
    "get-directories": ("preopens", "get-directories", True, "(param i32)"),
    "create-tcp-socket": ("create", "create-tcp-socket", True, "(param i32 i32)"),
    "http": ("http", "handle", False, "(param i32)"),
    "utc-offset": ("timezone", "utc-offset", False, "(result i64)"),
    "drop-pollable": ("", "pollable", False, "(param i32)"),
    "drop-output": ("", "output", False, "(param i32)"),
    "drop-input": ("", "input", False, "(param i32)"),
}

# export: component type
_EXPORTS = {
    "wall": "(result $moment)",
    "wall-resolution": "(result $moment)",
    "monotonic": "(result u64)",
    "random": '(param "count" u64) (result (list u8))',
    "random-u64": "(result u64)",
    "insecure": '(param "count" u64) (result (list u8))',
    "insecure-u64": "(result u64)",
    "seed": "(result (tuple u64 u64))",
    "environment": "(result (list (tuple string string)))",
    "arguments": "(result (list string))",
    "cwd": "(result (option string))",
    "exit": '(param "status" (result))',
    "exit-with": '(param "code" u8)',
    "sleep": '(param "ns" u64)',
    "ready": '(param "instant" u64) (result bool)',
    "poll": '(param "a" u64) (param "b" u64) (result (list u32))',
    "poll-nothing": "(result (list u32))",
    "write": '(param "error" bool) (param "data" (list u8)) (result u32)',
    "read": "(result u32)",
    "terminal": "(result u32)",
    "directories": "(result u32)",
    "connect": "(result u32)",
    "http": "",
    "timezone": "(result u64)",
    "hoard": "",
    "churn": '(param "times" u32)',
}
_BY_POINTER = frozenset(
    ("wall", "wall-resolution", "random", "insecure", "seed", "environment", "arguments", "cwd", "poll", "poll-nothing")
)


def _lowers() -> str:
    lines = []
    for name, (instance, function, memory, _) in _CORE.items():
        if not instance:
            lines.append(f"(core func ${name} (canon resource.drop ${function}))")
        else:
            options = " (memory $mem) (realloc $realloc)" if memory else ""
            lines.append(f'(core func ${name} (canon lower (func ${instance} "{function}"){options}))')
    return "\n  ".join(lines)


def _core_imports() -> str:
    return "\n    ".join(f'(import "w" "{name}" (func ${name} {core[3]}))' for name, core in _CORE.items())


def _lifts() -> str:
    lines = [f"(type $moment-type {DATETIME})"]
    lines.append('(export $moment "moment" (type $moment-type))')
    for name, signature in _EXPORTS.items():
        options = " (memory $mem) (realloc $realloc)" + (
            " (post-return (core func $done))" if name in _BY_POINTER else ""
        )
        lines.append(f'(func (export "{name}") {signature} (canon lift (core func $main "{name}"){options}))')
    return "\n  ".join(lines)
