;; An actor of the first version: everything it imports and exports is called ntwk:theater, and its handlers are not told
;; the ids of what they answer. A request is asked of the actor "friend" and a message is sent to it; a channel and a
;; request of HTTP are answered with what came; every message makes its state what it says.
(module
  (import "ntwk:theater/runtime" "log" (func $log (param $text i32) (param $size i32)))
  (import "ntwk:theater/message-server-host" "send"
    (func $send (param $to i32) (param $to_size i32) (param $text i32) (param $size i32) (param $result i32)))
  (import "ntwk:theater/message-server-host" "request"
    (func $request (param $to i32) (param $to_size i32) (param $text i32) (param $size i32) (param $result i32)))

  (memory (export "memory") 4)
  ;; 0..63 answer; 64..127 results of the host; 128.. texts; from 1024 what the host hands in
  (data (i32.const 128) "friend")
  (data (i32.const 136) "of the first version")
  (global $top (mut i32) (i32.const 1024))

  (func (export "cabi_realloc")
    (param $old i32) (param $old_size i32) (param $alignment i32) (param $size i32) (result i32)
    (local $place i32)
    (local.set $place (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $place) (local.get $size)))
    (local.get $place))

  (func $after (param $answer i32) (global.set $top (i32.const 1024)))
  (export "cabi_post_ntwk:theater/actor#init" (func $after))
  (export "cabi_post_ntwk:theater/message-server-client#handle-send" (func $after))
  (export "cabi_post_ntwk:theater/message-server-client#handle-request" (func $after))
  (export "cabi_post_ntwk:theater/message-server-client#handle-channel-open" (func $after))
  (export "cabi_post_ntwk:theater/http-handlers#handle-request" (func $after))

  ;; ok, and a state
  (func $ok (param $some i32) (param $text i32) (param $size i32)
    (i32.store (i32.const 0) (i32.const 0))
    (i32.store (i32.const 4) (local.get $some))
    (i32.store (i32.const 8) (local.get $text))
    (i32.store (i32.const 12) (local.get $size)))

  (func (export "ntwk:theater/actor#init")
    (param $has i32) (param $state i32) (param $state_size i32) (param $id i32) (param $id_size i32) (result i32)
    (call $log (i32.const 136) (i32.const 20))
    (call $ok (i32.const 1) (local.get $id) (local.get $id_size))
    (i32.const 0))

  (func (export "ntwk:theater/message-server-client#handle-send")
    (param $has i32) (param $state i32) (param $state_size i32) (param $text i32) (param $size i32) (result i32)
    (call $send (i32.const 128) (i32.const 6) (local.get $text) (local.get $size) (i32.const 64))
    (call $ok (i32.const 1) (local.get $text) (local.get $size))
    (i32.const 0))

  (func (export "ntwk:theater/message-server-client#handle-request")
    (param $has i32) (param $state i32) (param $state_size i32) (param $text i32) (param $size i32) (result i32)
    (call $request (i32.const 128) (i32.const 6) (local.get $text) (local.get $size) (i32.const 64))
    (call $ok (local.get $has) (local.get $state) (local.get $state_size))
    (i32.store (i32.const 16) (i32.load (i32.const 68)))
    (i32.store (i32.const 20) (i32.load (i32.const 72)))
    (i32.const 0))

  (func (export "ntwk:theater/message-server-client#handle-channel-open")
    (param $has i32) (param $state i32) (param $state_size i32) (param $text i32) (param $size i32) (result i32)
    (call $ok (local.get $has) (local.get $state) (local.get $state_size))
    (i32.store (i32.const 16) (i32.const 1))
    (i32.store (i32.const 20) (i32.const 1))
    (i32.store (i32.const 24) (local.get $text))
    (i32.store (i32.const 28) (local.get $size))
    (i32.const 0))

  (func (export "ntwk:theater/http-handlers#handle-request")
    (param $has i32) (param $state i32) (param $state_size i32) (param $handler i64)
    (param $method i32) (param $method_size i32) (param $uri i32) (param $uri_size i32)
    (param $headers i32) (param $count i32) (param $has_body i32) (param $body i32) (param $body_size i32)
    (result i32)
    (call $ok (local.get $has) (local.get $state) (local.get $state_size))
    (i32.store (i32.const 16) (i32.const 200))
    (i32.store (i32.const 20) (local.get $headers))
    (i32.store (i32.const 24) (local.get $count))
    (i32.store (i32.const 28) (i32.const 1))
    (i32.store (i32.const 32) (local.get $uri))
    (i32.store (i32.const 36) (local.get $uri_size))
    (i32.const 0)))
