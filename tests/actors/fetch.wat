;; The smallest actor that asks servers on the network: a core module that becomes a component by
;; theater.wasm.componentize. A message is a number (u32, little-endian) and a URL, which it asks for with GET so many
;; times, one after the other; it answers the last body, or with the host's own sentence.
(module
  (import "theater:simple/http-client" "send-http"
    (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 2)
  (global $top (mut i32) (i32.const 4096))
  (data (i32.const 16) "GET")

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
  (func (export "theater:simple/actor#init") (param i32 i32 i32 i32 i32) (result i32)
    (i32.store8 (i32.const 256) (i32.const 0)) (i32.store8 (i32.const 260) (i32.const 0))
    (i32.const 256))
  (func (export "cabi_post_theater:simple/actor#init") (param i32) (call $done (local.get 0)))

  (func (export "theater:simple/message-server-client#handle-request")
    (param $some i32) (param $sp i32) (param $sl i32) (param $ip i32) (param $il i32) (param $bp i32) (param $bl i32)
    (result i32)
    (local $left i32) (local $kept i32)
    (local.set $left (i32.load align=1 (local.get $bp)))
    (local.set $kept (global.get $top))
    (loop $again
      (global.set $top (local.get $kept))
      (call $send (i32.const 16) (i32.const 3)
        (i32.add (local.get $bp) (i32.const 4)) (i32.sub (local.get $bl) (i32.const 4))
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then
        (i32.store8 (i32.const 256) (i32.const 1))
        (i32.store (i32.const 260) (i32.load (i32.const 68))) (i32.store (i32.const 264) (i32.load (i32.const 72)))
        (return (i32.const 256))))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.store8 (i32.const 256) (i32.const 0))
    (i32.store8 (i32.const 260) (local.get $some))
    (i32.store (i32.const 264) (local.get $sp)) (i32.store (i32.const 268) (local.get $sl))
    (i32.store8 (i32.const 272) (i32.load8_u (i32.const 80)))
    (i32.store (i32.const 276) (i32.load (i32.const 84))) (i32.store (i32.const 280) (i32.load (i32.const 88)))
    (i32.const 256))
  (func (export "cabi_post_theater:simple/message-server-client#handle-request") (param i32) (call $done (local.get 0))))
