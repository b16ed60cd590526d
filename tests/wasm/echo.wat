;; A message server that keeps what it got as its state and answers with it. The first letter of a request's id commands:
;;   a   ask the host, once for each character of the id; answer with its last answer, or fail with its error
;;   s   send to the host, once for each character
;;   t   trap
;;   e   fail with the id as the error
;; anything else: answer with the body.
(component
  (import "theater:simple/message-server-host" (instance $host
    (export "send" (func (param "actor-id" string) (param "msg" (list u8)) (result (result (error string)))))
    (export "request" (func (param "actor-id" string) (param "msg" (list u8)) (result (result (list u8) (error string)))))))

  (core module $memory-module
    (memory (export "memory") 1)
    (global $free (export "free") (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
      (global.set $free (i32.add (local.get $at) (local.get $size)))
      (block $fits
        (br_if $fits (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $fits (i32.ne (i32.const -1) (memory.grow
          (i32.div_u (i32.add (local.get $size) (i32.const 131071)) (i32.const 65536)))))
        (unreachable))
      (memory.copy (local.get $at) (local.get $old)
        (select (local.get $had) (local.get $size) (i32.lt_u (local.get $had) (local.get $size))))
      (local.get $at)))
  (core instance $memory (instantiate $memory-module))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $send (canon lower (func $host "send") (memory $mem) (realloc $realloc) ENCODING))
  (core func $request (canon lower (func $host "request") (memory $mem) (realloc $realloc) ENCODING))

  (core module $code
    (import "env" "memory" (memory 1))
    (import "env" "free" (global $free (mut i32)))
    (import "env" "send" (func $send (param i32 i32 i32 i32 i32)))
    (import "env" "request" (func $request (param i32 i32 i32 i32 i32)))

    (func $ok-state (param $some i32) (param $at i32) (param $size i32) (result i32)   ;; the result lies at 256
      (i32.store8 (i32.const 256) (i32.const 0))
      (i32.store8 offset=4 (i32.const 256) (local.get $some))
      (i32.store offset=8 (i32.const 256) (local.get $at))
      (i32.store offset=12 (i32.const 256) (local.get $size))
      (i32.const 256))
    (func $fail (param $at i32) (param $size i32) (result i32)
      (i32.store8 (i32.const 256) (i32.const 1))
      (i32.store offset=4 (i32.const 256) (local.get $at))
      (i32.store offset=8 (i32.const 256) (local.get $size))
      (i32.const 256))

    (func (export "handle-send") (param $some i32) (param $state i32) (param $state-size i32)
        (param $msg i32) (param $msg-size i32) (result i32)
      (call $ok-state (i32.const 1) (local.get $msg) (local.get $msg-size)))

    (func (export "handle-request") (param $some i32) (param $state i32) (param $state-size i32)
        (param $id i32) (param $id-size i32) (param $body i32) (param $body-size i32) (result i32)
      (local $command i32) (local $times i32)
      (local.set $times (local.get $id-size))
      (if (local.get $id-size) (then (local.set $command (i32.load8_u (local.get $id)))))
      (if (i32.eq (local.get $command) (i32.const 0x74)) (then (unreachable)))
      (if (i32.eq (local.get $command) (i32.const 0x65)) (then (return (call $fail (local.get $id) (local.get $id-size)))))
      (block $sent (loop $again
        (br_if $sent (i32.or (i32.ne (local.get $command) (i32.const 0x73)) (i32.eqz (local.get $times))))
        (call $send (local.get $id) (local.get $id-size) (local.get $body) (local.get $body-size) (i32.const 512))
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (br $again)))
      (block $asked (loop $again
        (br_if $asked (i32.or (i32.ne (local.get $command) (i32.const 0x61)) (i32.eqz (local.get $times))))
        (call $request (local.get $id) (local.get $id-size) (local.get $body) (local.get $body-size) (i32.const 512))
        (if (i32.load8_u (i32.const 512))
          (then (return (call $fail (i32.load offset=4 (i32.const 512)) (i32.load offset=8 (i32.const 512))))))
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (br_if $again (local.get $times))
        (local.set $body (i32.load offset=4 (i32.const 512)))
        (local.set $body-size (i32.load offset=8 (i32.const 512)))))
      (drop (call $ok-state (local.get $some) (local.get $state) (local.get $state-size)))
      (i32.store8 offset=16 (i32.const 256) (i32.const 1))
      (i32.store offset=20 (i32.const 256) (local.get $body))
      (i32.store offset=24 (i32.const 256) (local.get $body-size))
      (i32.const 256))

    (func (export "done") (param i32) (global.set $free (i32.const 4096))))
  (core instance $actor (instantiate $code (with "env" (instance
    (export "memory" (memory $mem)) (export "free" (global $memory "free"))
    (export "send" (func $send)) (export "request" (func $request))))))

  (func $handle-send (param "state" (option (list u8))) (param "params" (tuple (list u8)))
      (result (result (tuple (option (list u8))) (error string)))
    (canon lift (core func $actor "handle-send") (memory $mem) (realloc $realloc) ENCODING
      (post-return (core func $actor "done"))))
  (func $handle-request (param "state" (option (list u8))) (param "params" (tuple string (list u8)))
      (result (result (tuple (option (list u8)) (tuple (option (list u8)))) (error string)))
    (canon lift (core func $actor "handle-request") (memory $mem) (realloc $realloc) ENCODING
      (post-return (core func $actor "done"))))
  (instance $client
    (export "handle-send" (func $handle-send)) (export "handle-request" (func $handle-request)))
  (export "theater:simple/message-server-client" (instance $client)))
