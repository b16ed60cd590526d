;; {{name}}: counts what it is told to add.
;;
;; {"add": 2} is answered with {"count":...}; {"crash": true} ends this life of the actor, to see it come back. The
;; state is {"count":...} as well.
;;
;; A module whose imports and exports are called as the .wit files of Theater call them is a whole actor: it is built
;; into a component. Bytes and texts come as an address and a size; an option comes as a 0 or 1 before them. A handler
;; returns the address of its answer:
;;
;;     result<tuple<option<state>, ...>, string>     0: 0 for ok            0: 1 for err
;;                                                   4: 1 if there is one   4: address of the text
;;                                                   8: address of it       8: size of the text
;;                                                   12: size of it
;;     ... tuple<option<reply>>                      16, 20, 24: the same for the reply
(module
  (import "theater:simple/runtime" "log" (func $log (param $at i32) (param $size i32)))

  (memory (export "memory") 2)

  ;; 0..63 answer; 64.. texts; 1024..1151 the new state and reply; from 4096 what the host hands in
  (data (i32.const 64) "{\"count\":")
  (data (i32.const 80) "started")
  (data (i32.const 96) "this actor understands {\"add\": N} with a whole number N")
  (data (i32.const 160) "\"add\"")
  (data (i32.const 168) "\"crash\"")
  (data (i32.const 176) "\"count\"")
  (data (i32.const 184) "true")
  (global $top (mut i32) (i32.const 4096))

  ;; Where the reader of JSON is, and where its text ends.
  (global $at (mut i32) (i32.const 0))
  (global $end (mut i32) (i32.const 0))

  ;; ---- memory: the host asks for room here before it hands something in; all of it is given back after the call

  (func (export "cabi_realloc")
    (param $old i32) (param $old_size i32) (param $alignment i32) (param $size i32) (result i32)
    (local $place i32) (local $missing i32)
    (local.set $place
      (i32.and
        (i32.add (global.get $top) (i32.sub (local.get $alignment) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $alignment))))
    (global.set $top (i32.add (local.get $place) (local.get $size)))
    (local.set $missing (i32.sub (i32.div_u (global.get $top) (i32.const 65536)) (memory.size)))
    (if (i32.ge_s (local.get $missing) (i32.const 0))
      (then
        (if (i32.eq (memory.grow (i32.add (local.get $missing) (i32.const 1))) (i32.const -1)) (then unreachable))))
    (memory.copy (local.get $place) (local.get $old) (local.get $old_size))
    (local.get $place))

  (func $after_the_call (param $answer i32)
    (global.set $top (i32.const 4096)))
  (export "cabi_post_theater:simple/actor#init" (func $after_the_call))
  (export "cabi_post_theater:simple/message-server-client#handle-request" (func $after_the_call))

  ;; ---- handlers

  (func (export "theater:simple/actor#init")
    (param $has_state i32) (param $state i32) (param $state_size i32) (param $id i32) (param $id_size i32) (result i32)
    (call $log (i32.const 80) (i32.const 7))
    (if (i32.eqz (local.get $has_state))
      (then
        (local.set $state (i32.const 1024))
        (local.set $state_size (call $write_count (i64.const 0)))))
    (call $answer (local.get $state) (local.get $state_size)))

  (func (export "theater:simple/message-server-client#handle-request")
    (param $has_state i32) (param $state i32) (param $state_size i32)
    (param $request i32) (param $request_size i32) (param $body i32) (param $body_size i32) (result i32)
    (local $count i64) (local $add i64) (local $understood i32)
    (if (call $asks_to_crash (local.get $body) (local.get $body_size)) (then unreachable))
    (call $read_member (local.get $state) (local.get $state_size) (i32.const 176) (i32.const 7))
    (local.set $count)
    (drop)
    (call $read_member (local.get $body) (local.get $body_size) (i32.const 160) (i32.const 5))
    (local.set $add)
    (local.set $understood)
    (if (i32.eqz (local.get $understood))
      (then (return (call $fail (i32.const 96) (i32.const 55)))))
    (call $answer (i32.const 1024) (call $write_count (i64.add (local.get $count) (local.get $add)))))

  ;; The answer whose state, and reply if there is to be one, is the text.
  (func $answer (param $text i32) (param $size i32) (result i32)
    (i32.store (i32.const 0) (i32.const 0))
    (i32.store (i32.const 4) (i32.const 1))
    (i32.store (i32.const 8) (local.get $text))
    (i32.store (i32.const 12) (local.get $size))
    (i32.store (i32.const 16) (i32.const 1))
    (i32.store (i32.const 20) (local.get $text))
    (i32.store (i32.const 24) (local.get $size))
    (i32.const 0))

  (func $fail (param $text i32) (param $size i32) (result i32)
    (i32.store (i32.const 0) (i32.const 1))
    (i32.store (i32.const 4) (local.get $text))
    (i32.store (i32.const 8) (local.get $size))
    (i32.const 0))

  ;; ---- JSON, as much of it as an object of one member needs

  (func $read_from (param $text i32) (param $size i32)
    (global.set $at (local.get $text))
    (global.set $end (i32.add (local.get $text) (local.get $size))))

  ;; The next character, 0 at the end.
  (func $next (result i32)
    (if (result i32) (i32.lt_u (global.get $at) (global.get $end))
      (then (i32.load8_u (global.get $at)))
      (else (i32.const 0))))

  (func $step
    (global.set $at (i32.add (global.get $at) (i32.const 1))))

  (func $skip_space
    (loop $more
      (if (i32.or
            (i32.eq (call $next) (i32.const 32))
            (i32.and (i32.ge_u (call $next) (i32.const 9)) (i32.le_u (call $next) (i32.const 13))))
        (then
          (call $step)
          (br $more)))))

  ;; Goes over spaces and one character; whether it was there.
  (func $take (param $sign i32) (result i32)
    (call $skip_space)
    (if (i32.ne (call $next) (local.get $sign)) (then (return (i32.const 0))))
    (call $step)
    (i32.const 1))

  ;; Goes over spaces and a word; whether it was there.
  (func $take_word (param $word i32) (param $size i32) (result i32)
    (call $skip_space)
    (loop $more
      (if (i32.eqz (local.get $size)) (then (return (i32.const 1))))
      (if (i32.ne (call $next) (i32.load8_u (local.get $word))) (then (return (i32.const 0))))
      (call $step)
      (local.set $word (i32.add (local.get $word) (i32.const 1)))
      (local.set $size (i32.sub (local.get $size) (i32.const 1)))
      (br $more))
    (unreachable))

  ;; Goes over `{"key":`; whether it was there.
  (func $take_key (param $key i32) (param $size i32) (result i32)
    (if (i32.eqz (call $take (i32.const 123))) (then (return (i32.const 0))))
    (if (i32.eqz (call $take_word (local.get $key) (local.get $size))) (then (return (i32.const 0))))
    (call $take (i32.const 58)))

  ;; Goes over `}`; whether it was there and nothing follows.
  (func $take_end (result i32)
    (if (i32.eqz (call $take (i32.const 125))) (then (return (i32.const 0))))
    (call $skip_space)
    (i32.eq (global.get $at) (global.get $end)))

  (func $asks_to_crash (param $text i32) (param $size i32) (result i32)
    (call $read_from (local.get $text) (local.get $size))
    (if (i32.eqz (call $take_key (i32.const 168) (i32.const 7))) (then (return (i32.const 0))))
    (if (i32.eqz (call $take_word (i32.const 184) (i32.const 4))) (then (return (i32.const 0))))
    (call $take_end))

  ;; Whether the text is an object of just this key and a whole number of at most 18 digits; and the number.
  (func $read_member (param $text i32) (param $size i32) (param $key i32) (param $key_size i32) (result i32 i64)
    (local $negative i32) (local $digits i32) (local $number i64)
    (call $read_from (local.get $text) (local.get $size))
    (if (i32.eqz (call $take_key (local.get $key) (local.get $key_size))) (then (return (i32.const 0) (i64.const 0))))
    (local.set $negative (call $take (i32.const 45)))
    (loop $more
      (if (i32.lt_u (i32.sub (call $next) (i32.const 48)) (i32.const 10))
        (then
          (local.set $number
            (i64.add
              (i64.mul (local.get $number) (i64.const 10))
              (i64.extend_i32_u (i32.sub (call $next) (i32.const 48)))))
          (local.set $digits (i32.add (local.get $digits) (i32.const 1)))
          (call $step)
          (br $more))))
    (if (local.get $negative) (then (local.set $number (i64.sub (i64.const 0) (local.get $number)))))
    (if (i32.eqz (call $take_end)) (then (return (i32.const 0) (i64.const 0))))
    (i32.lt_u (i32.sub (local.get $digits) (i32.const 1)) (i32.const 18))
    (local.get $number))

  ;; Writes {"count":N} to 1024, and returns its size.
  (func $write_count (param $count i64) (result i32)
    (local $place i32) (local $divisor i64) (local $rest i64)
    (memory.copy (i32.const 1024) (i32.const 64) (i32.const 9))
    (local.set $place (i32.const 1033))
    (if (i64.lt_s (local.get $count) (i64.const 0))
      (then
        (i32.store8 (local.get $place) (i32.const 45))
        (local.set $place (i32.add (local.get $place) (i32.const 1)))
        (local.set $count (i64.sub (i64.const 0) (local.get $count)))))
    ;; the largest power of ten that is not larger than the number
    (local.set $divisor (i64.const 1))
    (local.set $rest (local.get $count))
    (loop $longer
      (local.set $rest (i64.div_u (local.get $rest) (i64.const 10)))
      (if (i64.ne (local.get $rest) (i64.const 0))
        (then
          (local.set $divisor (i64.mul (local.get $divisor) (i64.const 10)))
          (br $longer))))
    (loop $digit
      (i32.store8 (local.get $place)
        (i32.add (i32.const 48) (i32.wrap_i64 (i64.div_u (local.get $count) (local.get $divisor)))))
      (local.set $place (i32.add (local.get $place) (i32.const 1)))
      (local.set $count (i64.rem_u (local.get $count) (local.get $divisor)))
      (local.set $divisor (i64.div_u (local.get $divisor) (i64.const 10)))
      (br_if $digit (i64.ne (local.get $divisor) (i64.const 0))))
    (i32.store8 (local.get $place) (i32.const 125))
    (i32.sub (i32.add (local.get $place) (i32.const 1)) (i32.const 1024))))
