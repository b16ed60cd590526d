;; An actor that uses what theater:otp offers, chosen by the first byte of a message:
;;
;;   't' send the rest after 4 bytes to itself, after so many ms (u32); answer the timer (u64)
;;   'i' likewise every so many ms            'k' cancel the timer (u64), answer one byte
;;   'R' register the rest as a name          'U' unregister it
;;   'w' answer whose name the rest is        's' answer who sent the message that was handled before this one
;;   'm' answer the incarnation (u64)         'd' answer the deadline (u64) or nothing
;;   'x' ask: a name of 8 bytes, a timeout in ms (u32), the message; answer its answer
;;   'c' count in the state (u32), answer it  everything else: answer the message
;;
;; All numbers are little-endian. The state is the count (u32) and then who sent the last message that was no 's'.
(component
  (import "theater:otp/identity@0.1.0" (instance $identity
    (type $record (record (field "id" string) (field "name" string) (field "parent" (option string)) (field "incarnation" u64)))
    (export "me" (type $me (eq $record)))
    (export "self" (func (result $me)))
    (export "sender" (func (result (option string))))
    (export "deadline" (func (result (option u64))))))
  (import "theater:otp/registry@0.1.0" (instance $registry
    (export "register" (func (param "name" string) (result (result (error string)))))
    (export "unregister" (func (param "name" string) (result (result (error string)))))
    (export "whereis" (func (param "name" string) (result (option string))))))
  (import "theater:otp/timers@0.1.0" (instance $timers
    (export "send-after" (func (param "delay" u64) (param "msg" (list u8)) (result (result u64 (error string)))))
    (export "send-interval" (func (param "period" u64) (param "msg" (list u8)) (result (result u64 (error string)))))
    (export "cancel" (func (param "timer" u64) (result bool)))))
  (import "theater:otp/requests@0.1.0" (instance $requests
    (export "request-timeout" (func (param "actor-id" string) (param "msg" (list u8)) (param "timeout" u64)
      (result (result (list u8) (error string)))))))

  (core module $libc
    (memory (export "memory") 4)
    (global $top (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $osz i32) (param $al i32) (param $nsz i32) (result i32)
      (local $p i32)
      (local.set $p (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $p) (local.get $nsz)))
      (local.get $p))
    (func (export "reset") (global.set $top (i32.const 4096))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $mem))
  (alias core export $libc "realloc" (core func $realloc))

  (core func $self (canon lower (func $identity "self") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $sender (canon lower (func $identity "sender") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $deadline (canon lower (func $identity "deadline") (memory $mem)))
  (core func $register (canon lower (func $registry "register") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $unregister (canon lower (func $registry "unregister") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $whereis (canon lower (func $registry "whereis") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $after (canon lower (func $timers "send-after") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $every (canon lower (func $timers "send-interval") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $cancel (canon lower (func $timers "cancel")))
  (core func $ask (canon lower (func $requests "request-timeout") (memory $mem) (realloc $realloc) string-encoding=utf8))

  (core module $main
    (import "libc" "memory" (memory 4))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "libc" "reset" (func $reset))
    (import "host" "self" (func $self (param i32)))
    (import "host" "sender" (func $sender (param i32)))
    (import "host" "deadline" (func $deadline (param i32)))
    (import "host" "register" (func $register (param i32 i32 i32)))
    (import "host" "unregister" (func $unregister (param i32 i32 i32)))
    (import "host" "whereis" (func $whereis (param i32 i32 i32)))
    (import "host" "after" (func $after (param i64 i32 i32 i32)))
    (import "host" "every" (func $every (param i64 i32 i32 i32)))
    (import "host" "cancel" (func $cancel (param i64) (result i32)))
    (import "host" "ask" (func $ask (param i32 i32 i32 i32 i64 i32)))
    ;; 64..96 results of exports, 128..176 results of imports, 256.. the new state

    (func $err (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 1))
      (i32.store (i32.const 68) (local.get $p)) (i32.store (i32.const 72) (local.get $n)) (i32.const 64))
    (func $ok (param $some i32) (param $sp i32) (param $sl i32) (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 0))
      (i32.store8 (i32.const 68) (local.get $some)) (i32.store (i32.const 72) (local.get $sp)) (i32.store (i32.const 76) (local.get $sl))
      (i32.store8 (i32.const 80) (i32.const 1)) (i32.store (i32.const 84) (local.get $p)) (i32.store (i32.const 88) (local.get $n))
      (i32.const 64))
    (func $name-length (param $p i32) (result i32)
      (local $n i32)
      (local.set $n (i32.const 8))
      (block $done (loop $l
        (br_if $done (i32.eqz (local.get $n)))
        (br_if $done (i32.ne (i32.load8_u (i32.add (local.get $p) (i32.sub (local.get $n) (i32.const 1)))) (i32.const 32)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $l)))
      (local.get $n))

    (func (export "init") (param $some i32) (param $sp i32) (param $sl i32) (param i32 i32) (result i32)
      (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 0) (i32.const 0)))

    (func $act (param $some i32) (param $sp i32) (param $sl i32) (param $p i32) (param $n i32) (result i32)
      (local $op i32) (local $k i32) (local $q i32) (local $rest i32) (local $size i32)
      (if (local.get $n) (then (local.set $op (i32.load8_u (local.get $p)))))
      (local.set $rest (i32.add (local.get $p) (i32.const 1)))
      (local.set $size (i32.sub (local.get $n) (i32.const 1)))
      (if (i32.eq (local.get $op) (i32.const 0x73)) (then ;; s
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl)
          (i32.add (local.get $sp) (i32.const 4)) (i32.sub (local.get $sl) (i32.const 4))))))

      ;; the new state: the count, then the sender
      (if (i32.and (local.get $some) (i32.ge_u (local.get $sl) (i32.const 4))) (then (local.set $k (i32.load align=1 (local.get $sp)))))
      (if (i32.eq (local.get $op) (i32.const 0x63)) (then (local.set $k (i32.add (local.get $k) (i32.const 1)))))
      (i32.store (i32.const 256) (local.get $k))
      (local.set $sl (i32.const 4))
      (call $sender (i32.const 128))
      (if (i32.load8_u (i32.const 128)) (then
        (memory.copy (i32.const 260) (i32.load (i32.const 132)) (i32.load (i32.const 136)))
        (local.set $sl (i32.add (i32.const 4) (i32.load (i32.const 136))))))
      (local.set $sp (i32.const 256))

      (if (i32.eq (local.get $op) (i32.const 0x63)) (then ;; c
        (return (call $ok (i32.const 1) (local.get $sp) (local.get $sl) (i32.const 256) (i32.const 4)))))
      (if (i32.or (i32.eq (local.get $op) (i32.const 0x74)) (i32.eq (local.get $op) (i32.const 0x69))) (then ;; t, i
        (if (i32.eq (local.get $op) (i32.const 0x74))
          (then (call $after (i64.extend_i32_u (i32.load align=1 (local.get $rest)))
            (i32.add (local.get $rest) (i32.const 4)) (i32.sub (local.get $size) (i32.const 4)) (i32.const 128)))
          (else (call $every (i64.extend_i32_u (i32.load align=1 (local.get $rest)))
            (i32.add (local.get $rest) (i32.const 4)) (i32.sub (local.get $size) (i32.const 4)) (i32.const 128))))
        (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 136)) (i32.load (i32.const 140))))))
        (return (call $ok (i32.const 1) (local.get $sp) (local.get $sl) (i32.const 136) (i32.const 8)))))
      (if (i32.eq (local.get $op) (i32.const 0x6b)) (then ;; k
        (i32.store (i32.const 128) (call $cancel (i64.load align=1 (local.get $rest))))
        (return (call $ok (i32.const 1) (local.get $sp) (local.get $sl) (i32.const 128) (i32.const 1)))))
      (if (i32.or (i32.eq (local.get $op) (i32.const 0x52)) (i32.eq (local.get $op) (i32.const 0x55))) (then ;; R, U
        (if (i32.eq (local.get $op) (i32.const 0x52))
          (then (call $register (local.get $rest) (local.get $size) (i32.const 128)))
          (else (call $unregister (local.get $rest) (local.get $size) (i32.const 128))))
        (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
        (return (call $ok (i32.const 1) (local.get $sp) (local.get $sl) (local.get $rest) (local.get $size)))))
      (if (i32.eq (local.get $op) (i32.const 0x77)) (then ;; w
        (call $whereis (local.get $rest) (local.get $size) (i32.const 128))
        (if (i32.eqz (i32.load8_u (i32.const 128))) (then (return (call $ok (i32.const 1) (local.get $sp) (local.get $sl) (i32.const 0) (i32.const 0)))))
        (return (call $ok (i32.const 1) (local.get $sp) (local.get $sl) (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (if (i32.eq (local.get $op) (i32.const 0x6d)) (then ;; m
        (call $self (i32.const 128))
        (return (call $ok (i32.const 1) (local.get $sp) (local.get $sl) (i32.const 160) (i32.const 8)))))
      (if (i32.eq (local.get $op) (i32.const 0x64)) (then ;; d
        (call $deadline (i32.const 128))
        (return (call $ok (i32.const 1) (local.get $sp) (local.get $sl) (i32.const 136) (i32.mul (i32.load8_u (i32.const 128)) (i32.const 8))))))
      (if (i32.eq (local.get $op) (i32.const 0x78)) (then ;; x
        (call $ask (local.get $rest) (call $name-length (local.get $rest))
          (i32.add (local.get $rest) (i32.const 12)) (i32.sub (local.get $size) (i32.const 12))
          (i64.extend_i32_u (i32.load offset=8 align=1 (local.get $rest))) (i32.const 128))
        (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
        (return (call $ok (i32.const 1) (local.get $sp) (local.get $sl) (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (call $ok (i32.const 1) (local.get $sp) (local.get $sl) (local.get $p) (local.get $n)))

    (func (export "handle-send") (param i32 i32 i32 i32 i32) (result i32)
      (call $act (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))
    (func (export "handle-request") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
      (call $act (local.get 0) (local.get 1) (local.get 2) (local.get 5) (local.get 6)))
    (func (export "post") (param i32) (call $reset)))

  (core instance $imports
    (export "self" (func $self)) (export "sender" (func $sender)) (export "deadline" (func $deadline))
    (export "register" (func $register)) (export "unregister" (func $unregister)) (export "whereis" (func $whereis))
    (export "after" (func $after)) (export "every" (func $every)) (export "cancel" (func $cancel)) (export "ask" (func $ask)))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance $imports))))
  (alias core export $main "post" (core func $post))

  (type $state (option (list u8)))
  (func $init (param "state" $state) (param "params" (tuple string)) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "init") (memory $mem) (realloc $realloc) string-encoding=utf8 (post-return $post)))
  (func $handle-send (param "state" $state) (param "params" (tuple (list u8))) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "handle-send") (memory $mem) (realloc $realloc) string-encoding=utf8 (post-return $post)))
  (func $handle-request (param "state" $state) (param "params" (tuple string (list u8)))
    (result (result (tuple $state (tuple (option (list u8)))) (error string)))
    (canon lift (core func $main "handle-request") (memory $mem) (realloc $realloc) string-encoding=utf8 (post-return $post)))
  (instance $actor (export "init" (func $init)))
  (instance $client (export "handle-send" (func $handle-send)) (export "handle-request" (func $handle-request)))
  (export "theater:simple/actor" (instance $actor))
  (export "theater:simple/message-server-client" (instance $client)))
