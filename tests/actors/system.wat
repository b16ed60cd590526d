;; An actor that uses theater:simple/timing, random and environment, and what WASI has of them, chosen by the first byte
;; of a message; the rest are arguments, numbers little-endian:
;;
;;   'n' answer now (u64)                     'z' sleep (u64 ms); answer the message
;;   'D' wait until a moment (u64 ms); answer the message
;;   'b' answer random bytes, as many (u32)   'r' answer a number of a range (u64, u64 -> u64)
;;   'f' answer a fraction (f64)              'u' answer a uuid
;;   'v' answer a variable, or nothing        'e' answer whether there is one (a byte)
;;   'l' answer all: NAME=VALUE and a line feed each
;;   'W' answer random bytes of WASI, as many (u64)    'C' answer WASI's wall clock (u64 s, u32 ns)
;;   everything else: answer the message
(component
  (import "theater:simple/timing" (instance $timing
    (export "now" (func (result u64)))
    (export "sleep" (func (param "duration" u64) (result (result (error string)))))
    (export "deadline" (func (param "timestamp" u64) (result (result (error string)))))))
  (import "theater:simple/random" (instance $random
    (export "random-bytes" (func (param "length" u32) (result (result (list u8) (error string)))))
    (export "random-range" (func (param "min" u64) (param "max" u64) (result (result u64 (error string)))))
    (export "random-float" (func (result (result f64 (error string)))))
    (export "generate-uuid" (func (result (result string (error string)))))))
  (import "theater:simple/environment" (instance $environment
    (export "get-var" (func (param "name" string) (result (option string))))
    (export "list-vars" (func (result (list (tuple string string)))))
    (export "exists" (func (param "name" string) (result bool)))))
  (import "wasi:random/random@0.2.0" (instance $chance
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (import "wasi:clocks/wall-clock@0.2.0" (instance $wall
    (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $record)))
    (export "now" (func (result $datetime)))))

  (core module $libc
    (memory (export "memory") 40)
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

  (core func $now (canon lower (func $timing "now")))
  (core func $sleep (canon lower (func $timing "sleep") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $until (canon lower (func $timing "deadline") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $bytes (canon lower (func $random "random-bytes") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $range (canon lower (func $random "random-range") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $float (canon lower (func $random "random-float") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $uuid (canon lower (func $random "generate-uuid") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $get (canon lower (func $environment "get-var") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $list (canon lower (func $environment "list-vars") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $exists (canon lower (func $environment "exists") (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $wasi-bytes (canon lower (func $chance "get-random-bytes") (memory $mem) (realloc $realloc)))
  (core func $wasi-now (canon lower (func $wall "now") (memory $mem)))

  (core module $main
    (import "libc" "memory" (memory 40))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "libc" "reset" (func $reset))
    (import "host" "now" (func $now (result i64)))
    (import "host" "sleep" (func $sleep (param i64 i32)))
    (import "host" "until" (func $until (param i64 i32)))
    (import "host" "bytes" (func $bytes (param i32 i32)))
    (import "host" "range" (func $range (param i64 i64 i32)))
    (import "host" "float" (func $float (param i32)))
    (import "host" "uuid" (func $uuid (param i32)))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "list" (func $list (param i32)))
    (import "host" "exists" (func $exists (param i32 i32) (result i32)))
    (import "host" "wasi-bytes" (func $wasi-bytes (param i64 i32)))
    (import "host" "wasi-now" (func $wasi-now (param i32)))
    ;; 64..96 results of exports, 128..144 results of imports, 144.. a number that is answered

    (func $err (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 1))
      (i32.store (i32.const 68) (local.get $p)) (i32.store (i32.const 72) (local.get $n)) (i32.const 64))
    (func $ok (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 0))
      (i32.store8 (i32.const 68) (i32.const 0))
      (i32.store8 (i32.const 80) (i32.const 1)) (i32.store (i32.const 84) (local.get $p)) (i32.store (i32.const 88) (local.get $n))
      (i32.const 64))
    ;; of result<_, string>: the message if it is ok
    (func $done (param $p i32) (param $n i32) (result i32)
      (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (call $ok (local.get $p) (local.get $n)))
    ;; of result<list or string, string>
    (func $told (result i32)
      (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (call $ok (i32.load (i32.const 132)) (i32.load (i32.const 136))))
    ;; of result<u64 or f64, string>
    (func $number (result i32)
      (if (i32.load8_u (i32.const 128)) (then (return (call $err (i32.load (i32.const 136)) (i32.load (i32.const 140))))))
      (call $ok (i32.const 136) (i32.const 8)))
    ;; appends a string to the text from $to on; the new end
    (func $append (param $to i32) (param $at i32) (result i32)
      (memory.copy (local.get $to) (i32.load (local.get $at)) (i32.load (i32.add (local.get $at) (i32.const 4))))
      (i32.add (local.get $to) (i32.load (i32.add (local.get $at) (i32.const 4)))))
    (func $all (result i32)
      (local $at i32) (local $left i32) (local $begin i32) (local $end i32)
      (call $list (i32.const 128))
      (local.set $at (i32.load (i32.const 128)))
      (local.set $left (i32.load (i32.const 132)))
      (local.tee $begin (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 100000)))
      (local.set $end)
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (local.set $end (call $append (local.get $end) (local.get $at)))
        (i32.store8 (local.get $end) (i32.const 0x3d))
        (local.set $end (call $append (i32.add (local.get $end) (i32.const 1)) (i32.add (local.get $at) (i32.const 8))))
        (i32.store8 (local.get $end) (i32.const 0x0a))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
      (call $ok (local.get $begin) (i32.sub (local.get $end) (local.get $begin))))

    (func (export "init") (param i32 i32 i32 i32 i32) (result i32)
      (call $ok (i32.const 0) (i32.const 0)))

    (func $act (param $p i32) (param $n i32) (result i32)
      (local $op i32) (local $rest i32) (local $size i32)
      (if (local.get $n) (then (local.set $op (i32.load8_u (local.get $p)))))
      (local.set $rest (i32.add (local.get $p) (i32.const 1)))
      (local.set $size (i32.sub (local.get $n) (i32.const 1)))
      (if (i32.eq (local.get $op) (i32.const 0x6e)) (then ;; n
        (i64.store (i32.const 144) (call $now))
        (return (call $ok (i32.const 144) (i32.const 8)))))
      (if (i32.eq (local.get $op) (i32.const 0x7a)) (then ;; z
        (call $sleep (i64.load align=1 (local.get $rest)) (i32.const 128))
        (return (call $done (local.get $p) (local.get $n)))))
      (if (i32.eq (local.get $op) (i32.const 0x44)) (then ;; D
        (call $until (i64.load align=1 (local.get $rest)) (i32.const 128))
        (return (call $done (local.get $p) (local.get $n)))))
      (if (i32.eq (local.get $op) (i32.const 0x62)) (then ;; b
        (call $bytes (i32.load align=1 (local.get $rest)) (i32.const 128))
        (return (call $told))))
      (if (i32.eq (local.get $op) (i32.const 0x72)) (then ;; r
        (call $range (i64.load align=1 (local.get $rest)) (i64.load offset=8 align=1 (local.get $rest)) (i32.const 128))
        (return (call $number))))
      (if (i32.eq (local.get $op) (i32.const 0x66)) (then ;; f
        (call $float (i32.const 128))
        (return (call $number))))
      (if (i32.eq (local.get $op) (i32.const 0x75)) (then ;; u
        (call $uuid (i32.const 128))
        (return (call $told))))
      (if (i32.eq (local.get $op) (i32.const 0x76)) (then ;; v
        (call $get (local.get $rest) (local.get $size) (i32.const 128))
        (if (i32.eqz (i32.load8_u (i32.const 128))) (then (return (call $ok (i32.const 0) (i32.const 0)))))
        (return (call $ok (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (if (i32.eq (local.get $op) (i32.const 0x65)) (then ;; e
        (i32.store8 (i32.const 144) (call $exists (local.get $rest) (local.get $size)))
        (return (call $ok (i32.const 144) (i32.const 1)))))
      (if (i32.eq (local.get $op) (i32.const 0x6c)) (then (return (call $all)))) ;; l
      (if (i32.eq (local.get $op) (i32.const 0x57)) (then ;; W
        (call $wasi-bytes (i64.load align=1 (local.get $rest)) (i32.const 128))
        (return (call $ok (i32.load (i32.const 128)) (i32.load (i32.const 132))))))
      (if (i32.eq (local.get $op) (i32.const 0x43)) (then ;; C
        (call $wasi-now (i32.const 128))
        (return (call $ok (i32.const 128) (i32.const 12)))))
      (call $ok (local.get $p) (local.get $n)))

    (func (export "handle-send") (param i32 i32 i32 i32 i32) (result i32) (call $act (local.get 3) (local.get 4)))
    (func (export "handle-request") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
      (call $act (local.get 5) (local.get 6)))
    (func (export "post") (param i32) (call $reset)))

  (core instance $imports
    (export "now" (func $now)) (export "sleep" (func $sleep)) (export "until" (func $until))
    (export "bytes" (func $bytes)) (export "range" (func $range)) (export "float" (func $float))
    (export "uuid" (func $uuid)) (export "get" (func $get)) (export "list" (func $list))
    (export "exists" (func $exists)) (export "wasi-bytes" (func $wasi-bytes)) (export "wasi-now" (func $wasi-now)))
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
