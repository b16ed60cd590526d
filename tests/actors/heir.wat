;; An actor that takes over the name of one whose end it hears of, and makes bonds in its init.
;; Its manifest needs the handlers "message-server", "registry" and "monitors".
;;
;; A message, and the state that init is given, chooses by its first byte; the rest names another actor:
;;
;;   'm' monitor it     'l' link to it     'f' link to it, then trap     'w' link to it, then loop for ever     else nothing
;;
;; It becomes the state and is answered. `handle-down` registers the rest of the state as a name, and answers err with the
;; host's sentence when that is refused.
(component
  (import "theater:otp/registry@0.1.0" (instance $registry
    (export "register" (func (param "name" string) (result (result (error string)))))))
  (import "theater:otp/exits@0.1.0" (instance $exits
    (type $kind-type (enum "normal" "shutdown" "trap" "error" "signal" "status" "out-of-memory" "deadline" "start-failed"
      "gave-up" "killed" "no-process"))
    (export "exit-kind" (type $kind (eq $kind-type)))
    (type $reason-type (record (field "kind" $kind) (field "detail" (option string)) (field "signal" (option u32))
      (field "status" (option s32)) (field "commanded" bool)))
    (export "exit-reason" (type $reason (eq $reason-type)))))
  (alias export $exits "exit-reason" (type $reason))
  (import "theater:otp/monitors@0.1.0" (instance $monitors
    (export "monitor" (func (param "actor" string) (result (result u64 (error string)))))))
  (import "theater:otp/links@0.1.0" (instance $links
    (export "link" (func (param "actor" string) (result (result (error string)))))))

  (core module $libc
    (memory (export "memory") 2)
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

  (core func $register (canon lower (func $registry "register") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $monitor (canon lower (func $monitors "monitor") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $link (canon lower (func $links "link") (memory $mem) (realloc $realloc) string-encoding=utf8))

  (core module $main
    (import "libc" "memory" (memory 2))
    (import "libc" "reset" (func $reset))
    (import "host" "register" (func $register (param i32 i32 i32)))
    (import "host" "monitor" (func $monitor (param i32 i32 i32)))
    (import "host" "link" (func $link (param i32 i32 i32)))
    ;; 64..96 results of exports, 128..160 results of imports

    (func $err (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 1))
      (i32.store (i32.const 68) (local.get $p)) (i32.store (i32.const 72) (local.get $n)) (i32.const 64))
    (func $ok (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 0))
      (i32.store8 (i32.const 68) (i32.const 1)) (i32.store (i32.const 72) (local.get $p)) (i32.store (i32.const 76) (local.get $n))
      (i32.store8 (i32.const 80) (i32.const 1)) (i32.store (i32.const 84) (local.get $p)) (i32.store (i32.const 88) (local.get $n))
      (i32.const 64))

    (func $act (param $p i32) (param $n i32) (result i32)
      (local $op i32) (local $rest i32) (local $size i32)
      (if (i32.eqz (local.get $n)) (then (return (call $ok (local.get $p) (i32.const 0)))))
      (local.set $op (i32.load8_u (local.get $p)))
      (local.set $rest (i32.add (local.get $p) (i32.const 1)))
      (local.set $size (i32.sub (local.get $n) (i32.const 1)))
      (if (i32.eq (local.get $op) (i32.const 0x6d)) (then ;; m
        (call $monitor (local.get $rest) (local.get $size) (i32.const 128))
        (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 136)) (i32.load (i32.const 140))))))))
      (if (i32.or (i32.eq (local.get $op) (i32.const 0x6c)) (i32.or (i32.eq (local.get $op) (i32.const 0x66)) (i32.eq (local.get $op) (i32.const 0x77)))) (then ;; l, f, w
        (call $link (local.get $rest) (local.get $size) (i32.const 128))
        (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))))))
      (if (i32.eq (local.get $op) (i32.const 0x66)) (then unreachable)) ;; f
      (if (i32.eq (local.get $op) (i32.const 0x77)) (then (loop $l (br $l)))) ;; w
      (call $ok (local.get $p) (local.get $n)))

    (func (export "init") (param $some i32) (param $sp i32) (param $sl i32) (param i32 i32) (result i32)
      (call $act (local.get $sp) (select (local.get $sl) (i32.const 0) (local.get $some))))
    (func (export "handle-send") (param i32 i32 i32 i32 i32) (result i32)
      (call $act (local.get 3) (local.get 4)))
    (func (export "handle-request") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
      (call $act (local.get 5) (local.get 6)))
    (func (export "handle-down") (param $some i32) (param $sp i32) (param $sl i32) (param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
        (result i32)
      (call $register (i32.add (local.get $sp) (i32.const 1)) (i32.sub (local.get $sl) (i32.const 1)) (i32.const 128))
      (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (call $ok (local.get $sp) (local.get $sl)))
    (func (export "handle-exit") (param $some i32) (param $sp i32) (param $sl i32) (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
        (result i32)
      (call $ok (local.get $sp) (local.get $sl)))
    (func (export "post") (param i32) (call $reset)))

  (core instance $imports
    (export "register" (func $register)) (export "monitor" (func $monitor)) (export "link" (func $link)))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance $imports))))
  (alias core export $main "post" (core func $post))

  (type $state (option (list u8)))
  (func $init (param "state" $state) (param "params" (tuple string)) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "init") (memory $mem) (realloc $realloc) (post-return $post) string-encoding=utf8))
  (func $handle-send (param "state" $state) (param "params" (tuple (list u8))) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "handle-send") (memory $mem) (realloc $realloc) (post-return $post) string-encoding=utf8))
  (func $handle-request (param "state" $state) (param "params" (tuple string (list u8)))
      (result (result (tuple $state (tuple (option (list u8)))) (error string)))
    (canon lift (core func $main "handle-request") (memory $mem) (realloc $realloc) (post-return $post) string-encoding=utf8))
  (func $handle-down (param "state" $state) (param "params" (tuple u64 string $reason)) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "handle-down") (memory $mem) (realloc $realloc) (post-return $post) string-encoding=utf8))
  (func $handle-exit (param "state" $state) (param "params" (tuple string $reason)) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "handle-exit") (memory $mem) (realloc $realloc) (post-return $post) string-encoding=utf8))
  (instance $actor (export "init" (func $init)))
  (instance $client (export "handle-send" (func $handle-send)) (export "handle-request" (func $handle-request)))
  (instance $of-ends (export "exit-reason" (type $reason)) (export "handle-down" (func $handle-down)) (export "handle-exit" (func $handle-exit)))
  (export "theater:simple/actor" (instance $actor))
  (export "theater:simple/message-server-client" (instance $client))
  (export "theater:otp/monitor-handlers@0.1.0" (instance $of-ends)))
