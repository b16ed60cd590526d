;; The smallest actor behind HTTP, and the fastest: a core module that becomes a component by
;; theater.wasm.componentize. Its init makes a server on a free port, gives it one handler for everything, and starts it;
;; where that fails it answers the host's own sentence. Every request is answered with 100 bytes, but
;;   /trap       ends the life         /err    is answered with an error         /hang    never returns
;; and a websocket on /ws has each of its messages sent back.
(module
  (import "theater:simple/http-framework" "create-server"
    (func $create (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "theater:simple/http-framework" "register-handler" (func $register (param i32 i32 i32)))
  (import "theater:simple/http-framework" "add-route" (func $route (param i64 i32 i32 i32 i32 i64 i32)))
  (import "theater:simple/http-framework" "enable-websocket"
    (func $websocket (param i64 i32 i32 i32 i64 i64 i32 i64 i32)))
  (import "theater:simple/http-framework" "start-server" (func $start (param i64 i32)))
  (memory (export "memory") 2)
  (global $top (mut i32) (i32.const 4096))
  (data (i32.const 16) "every/**")
  (data (i32.const 32) "/ws")
  (data (i32.const 128) "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789")

  (func (export "cabi_realloc") (param $old i32) (param $osz i32) (param $al i32) (param $nsz i32) (result i32)
    (local $p i32)
    (local.set $p (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $p) (local.get $nsz)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $top) (i32.shl (memory.size) (i32.const 16))))
      (br_if $fits (i32.ne (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $nsz) (i32.const 16))))))
      unreachable)
    (if (local.get $osz) (then (memory.copy (local.get $p) (local.get $old) (local.get $osz))))
    (local.get $p))
  (func $done (param i32) (global.set $top (i32.const 4096)))

  ;; 64: what the host answered; 256: what this answers
  (func $failed (result i32)
    (i32.store8 (i32.const 256) (i32.const 1))
    (i32.store (i32.const 260) (i32.load (i32.const 72))) (i32.store (i32.const 264) (i32.load (i32.const 76)))
    (i32.const 256))
  (func (export "theater:simple/actor#init") (param i32 i32 i32 i32 i32) (result i32)
    (local $server i64) (local $handler i64)
    (call $create (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (return (call $failed))))
    (local.set $server (i64.load (i32.const 72)))
    (call $register (i32.const 16) (i32.const 5) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (return (call $failed))))
    (local.set $handler (i64.load (i32.const 72)))
    (call $route (local.get $server) (i32.const 21) (i32.const 2) (i32.const 23) (i32.const 1) (local.get $handler) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (return (call $failed))))
    (call $websocket (local.get $server) (i32.const 32) (i32.const 3)
      (i32.const 0) (i64.const 0) (local.get $handler) (i32.const 0) (i64.const 0) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then
      (i64.store (i32.const 72) (i64.load align=4 (i32.const 68))) (return (call $failed))))
    (call $start (local.get $server) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then
      (i64.store (i32.const 72) (i64.load align=4 (i32.const 68))) (return (call $failed))))
    (i32.store8 (i32.const 256) (i32.const 0)) (i32.store8 (i32.const 260) (i32.const 0))
    (i32.const 256))
  (func (export "cabi_post_theater:simple/actor#init") (param i32) (call $done (local.get 0)))

  (func (export "theater:simple/http-handlers#handle-request")
    (param $some i32) (param $sp i32) (param $sl i32) (param $handler i64) (param $mp i32) (param $ml i32)
    (param $up i32) (param $ul i32) (param $hp i32) (param $hl i32) (param $body i32) (param $bp i32) (param $bl i32)
    (result i32)
    (if (i32.ge_u (local.get $ul) (i32.const 4)) (then
      (if (i32.eq (i32.load align=1 (local.get $up)) (i32.const 0x6172742f)) (then unreachable))
      (if (i32.eq (i32.load align=1 (local.get $up)) (i32.const 0x7272652f)) (then
        (i32.store8 (i32.const 256) (i32.const 1))
        (i32.store (i32.const 260) (i32.const 16)) (i32.store (i32.const 264) (i32.const 5))
        (return (i32.const 256))))
      (if (i32.eq (i32.load align=1 (local.get $up)) (i32.const 0x6e61682f)) (then (loop $ever (br $ever))))))
    (i32.store8 (i32.const 256) (i32.const 0))
    (i32.store8 (i32.const 260) (local.get $some)) (i32.store (i32.const 264) (local.get $sp))
    (i32.store (i32.const 268) (local.get $sl))
    (i32.store16 (i32.const 272) (i32.const 200))
    (i32.store (i32.const 276) (i32.const 0)) (i32.store (i32.const 280) (i32.const 0))
    (i32.store8 (i32.const 284) (i32.const 1)) (i32.store (i32.const 288) (i32.const 128))
    (i32.store (i32.const 292) (i32.const 100))
    (i32.const 256))
  (func (export "cabi_post_theater:simple/http-handlers#handle-request") (param i32) (call $done (local.get 0)))

  ;; 320: the message, as it came
  (func (export "theater:simple/http-handlers#handle-websocket-message")
    (param $some i32) (param $sp i32) (param $sl i32) (param $handler i64) (param $connection i64)
    (param $type i32) (param $tp i32) (param $tl i32) (param $data i32) (param $dp i32) (param $dl i32)
    (param $text i32) (param $xp i32) (param $xl i32)
    (result i32)
    (i32.store8 (i32.const 320) (local.get $type))
    (i32.store (i32.const 324) (local.get $tp)) (i32.store (i32.const 328) (local.get $tl))
    (i32.store8 (i32.const 332) (local.get $data))
    (i32.store (i32.const 336) (local.get $dp)) (i32.store (i32.const 340) (local.get $dl))
    (i32.store8 (i32.const 344) (local.get $text))
    (i32.store (i32.const 348) (local.get $xp)) (i32.store (i32.const 352) (local.get $xl))
    (i32.store8 (i32.const 256) (i32.const 0))
    (i32.store8 (i32.const 260) (local.get $some)) (i32.store (i32.const 264) (local.get $sp))
    (i32.store (i32.const 268) (local.get $sl))
    (i32.store (i32.const 272) (i32.const 320)) (i32.store (i32.const 276) (i32.const 1))
    (i32.const 256))
  (func (export "cabi_post_theater:simple/http-handlers#handle-websocket-message") (param i32) (call $done (local.get 0))))
