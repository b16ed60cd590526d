;; An actor that talks on channels. What it does is chosen by the first byte of what it is told:
;;
;; by a request (its answer), or by a send:
;;   'o' open: a name of 8 bytes padded with spaces, then the first message; answers the channel's id
;;   'w' write: a channel of 36 bytes, then a message             'k' close: a channel
;;   'f' flood: a channel, a u32: so many messages on it, each '#' and its number (u32), within one call; answers how
;;       many were taken, and an err if one was not
;;   's' send: a name of 8 bytes, a message                       'e' answer the message
;; by a channel's first message (handle-channel-open):
;;   'y' accept     'r' accept with the message as first answer     'n' refuse with the rest     'x' answer err with it
;;   'u' unreachable      'b' loop for ever      'w' write on the channel before it is open, and answer err with why
;;   'd' accept after a while, of some hundreds of milliseconds
;;   'o' open a channel to the actor of this name of 8 bytes, accept, or answer err with why not
;; by a message on a channel:
;;   'e' say the rest     'k' close the channel     'K' say "adieu", close the channel     'u' unreachable
;;   'b' loop for ever    'x' answer err            'f' a u32: says so many numbers      's' send the rest, as above
;; by a channel's end: nothing, but if the state is not empty: a send of the channel's id to the actor whose name of 8
;; bytes it is.
(component
  (import "theater:simple/types" (instance $types
    (type $accept (record (field "accepted" bool) (field "message" (option (list u8)))))
    (export "channel-accept" (type $channel-accept (eq $accept)))))
  (alias export $types "channel-accept" (type $accepting))
  (import "theater:simple/message-server-host" (instance $host
    (export "send" (func (param "actor-id" string) (param "msg" (list u8)) (result (result (error string)))))
    (export "open-channel" (func (param "actor-id" string) (param "initial-msg" (list u8)) (result (result string (error string)))))
    (export "send-on-channel" (func (param "channel-id" string) (param "msg" (list u8)) (result (result (error string)))))
    (export "close-channel" (func (param "channel-id" string) (result (result (error string)))))))

  (core module $libc
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $osz i32) (param $al i32) (param $nsz i32) (result i32)
      (local $p i32) (local $end i32)
      (local.set $p (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (local.set $end (i32.add (local.get $p) (local.get $nsz)))
      (if (i32.gt_u (local.get $end) (i32.shl (memory.size) (i32.const 16)))
        (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1)
            (i32.shr_u (i32.sub (local.get $end) (i32.shl (memory.size) (i32.const 16))) (i32.const 16)))))
          (then unreachable))))
      (global.set $top (local.get $end))
      (if (local.get $osz) (then (memory.copy (local.get $p) (local.get $old) (local.get $osz))))
      (local.get $p))
    (func (export "reset") (global.set $top (i32.const 4096))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $mem))
  (alias core export $libc "realloc" (core func $realloc))

  (core func $send (canon lower (func $host "send") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $open (canon lower (func $host "open-channel") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $write (canon lower (func $host "send-on-channel") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $close (canon lower (func $host "close-channel") (memory $mem) (realloc $realloc) string-encoding=utf8))

  (core module $main
    (import "libc" "memory" (memory 1))
    (import "libc" "reset" (func $reset))
    (import "host" "send" (func $send (param i32 i32 i32 i32 i32)))
    (import "host" "open" (func $open (param i32 i32 i32 i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32 i32)))
    (import "host" "close" (func $close (param i32 i32 i32)))
    ;; 64..96 results of exports, 128..144 results of imports, 160 a number that is said
    (data (i32.const 16) "adieu")
    (global $state (mut i32) (i32.const 0)) (global $sp (mut i32) (i32.const 0)) (global $sl (mut i32) (i32.const 0))

    (func $keep (param $some i32) (param $p i32) (param $n i32)
      (global.set $state (local.get $some)) (global.set $sp (local.get $p)) (global.set $sl (local.get $n)))
    (func $err (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 1))
      (i32.store (i32.const 68) (local.get $p)) (i32.store (i32.const 72) (local.get $n)) (i32.const 64))
    (func $why (result i32) (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))
    (func $failed (result i32) (i32.load8_u (i32.const 128)))
    (func $ok (result i32)
      (i32.store8 (i32.const 64) (i32.const 0))
      (i32.store8 (i32.const 68) (global.get $state))
      (i32.store (i32.const 72) (global.get $sp)) (i32.store (i32.const 76) (global.get $sl)) (i32.const 64))
    ;; option<list<u8>> reply
    (func $reply (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 80) (i32.const 1)) (i32.store (i32.const 84) (local.get $p)) (i32.store (i32.const 88) (local.get $n))
      (call $ok))
    ;; channel-accept
    (func $accept (param $yes i32) (param $some i32) (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 80) (local.get $yes)) (i32.store8 (i32.const 84) (local.get $some))
      (i32.store (i32.const 88) (local.get $p)) (i32.store (i32.const 92) (local.get $n))
      (call $ok))
    (func $name-length (param $p i32) (result i32)
      (local $n i32)
      (local.set $n (i32.const 8))
      (block $done (loop $l
        (br_if $done (i32.eqz (local.get $n)))
        (br_if $done (i32.ne (i32.load8_u (i32.add (local.get $p) (i32.sub (local.get $n) (i32.const 1)))) (i32.const 32)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $l)))
      (local.get $n))
    (func $send-rest (param $p i32) (param $n i32)
      (call $send (i32.add (local.get $p) (i32.const 1)) (call $name-length (i32.add (local.get $p) (i32.const 1)))
        (i32.add (local.get $p) (i32.const 9)) (i32.sub (local.get $n) (i32.const 9)) (i32.const 128)))
    (func $open-rest (param $p i32) (param $n i32)
      (call $open (i32.add (local.get $p) (i32.const 1)) (call $name-length (i32.add (local.get $p) (i32.const 1)))
        (i32.add (local.get $p) (i32.const 9)) (i32.sub (local.get $n) (i32.const 9)) (i32.const 128)))
    ;; says $k numbers on a channel; how many were taken
    (func $numbers (param $c i32) (param $k i32) (result i32)
      (local $i i32)
      (block $done (loop $l
        (br_if $done (i32.ge_u (local.get $i) (local.get $k)))
        (i32.store8 (i32.const 160) (i32.const 0x23))
        (i32.store align=1 (i32.const 161) (local.get $i))
        (call $write (local.get $c) (i32.const 36) (i32.const 160) (i32.const 5) (i32.const 128))
        (br_if $done (call $failed))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $l)))
      (local.get $i))

    (func (export "init") (param $some i32) (param $sp i32) (param $sl i32) (param $ip i32) (param $il i32) (result i32)
      (call $keep (local.get $some) (local.get $sp) (local.get $sl))
      ;; a state that begins with 'o' opens a channel now
      (if (i32.and (local.get $some) (i32.gt_u (local.get $sl) (i32.const 8)))
        (then (if (i32.eq (i32.load8_u (local.get $sp)) (i32.const 0x6f))
          (then (call $open-rest (local.get $sp) (local.get $sl)) (if (call $failed) (then (return (call $why))))))))
      (call $ok))

    (func $act (param $p i32) (param $n i32) (result i32)
      (local $op i32)
      (if (local.get $n) (then (local.set $op (i32.load8_u (local.get $p)))))
      (if (i32.eq (local.get $op) (i32.const 0x6f)) (then ;; o
        (call $open-rest (local.get $p) (local.get $n))
        (if (call $failed) (then (return (call $why))))
        (return (call $reply (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (if (i32.eq (local.get $op) (i32.const 0x77)) (then ;; w
        (call $write (i32.add (local.get $p) (i32.const 1)) (i32.const 36)
          (i32.add (local.get $p) (i32.const 37)) (i32.sub (local.get $n) (i32.const 37)) (i32.const 128))
        (if (call $failed) (then (return (call $why))))))
      (if (i32.eq (local.get $op) (i32.const 0x6b)) (then ;; k
        (call $close (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1)) (i32.const 128))
        (if (call $failed) (then (return (call $why))))))
      (if (i32.eq (local.get $op) (i32.const 0x66)) (then ;; f
        (i32.store (i32.const 168) (call $numbers (i32.add (local.get $p) (i32.const 1))
          (i32.load align=1 (i32.add (local.get $p) (i32.const 37)))))
        (if (call $failed) (then (return (call $why))))
        (return (call $reply (i32.const 168) (i32.const 4)))))
      (if (i32.eq (local.get $op) (i32.const 0x73)) (then ;; s
        (call $send-rest (local.get $p) (local.get $n))
        (if (call $failed) (then (return (call $why))))))
      (call $reply (local.get $p) (local.get $n)))

    (func (export "handle-send") (param i32 i32 i32 i32 i32) (result i32)
      (call $keep (local.get 0) (local.get 1) (local.get 2))
      (call $act (local.get 3) (local.get 4)))
    (func (export "handle-request") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
      (call $keep (local.get 0) (local.get 1) (local.get 2))
      (call $act (local.get 5) (local.get 6)))

    (func (export "handle-channel-open") (param i32 i32 i32) (param $c i32) (param $cl i32) (param $p i32) (param $n i32) (result i32)
      (local $op i32) (local $i i32)
      (call $keep (local.get 0) (local.get 1) (local.get 2))
      (if (local.get $n) (then (local.set $op (i32.load8_u (local.get $p)))))
      (if (i32.eq (local.get $op) (i32.const 0x72)) (then
        (return (call $accept (i32.const 1) (i32.const 1) (local.get $p) (local.get $n)))))
      (if (i32.eq (local.get $op) (i32.const 0x6e)) (then
        (return (call $accept (i32.const 0) (i32.const 1)
          (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1))))))
      (if (i32.eq (local.get $op) (i32.const 0x78)) (then
        (return (call $err (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1))))))
      (if (i32.eq (local.get $op) (i32.const 0x75)) (then unreachable))
      (if (i32.eq (local.get $op) (i32.const 0x62)) (then (loop $l (br $l))))
      (if (i32.eq (local.get $op) (i32.const 0x64)) (then
        (loop $l
          (memory.fill (i32.const 65536) (local.get $i) (i32.const 16384))
          (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000000))))))
      (if (i32.eq (local.get $op) (i32.const 0x77)) (then
        (call $write (local.get $c) (local.get $cl) (local.get $p) (local.get $n) (i32.const 128))
        (if (call $failed) (then (return (call $why))))))
      (if (i32.eq (local.get $op) (i32.const 0x6f)) (then
        (call $open-rest (local.get $p) (local.get $n))
        (if (call $failed) (then (return (call $why))))))
      (call $accept (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))

    (func (export "handle-channel-message") (param i32 i32 i32) (param $c i32) (param $cl i32) (param $p i32) (param $n i32) (result i32)
      (local $op i32)
      (call $keep (local.get 0) (local.get 1) (local.get 2))
      (i32.store8 (i32.const 128) (i32.const 0))
      (if (local.get $n) (then (local.set $op (i32.load8_u (local.get $p)))))
      (if (i32.eq (local.get $op) (i32.const 0x65)) (then
        (call $write (local.get $c) (local.get $cl)
          (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1)) (i32.const 128))))
      (if (i32.eq (local.get $op) (i32.const 0x4b)) (then
        (call $write (local.get $c) (local.get $cl) (i32.const 16) (i32.const 5) (i32.const 128))
        (call $close (local.get $c) (local.get $cl) (i32.const 128))))
      (if (i32.eq (local.get $op) (i32.const 0x6b)) (then
        (call $close (local.get $c) (local.get $cl) (i32.const 128))))
      (if (i32.eq (local.get $op) (i32.const 0x75)) (then unreachable))
      (if (i32.eq (local.get $op) (i32.const 0x62)) (then (loop $l (br $l))))
      (if (i32.eq (local.get $op) (i32.const 0x78)) (then (return (call $err (local.get $p) (local.get $n)))))
      (if (i32.eq (local.get $op) (i32.const 0x66)) (then
        (drop (call $numbers (local.get $c) (i32.load align=1 (i32.add (local.get $p) (i32.const 1)))))))
      (if (i32.eq (local.get $op) (i32.const 0x73)) (then (call $send-rest (local.get $p) (local.get $n))))
      (if (call $failed) (then (return (call $why))))
      (call $ok))

    (func (export "handle-channel-close") (param i32 i32 i32) (param $c i32) (param $cl i32) (result i32)
      (call $keep (local.get 0) (local.get 1) (local.get 2))
      (if (i32.and (local.get 0) (i32.eq (local.get 2) (i32.const 8))) (then
        (call $send (local.get 1) (call $name-length (local.get 1)) (local.get $c) (local.get $cl) (i32.const 128))))
      (call $ok))
    (func (export "post") (param i32) (call $reset)))

  (core instance $imports
    (export "send" (func $send)) (export "open" (func $open)) (export "write" (func $write)) (export "close" (func $close)))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance $imports))))
  (alias core export $main "post" (core func $post))

  (type $state (option (list u8)))
  (type $done (result (tuple $state) (error string)))
  (func $init (param "state" $state) (param "params" (tuple string)) (result $done)
    (canon lift (core func $main "init") (memory $mem) (realloc $realloc) string-encoding=utf8 (post-return $post)))
  (func $handle-send (param "state" $state) (param "params" (tuple (list u8))) (result $done)
    (canon lift (core func $main "handle-send") (memory $mem) (realloc $realloc) string-encoding=utf8 (post-return $post)))
  (func $handle-request (param "state" $state) (param "params" (tuple string (list u8)))
    (result (result (tuple $state (tuple (option (list u8)))) (error string)))
    (canon lift (core func $main "handle-request") (memory $mem) (realloc $realloc) string-encoding=utf8 (post-return $post)))
  (func $handle-channel-open (param "state" $state) (param "params" (tuple string (list u8)))
    (result (result (tuple $state (tuple $accepting)) (error string)))
    (canon lift (core func $main "handle-channel-open") (memory $mem) (realloc $realloc) string-encoding=utf8 (post-return $post)))
  (func $handle-channel-message (param "state" $state) (param "params" (tuple string (list u8))) (result $done)
    (canon lift (core func $main "handle-channel-message") (memory $mem) (realloc $realloc) string-encoding=utf8 (post-return $post)))
  (func $handle-channel-close (param "state" $state) (param "params" (tuple string)) (result $done)
    (canon lift (core func $main "handle-channel-close") (memory $mem) (realloc $realloc) string-encoding=utf8 (post-return $post)))
  (instance $actor (export "init" (func $init)))
  (instance $client
    (export "channel-accept" (type $accepting)) (export "handle-send" (func $handle-send)) (export "handle-request" (func $handle-request))
    (export "handle-channel-open" (func $handle-channel-open))
    (export "handle-channel-message" (func $handle-channel-message))
    (export "handle-channel-close" (func $handle-channel-close)))
  (export "theater:simple/actor" (instance $actor))
  (export "theater:simple/message-server-client" (instance $client)))
