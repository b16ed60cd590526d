;; An actor that counts in its linear memory, and in its state only when it is told to. A message's first byte:
;;
;;   'c' count            'x' count, answer err         'u' count, then unreachable      'b' count, then loop for ever
;;   'l' count, log it    'L' count, log for ever       's' count, make it the state     'm' count, grow by 16 pages
;;   else nothing
;;
;; The answer is the count (u32, little-endian). init makes the state "init".
(component
  (import "theater:simple/runtime" (instance $runtime (export "log" (func (param "msg" string)))))
  (core module $libc
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param $old i32) (param $osz i32) (param $al i32) (param $nsz i32) (result i32)
      (local $p i32)
      (local.set $p (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $p) (local.get $nsz)))
      (local.get $p))
    (func (export "reset") (global.set $top (i32.const 1024))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $mem))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $log (canon lower (func $runtime "log") (memory $mem) string-encoding=utf8))
  (core module $main
    (import "libc" "memory" (memory 2))
    (import "libc" "reset" (func $reset))
    (import "host" "log" (func $log (param i32 i32)))
    ;; 16 words, 32 the count, 64..96 results of exports
    (data (i32.const 16) "initno")

    (func $ok (param $some i32) (param $sp i32) (param $sl i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 0))
      (i32.store8 (i32.const 68) (local.get $some)) (i32.store (i32.const 72) (local.get $sp)) (i32.store (i32.const 76) (local.get $sl))
      (i32.store8 (i32.const 80) (i32.const 1)) (i32.store (i32.const 84) (i32.const 32)) (i32.store (i32.const 88) (i32.const 4))
      (i32.const 64))
    (func (export "init") (param i32 i32 i32 i32 i32) (result i32)
      (call $ok (i32.const 1) (i32.const 16) (i32.const 4)))
    (func $act (param $some i32) (param $sp i32) (param $sl i32) (param $p i32) (param $n i32) (result i32)
      (local $op i32)
      (if (local.get $n) (then (local.set $op (i32.load8_u (local.get $p)))))
      (if (i32.gt_u (local.get $op) (i32.const 0x40)) (then
        (i32.store (i32.const 32) (i32.add (i32.load (i32.const 32)) (i32.const 1)))
        (i32.store (i32.const 40) (i32.const 7)))) ;; hidden
      (if (i32.eq (local.get $op) (i32.const 0x78)) (then ;; x
        (i32.store8 (i32.const 64) (i32.const 1))
        (i32.store (i32.const 68) (i32.const 20)) (i32.store (i32.const 72) (i32.const 2))
        (return (i32.const 64))))
      (if (i32.eq (local.get $op) (i32.const 0x75)) (then unreachable)) ;; u
      (if (i32.eq (local.get $op) (i32.const 0x62)) (then (loop $l (br $l)))) ;; b
      (if (i32.eq (local.get $op) (i32.const 0x6c)) (then (call $log (local.get $p) (local.get $n)))) ;; l
      (if (i32.eq (local.get $op) (i32.const 0x4c)) (then (loop $l (call $log (local.get $p) (local.get $n)) (br $l)))) ;; L
      (if (i32.eq (local.get $op) (i32.const 0x6d)) (then (drop (memory.grow (i32.const 16))))) ;; m
      (if (i32.eq (local.get $op) (i32.const 0x73)) (then (return (call $ok (i32.const 1) (i32.const 32) (i32.const 4))))) ;; s
      (call $ok (local.get $some) (local.get $sp) (local.get $sl)))
    (func (export "handle-send") (param i32 i32 i32 i32 i32) (result i32)
      (call $act (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))
    (func (export "handle-request") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
      (call $act (local.get 0) (local.get 1) (local.get 2) (local.get 5) (local.get 6)))
    (func (export "post") (param i32) (call $reset)))
  (core instance $imports (export "log" (func $log)))
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
