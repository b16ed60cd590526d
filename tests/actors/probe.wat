;; An actor with every behaviour that tests need, chosen by the first byte of a message:
;;
;;   'e' answer the message itself            'c' count in the state (u32, little-endian), answer the count
;;   'g' answer the state                     'n' answer nothing: the reply comes later, by 'r'
;;   'r' answer the oldest outstanding request with the rest of this message
;;   'a' ask: the rest is a name of 8 bytes padded with spaces, then the message; answer its answer
;;   's' send: likewise, answer nothing of it
;;   'f' flood: a name of 8 bytes, a u32, a message: sends it so often; 'A' asks likewise
;;   'x' answer err with the rest as text     'l' log the rest      'L' log the rest for ever
;;   'u' unreachable                          'b' loop for ever     'm' grow memory until refused, answer the pages
;;   'o' overflow the stack                   'd' divide by zero    'q' runtime shutdown with the rest
;;
;; init counts nothing and takes the state it is given; with the state "fail" it answers err, with "trap" it traps.
(component
  (import "theater:simple/runtime" (instance $runtime
    (export "log" (func (param "msg" string)))
    (export "shutdown" (func (param "data" (option (list u8))) (result (result (error string)))))))
  (import "theater:simple/message-server-host" (instance $host
    (export "send" (func (param "actor-id" string) (param "msg" (list u8)) (result (result (error string)))))
    (export "request" (func (param "actor-id" string) (param "msg" (list u8)) (result (result (list u8) (error string)))))
    (export "list-outstanding-requests" (func (result (list string))))
    (export "respond-to-request" (func (param "request-id" string) (param "response" (list u8)) (result (result (error string)))))))

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
    (func (export "release") (param $p i32) (global.set $top (local.get $p)))
    (func (export "reset") (global.set $top (i32.const 4096))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $mem))
  (alias core export $libc "realloc" (core func $realloc))

  (core func $log (canon lower (func $runtime "log") (memory $mem) string-encoding=utf8))
  (core func $shutdown (canon lower (func $runtime "shutdown") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $send (canon lower (func $host "send") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $request (canon lower (func $host "request") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $outstanding (canon lower (func $host "list-outstanding-requests") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $respond (canon lower (func $host "respond-to-request") (memory $mem) (realloc $realloc) string-encoding=utf8))

  (core module $main
    (import "libc" "memory" (memory 1))
    (import "libc" "reset" (func $reset))
    (import "libc" "release" (func $release (param i32)))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "log" (func $log (param i32 i32)))
    (import "host" "shutdown" (func $shutdown (param i32 i32 i32 i32)))
    (import "host" "send" (func $send (param i32 i32 i32 i32 i32)))
    (import "host" "request" (func $request (param i32 i32 i32 i32 i32)))
    (import "host" "outstanding" (func $outstanding (param i32)))
    (import "host" "respond" (func $respond (param i32 i32 i32 i32 i32)))
    ;; 64..96 results of exports, 128..144 results of imports
    (data (i32.const 16) "nobody asked")

    (func $err (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 1))
      (i32.store (i32.const 68) (local.get $p)) (i32.store (i32.const 72) (local.get $n)) (i32.const 64))
    (func $ok (param $some i32) (param $sp i32) (param $sl i32) (param $reply i32) (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 0))
      (i32.store8 (i32.const 68) (local.get $some)) (i32.store (i32.const 72) (local.get $sp)) (i32.store (i32.const 76) (local.get $sl))
      (i32.store8 (i32.const 80) (local.get $reply)) (i32.store (i32.const 84) (local.get $p)) (i32.store (i32.const 88) (local.get $n))
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
    (func $recurse (param i32) (result i32)
      (i32.add (call $recurse (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))

    (func (export "init") (param $some i32) (param $sp i32) (param $sl i32) (param $ip i32) (param $il i32) (result i32)
      (if (i32.and (local.get $some) (i32.eq (local.get $sl) (i32.const 4))) (then
        (if (i32.eq (i32.load align=1 (local.get $sp)) (i32.const 0x6c696166)) (then (return (call $err (local.get $sp) (local.get $sl)))))
        (if (i32.eq (i32.load align=1 (local.get $sp)) (i32.const 0x70617274)) (then unreachable))))
      (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 0) (i32.const 0) (i32.const 0)))

    (func $act (param $some i32) (param $sp i32) (param $sl i32) (param $p i32) (param $n i32) (result i32)
      (local $op i32) (local $q i32) (local $k i32)
      (if (local.get $n) (then (local.set $op (i32.load8_u (local.get $p)))))
      (if (i32.eq (local.get $op) (i32.const 0x65)) (then ;; e
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 1) (local.get $p) (local.get $n)))))
      (if (i32.eq (local.get $op) (i32.const 0x63)) (then ;; c
        (if (i32.and (local.get $some) (i32.ge_u (local.get $sl) (i32.const 4))) (then (local.set $k (i32.load align=1 (local.get $sp)))))
        (local.set $q (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 4)))
        (i32.store (local.get $q) (i32.add (local.get $k) (i32.const 1)))
        (return (call $ok (i32.const 1) (local.get $q) (i32.const 4) (i32.const 1) (local.get $q) (i32.const 4)))))
      (if (i32.eq (local.get $op) (i32.const 0x67)) (then ;; g
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 1) (local.get $sp) (local.get $sl)))))
      (if (i32.eq (local.get $op) (i32.const 0x72)) (then ;; r
        (call $outstanding (i32.const 128))
        (if (i32.eqz (i32.load (i32.const 132))) (then (return (call $err (i32.const 16) (i32.const 12)))))
        (local.set $q (i32.load (i32.const 128)))
        (call $respond (i32.load (local.get $q)) (i32.load offset=4 (local.get $q))
          (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1)) (i32.const 128))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 1) (local.get $p) (local.get $n)))))
      (if (i32.eq (local.get $op) (i32.const 0x61)) (then ;; a
        (call $request (i32.add (local.get $p) (i32.const 1)) (call $name-length (i32.add (local.get $p) (i32.const 1)))
          (i32.add (local.get $p) (i32.const 9)) (i32.sub (local.get $n) (i32.const 9)) (i32.const 128))
        (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 1) (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (if (i32.eq (local.get $op) (i32.const 0x73)) (then ;; s
        (call $send (i32.add (local.get $p) (i32.const 1)) (call $name-length (i32.add (local.get $p) (i32.const 1)))
          (i32.add (local.get $p) (i32.const 9)) (i32.sub (local.get $n) (i32.const 9)) (i32.const 128))
        (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 1) (local.get $p) (i32.const 1)))))
      (if (i32.eq (local.get $op) (i32.const 0x66)) (then ;; f
        (local.set $k (i32.load align=1 (i32.add (local.get $p) (i32.const 9))))
        (block $done (loop $l
          (br_if $done (i32.eqz (local.get $k)))
          (call $send (i32.add (local.get $p) (i32.const 1)) (call $name-length (i32.add (local.get $p) (i32.const 1)))
            (i32.add (local.get $p) (i32.const 13)) (i32.sub (local.get $n) (i32.const 13)) (i32.const 128))
          (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
          (local.set $k (i32.sub (local.get $k) (i32.const 1)))
          (br $l)))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 1) (local.get $p) (i32.const 1)))))
      (if (i32.eq (local.get $op) (i32.const 0x41)) (then ;; A
        (local.set $k (i32.load align=1 (i32.add (local.get $p) (i32.const 9))))
        (block $done (loop $l
          (br_if $done (i32.eqz (local.get $k)))
          (call $request (i32.add (local.get $p) (i32.const 1)) (call $name-length (i32.add (local.get $p) (i32.const 1)))
            (i32.add (local.get $p) (i32.const 13)) (i32.sub (local.get $n) (i32.const 13)) (i32.const 128))
          (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
          (call $release (i32.load (i32.const 132)))
          (local.set $k (i32.sub (local.get $k) (i32.const 1)))
          (br $l)))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 1) (local.get $p) (i32.const 1)))))
      (if (i32.eq (local.get $op) (i32.const 0x78)) (then ;; x
        (return (call $err (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1))))))
      (if (i32.eq (local.get $op) (i32.const 0x6c)) (then ;; l
        (call $log (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1)))))
      (if (i32.eq (local.get $op) (i32.const 0x4c)) (then ;; L
        (loop $l (call $log (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1))) (br $l))))
      (if (i32.eq (local.get $op) (i32.const 0x75)) (then unreachable)) ;; u
      (if (i32.eq (local.get $op) (i32.const 0x62)) (then (loop $l (br $l)))) ;; b
      (if (i32.eq (local.get $op) (i32.const 0x6f)) (then (local.set $k (call $recurse (i32.const 0))))) ;; o
      (if (i32.eq (local.get $op) (i32.const 0x64)) (then (local.set $k (i32.div_u (i32.const 1) (local.get $k))))) ;; d
      (if (i32.eq (local.get $op) (i32.const 0x71)) (then ;; q
        (call $shutdown (i32.const 1) (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1)) (i32.const 128))))
      (if (i32.eq (local.get $op) (i32.const 0x6d)) (then ;; m
        (block $done (loop $l
          (br_if $done (i32.eq (memory.grow (i32.const 16)) (i32.const -1)))
          (br $l)))
        (local.set $q (i32.const 512))
        (i32.store (local.get $q) (memory.size))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 1) (local.get $q) (i32.const 4)))))
      (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.ne (local.get $op) (i32.const 0x6e)) (local.get $p) (local.get $n)))

    (func (export "handle-send") (param i32 i32 i32 i32 i32) (result i32)
      (call $act (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))
    (func (export "handle-request") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
      (call $act (local.get 0) (local.get 1) (local.get 2) (local.get 5) (local.get 6)))
    (func (export "post") (param i32) (call $reset)))

  (core instance $imports
    (export "log" (func $log)) (export "shutdown" (func $shutdown)) (export "send" (func $send)) (export "request" (func $request))
    (export "outstanding" (func $outstanding)) (export "respond" (func $respond)))
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
