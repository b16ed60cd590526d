;; {{name}}: talks to other actors, and answers some requests later.
;;
;; Requests:
;;     who               is answered with the actor's id
;;     ask NAME WORDS    asks the actor NAME with WORDS, and passes the answer on
;;     tell NAME WORDS   sends WORDS to the actor NAME, and is answered with `told`
;;     wait              is answered later
;; Any message that is no request is the answer to all who wait.
;;
;; A module whose imports and exports are called as the .wit files of Theater call them is a whole actor: it is built
;; into a component. Bytes and texts come as an address and a size; an option comes as a 0 or 1 before them. A host
;; function whose result is more than a number is given an address to write it to; a handler returns one:
;;
;;     result<tuple<option<state>, ...>, string>     0: 0 for ok            0: 1 for err
;;                                                   4: 1 if there is one   4: address of the text
;;                                                   8: address of it       8: size of the text
;;                                                   12: size of it
;;     ... tuple<option<reply>>                      16, 20, 24: the same for the reply
;;     result<bytes, string>                         0: 0 or 1, 4: address, 8: size
;;     list<string>                                  0: address of the items, 4: how many; an item has 8 bytes
(module
  (import "theater:simple/message-server-host" "send"
    (func $send (param $to i32) (param $to_size i32) (param $text i32) (param $size i32) (param $result i32)))
  (import "theater:simple/message-server-host" "request"
    (func $request (param $to i32) (param $to_size i32) (param $text i32) (param $size i32) (param $result i32)))
  (import "theater:simple/message-server-host" "list-outstanding-requests"
    (func $list_outstanding (param $result i32)))
  (import "theater:simple/message-server-host" "respond-to-request"
    (func $respond (param $id i32) (param $id_size i32) (param $text i32) (param $size i32) (param $result i32)))
  (import "theater:otp/identity@0.1.0" "self" (func $self (param $result i32)))

  (memory (export "memory") 2)

  ;; 0..63 answer; 64..127 results of the host; 128.. texts; from 4096 what the host hands in
  (data (i32.const 128) "who")
  (data (i32.const 132) "wait")
  (data (i32.const 136) "ask")
  (data (i32.const 140) "tell")
  (data (i32.const 144) "told")
  (data (i32.const 160) "this actor understands who, wait, ask NAME WORDS and tell NAME WORDS")
  (global $top (mut i32) (i32.const 4096))

  ;; What of a request is not read yet, and the word that was read last.
  (global $rest (mut i32) (i32.const 0))
  (global $rest_size (mut i32) (i32.const 0))
  (global $word (mut i32) (i32.const 0))
  (global $word_size (mut i32) (i32.const 0))

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
  (export "cabi_post_theater:simple/message-server-client#handle-send" (func $after_the_call))
  (export "cabi_post_theater:simple/message-server-client#handle-request" (func $after_the_call))

  ;; ---- handlers; this actor has no state of its own and gives back what it got

  (func (export "theater:simple/actor#init")
    (param $has_state i32) (param $state i32) (param $state_size i32) (param $id i32) (param $id_size i32) (result i32)
    (call $keep (local.get $has_state) (local.get $state) (local.get $state_size))
    (i32.const 0))

  (func (export "theater:simple/message-server-client#handle-send")
    (param $has_state i32) (param $state i32) (param $state_size i32) (param $text i32) (param $size i32) (result i32)
    (local $item i32) (local $left i32)
    (call $keep (local.get $has_state) (local.get $state) (local.get $state_size))
    (call $list_outstanding (i32.const 64))
    (local.set $item (i32.load (i32.const 64)))
    (local.set $left (i32.load (i32.const 68)))
    (loop $more
      (if (local.get $left)
        (then
          ;; An error says that nobody waits for this answer any more, which is no concern of ours.
          (call $respond
            (i32.load (local.get $item)) (i32.load offset=4 (local.get $item))
            (local.get $text) (local.get $size) (i32.const 80))
          (local.set $item (i32.add (local.get $item) (i32.const 8)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $more))))
    (i32.const 0))

  (func (export "theater:simple/message-server-client#handle-request")
    (param $has_state i32) (param $state i32) (param $state_size i32)
    (param $request i32) (param $request_size i32) (param $body i32) (param $body_size i32) (result i32)
    (call $keep (local.get $has_state) (local.get $state) (local.get $state_size))
    (global.set $rest (local.get $body))
    (global.set $rest_size (local.get $body_size))
    (call $read_word)
    (if (call $is (i32.const 128) (i32.const 3)) (then (return (call $tell_who))))
    (if (call $is (i32.const 132) (i32.const 4)) (then (return (call $no_reply_yet))))
    (if (call $is (i32.const 136) (i32.const 3)) (then (return (call $ask))))
    (if (call $is (i32.const 140) (i32.const 4)) (then (return (call $tell))))
    (call $fail (i32.const 160) (i32.const 68)))

  (func $tell_who (result i32)
    ;; record me begins with the id
    (call $self (i32.const 64))
    (call $reply (i32.load (i32.const 64)) (i32.load (i32.const 68))))

  (func $ask (result i32)
    (call $read_word)
    (call $request
      (global.get $word) (global.get $word_size) (global.get $rest) (global.get $rest_size) (i32.const 80))
    (if (i32.load8_u (i32.const 80)) (then (return (call $fail (i32.load (i32.const 84)) (i32.load (i32.const 88))))))
    (call $reply (i32.load (i32.const 84)) (i32.load (i32.const 88))))

  (func $tell (result i32)
    (call $read_word)
    (call $send
      (global.get $word) (global.get $word_size) (global.get $rest) (global.get $rest_size) (i32.const 80))
    (if (i32.load8_u (i32.const 80)) (then (return (call $fail (i32.load (i32.const 84)) (i32.load (i32.const 88))))))
    (call $reply (i32.const 144) (i32.const 4)))

  ;; ---- words

  ;; Reads up to the next space, and over it.
  (func $read_word
    (global.set $word (global.get $rest))
    (global.set $word_size (i32.const 0))
    (loop $more
      (if (i32.eqz (global.get $rest_size)) (then (return)))
      (if (i32.ne (i32.load8_u (global.get $rest)) (i32.const 32))
        (then
          (global.set $word_size (i32.add (global.get $word_size) (i32.const 1)))
          (call $step)
          (br $more))))
    (call $step))

  (func $step
    (global.set $rest (i32.add (global.get $rest) (i32.const 1)))
    (global.set $rest_size (i32.sub (global.get $rest_size) (i32.const 1))))

  ;; Whether the word that was read last is this one.
  (func $is (param $text i32) (param $size i32) (result i32)
    (if (i32.ne (global.get $word_size) (local.get $size)) (then (return (i32.const 0))))
    (loop $more
      (if (i32.eqz (local.get $size)) (then (return (i32.const 1))))
      (local.set $size (i32.sub (local.get $size) (i32.const 1)))
      (br_if $more
        (i32.eq
          (i32.load8_u (i32.add (local.get $text) (local.get $size)))
          (i32.load8_u (i32.add (global.get $word) (local.get $size))))))
    (i32.const 0))

  ;; ---- answers

  (func $keep (param $has_state i32) (param $state i32) (param $state_size i32)
    (i32.store (i32.const 0) (i32.const 0))
    (i32.store (i32.const 4) (local.get $has_state))
    (i32.store (i32.const 8) (local.get $state))
    (i32.store (i32.const 12) (local.get $state_size)))

  (func $reply (param $text i32) (param $size i32) (result i32)
    (i32.store (i32.const 16) (i32.const 1))
    (i32.store (i32.const 20) (local.get $text))
    (i32.store (i32.const 24) (local.get $size))
    (i32.const 0))

  (func $no_reply_yet (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.const 0))

  (func $fail (param $text i32) (param $size i32) (result i32)
    (i32.store (i32.const 0) (i32.const 1))
    (i32.store (i32.const 4) (local.get $text))
    (i32.store (i32.const 8) (local.get $size))
    (i32.const 0)))
