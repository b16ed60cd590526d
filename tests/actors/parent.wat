;; An actor with children, monitors and links, for tests: it does what a message says and notes in its state what it hears.
;; Its manifest needs the handlers "message-server", "supervisor" and "monitors".
;;
;; The first byte of a message chooses; a call that the host refuses is the answer `err` with the host's sentence:
;;
;;   'S' spawn: the rest is the manifest (a path, or its text); answer the child's id
;;   'I' spawn with init bytes: a u32 (little-endian), so many bytes, the manifest; answer the child's id
;;   'R' resume: likewise, with the state; answer the child's id
;;   'L' answer the ids of all children, a line each
;;   'T' stop-child (terminate)      'B' restart-child (begin again): the rest is an id; answer the message
;;   'G' get-child-state: answer 0, or 1 and the state          'E' get-child-events: answer the event types, a line each
;;   'm' monitor: the rest is an id or name; answer the monitor (u64, little-endian)
;;   'd' demonitor: the rest is a monitor (u64); answer 0 or 1
;;   'l' link    'k' unlink: the rest is an id or name          't' trap-exits: "1" or "0"
;;   'n' note the rest in the state  'g' answer the state       'w' forget the state (it becomes empty)
;;   'A' from now on, in this life: restart every child that is said to have failed
;;   'X' from now on, in this life: answer err to everything that is heard of children and others (and note nothing)
;;   's' send: a name of 8 bytes padded with spaces, then the message     'a' ask: likewise; answer its answer
;;   'o' send, 'i' ask: likewise, to an id of 36 bytes instead of a name
;;   'f' flood: a name of 8 bytes, a u32, a message: sends it so often, with a u32 that counts from 0 behind it
;;   'e' answer the message itself   'x' answer err with the rest as text
;;   'u' unreachable                 'b' loop for ever          'q' runtime shutdown with the rest
;;
;; What is noted, a line each:
;;
;;   note TEXT                                            a message 'n'
;;   child-error ID ERROR-TYPE JSON                       handle-child-error
;;   child-exit ID DATA                                   handle-child-exit; DATA is "-" if there is none
;;   child-stopped ID                                     handle-child-external-stop
;;   down MONITOR ID KIND SIGNAL COMMANDED DETAIL         handle-down; "-" for what is absent, COMMANDED is 0 or 1, of the
;;   exit ID KIND SIGNAL COMMANDED DETAIL                 detail its first line; and handle-exit
;;   spawned ID                                           a child that init has spawned
;;
;; init: a state "S" with manifests, a line each, spawns them in this order, and its state is then what it noted; when one
;; is refused, init answers err with that sentence. With "fail" it answers err, with "trap" it traps. Any other state is
;; kept.
(component $parent
  (import "theater:simple/runtime" (instance $runtime
    (export "shutdown" (func (param "data" (option (list u8))) (result (result (error string)))))))
  (import "theater:simple/message-server-host" (instance $host
    (export "send" (func (param "actor-id" string) (param "msg" (list u8)) (result (result (error string)))))
    (export "request" (func (param "actor-id" string) (param "msg" (list u8)) (result (result (list u8) (error string)))))))
  (import "theater:simple/types" (instance $types
    (type $chain-event-type (record
      (field "hash" (list u8)) (field "parent-hash" (option (list u8))) (field "event-type" string)
      (field "data" (list u8)) (field "timestamp" u64) (field "description" (option string))))
    (export "chain-event" (type $chain-event (eq $chain-event-type)))
    (type $error-type-type (enum "operation-timeout" "channel-closed" "shutting-down" "function-not-found" "type-mismatch"
      "internal" "serialization-error" "update-component-error" "paused"))
    (export "wit-error-type" (type $error-type (eq $error-type-type)))
    (type $actor-error-type (record (field "error-type" $error-type) (field "data" (option (list u8)))))
    (export "wit-actor-error" (type $actor-error (eq $actor-error-type)))))
  (alias export $types "chain-event" (type $chain-event))
  (alias export $types "wit-actor-error" (type $actor-error))
  (import "theater:simple/supervisor" (instance $supervisor
    (alias outer $parent $chain-event (type $outer-event))
    (export "chain-event" (type $event (eq $outer-event)))
    (export "spawn" (func (param "manifest" string) (param "init-bytes" (option (list u8))) (result (result string (error string)))))
    (export "resume" (func (param "manifest" string) (param "init-state" (option (list u8))) (result (result string (error string)))))
    (export "list-children" (func (result (list string))))
    (export "stop-child" (func (param "child-id" string) (result (result (error string)))))
    (export "restart-child" (func (param "child-id" string) (result (result (error string)))))
    (export "get-child-state" (func (param "child-id" string) (result (result (option (list u8)) (error string)))))
    (export "get-child-events" (func (param "child-id" string) (result (result (list $event) (error string)))))))
  (import "theater:otp/exits@0.1.0" (instance $exits
    (type $kind-type (enum "normal" "shutdown" "trap" "error" "signal" "status" "out-of-memory" "deadline" "start-failed"
      "gave-up" "killed" "no-process"))
    (export "exit-kind" (type $kind (eq $kind-type)))
    (type $reason-type (record (field "kind" $kind) (field "detail" (option string)) (field "signal" (option u32))
      (field "status" (option s32)) (field "commanded" bool)))
    (export "exit-reason" (type $reason (eq $reason-type)))))
  (alias export $exits "exit-reason" (type $reason))
  (import "theater:otp/monitors@0.1.0" (instance $monitors
    (export "monitor" (func (param "actor" string) (result (result u64 (error string)))))
    (export "demonitor" (func (param "monitor" u64) (result bool)))))
  (import "theater:otp/links@0.1.0" (instance $links
    (export "link" (func (param "actor" string) (result (result (error string)))))
    (export "unlink" (func (param "actor" string) (result (result (error string)))))
    (export "trap-exits" (func (param "trap" bool)))))

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

  (core func $shutdown (canon lower (func $runtime "shutdown") (memory $mem) (realloc $realloc)))
  (core func $send (canon lower (func $host "send") (memory $mem) (realloc $realloc)))
  (core func $request (canon lower (func $host "request") (memory $mem) (realloc $realloc)))
  (core func $spawn (canon lower (func $supervisor "spawn") (memory $mem) (realloc $realloc)))
  (core func $resume (canon lower (func $supervisor "resume") (memory $mem) (realloc $realloc)))
  (core func $list (canon lower (func $supervisor "list-children") (memory $mem) (realloc $realloc)))
  (core func $stop (canon lower (func $supervisor "stop-child") (memory $mem) (realloc $realloc)))
  (core func $restart (canon lower (func $supervisor "restart-child") (memory $mem) (realloc $realloc)))
  (core func $child-state (canon lower (func $supervisor "get-child-state") (memory $mem) (realloc $realloc)))
  (core func $child-events (canon lower (func $supervisor "get-child-events") (memory $mem) (realloc $realloc)))
  (core func $monitor (canon lower (func $monitors "monitor") (memory $mem) (realloc $realloc)))
  (core func $demonitor (canon lower (func $monitors "demonitor")))
  (core func $link (canon lower (func $links "link") (memory $mem) (realloc $realloc)))
  (core func $unlink (canon lower (func $links "unlink") (memory $mem) (realloc $realloc)))
  (core func $trap-exits (canon lower (func $links "trap-exits")))

  (core module $main
    (import "libc" "memory" (memory 1))
    (import "libc" "reset" (func $reset))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "shutdown" (func $shutdown (param i32 i32 i32 i32)))
    (import "host" "send" (func $send (param i32 i32 i32 i32 i32)))
    (import "host" "request" (func $request (param i32 i32 i32 i32 i32)))
    (import "host" "spawn" (func $spawn (param i32 i32 i32 i32 i32 i32)))
    (import "host" "resume" (func $resume (param i32 i32 i32 i32 i32 i32)))
    (import "host" "list" (func $list (param i32)))
    (import "host" "stop" (func $stop (param i32 i32 i32)))
    (import "host" "restart" (func $restart (param i32 i32 i32)))
    (import "host" "child-state" (func $child-state (param i32 i32 i32)))
    (import "host" "child-events" (func $child-events (param i32 i32 i32)))
    (import "host" "monitor" (func $monitor (param i32 i32 i32)))
    (import "host" "demonitor" (func $demonitor (param i64) (result i32)))
    (import "host" "link" (func $link (param i32 i32 i32)))
    (import "host" "unlink" (func $unlink (param i32 i32 i32)))
    (import "host" "trap-exits" (func $trap-exits (param i32)))
    ;; 64..96 results of exports, 128..160 results of imports
    (data (i32.const 16) "as I was told")
    (data (i32.const 256) "note child-error child-exit child-stopped down exit spawned ")
    ;; names of enums, 24 bytes each
    (data (i32.const 512) "operation-timeout       channel-closed          shutting-down           function-not-found      type-mismatch           internal                serialization-error     update-component-error  paused                  ")
    (data (i32.const 1024) "normal                  shutdown                trap                    error                   signal                  status                  out-of-memory           deadline                start-failed            gave-up                 killed                  no-process              ")
    (global $restarts (mut i32) (i32.const 0))
    (global $refuses (mut i32) (i32.const 0))
    (global $from (mut i32) (i32.const 0)) ;; what is being written
    (global $to (mut i32) (i32.const 0))

    (func $err (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 1))
      (i32.store (i32.const 68) (local.get $p)) (i32.store (i32.const 72) (local.get $n)) (i32.const 64))
    (func $ok (param $some i32) (param $sp i32) (param $sl i32) (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 0))
      (i32.store8 (i32.const 68) (local.get $some)) (i32.store (i32.const 72) (local.get $sp)) (i32.store (i32.const 76) (local.get $sl))
      (i32.store8 (i32.const 80) (i32.const 1)) (i32.store (i32.const 84) (local.get $p)) (i32.store (i32.const 88) (local.get $n))
      (i32.const 64))
    (func $failed (result i32) (i32.load8_u (i32.const 128)))
    (func $refusal (result i32) (call $err (i32.load (i32.const 132)) (i32.load (i32.const 136))))

    ;; writing: begin with room for so many bytes, then put
    (func $begin (param $room i32)
      (global.set $from (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (local.get $room)))
      (global.set $to (global.get $from)))
    (func $written (result i32) (i32.sub (global.get $to) (global.get $from)))
    (func $put (param $p i32) (param $n i32)
      (memory.copy (global.get $to) (local.get $p) (local.get $n))
      (global.set $to (i32.add (global.get $to) (local.get $n))))
    (func $put-byte (param $c i32)
      (i32.store8 (global.get $to) (local.get $c))
      (global.set $to (i32.add (global.get $to) (i32.const 1))))
    (func $space (call $put-byte (i32.const 32)))
    (func $end-line (call $put-byte (i32.const 10)))
    (func $put-number (param $n i64)
      (if (i64.ge_u (local.get $n) (i64.const 10)) (then (call $put-number (i64.div_u (local.get $n) (i64.const 10)))))
      (call $put-byte (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10))))))
    (func $word-length (param $p i32) (param $most i32) (result i32)
      (local $n i32)
      (block $done (loop $l
        (br_if $done (i32.eq (local.get $n) (local.get $most)))
        (br_if $done (i32.eq (i32.load8_u (i32.add (local.get $p) (local.get $n))) (i32.const 32)))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br $l)))
      (local.get $n))
    (func $put-name (param $table i32) (param $number i32)
      (local $p i32)
      (local.set $p (i32.add (local.get $table) (i32.mul (local.get $number) (i32.const 24))))
      (call $put (local.get $p) (call $word-length (local.get $p) (i32.const 24))))
    (func $line-length (param $p i32) (param $n i32) (result i32)
      (local $k i32)
      (block $done (loop $l
        (br_if $done (i32.eq (local.get $k) (local.get $n)))
        (br_if $done (i32.eq (i32.load8_u (i32.add (local.get $p) (local.get $k))) (i32.const 10)))
        (local.set $k (i32.add (local.get $k) (i32.const 1)))
        (br $l)))
      (local.get $k))

    ;; a note: the state, then a line
    (func $note (param $some i32) (param $sp i32) (param $sl i32) (param $more i32)
      (call $begin (i32.add (i32.add (local.get $sl) (local.get $more)) (i32.const 512)))
      (if (local.get $some) (then (call $put (local.get $sp) (local.get $sl)))))
    (func $noted (result i32)
      (call $end-line)
      (call $ok (i32.const 1) (global.get $from) (call $written) (i32.const 0) (i32.const 0)))
    (func $put-reason (param $kind i32) (param $detailed i32) (param $dp i32) (param $dl i32) (param $signalled i32) (param $signal i32)
        (param $commanded i32)
      (call $put-name (i32.const 1024) (local.get $kind)) (call $space)
      (if (local.get $signalled) (then (call $put-number (i64.extend_i32_u (local.get $signal)))) (else (call $put-byte (i32.const 45))))
      (call $space)
      (call $put-byte (i32.add (i32.const 48) (local.get $commanded))) (call $space)
      (if (local.get $detailed)
        (then (call $put (local.get $dp) (call $line-length (local.get $dp) (local.get $dl))))
        (else (call $put-byte (i32.const 45)))))

    (func (export "init") (param $some i32) (param $sp i32) (param $sl i32) (param $ip i32) (param $il i32) (result i32)
      (local $p i32) (local $end i32) (local $n i32)
      (if (i32.and (local.get $some) (i32.eq (local.get $sl) (i32.const 4))) (then
        (if (i32.eq (i32.load align=1 (local.get $sp)) (i32.const 0x6c696166)) (then (return (call $err (local.get $sp) (local.get $sl)))))
        (if (i32.eq (i32.load align=1 (local.get $sp)) (i32.const 0x70617274)) (then unreachable))))
      (if (i32.and (local.get $some) (i32.gt_u (local.get $sl) (i32.const 0))) (then
        (if (i32.eq (i32.load8_u (local.get $sp)) (i32.const 0x53)) (then
          (call $begin (i32.const 65536))
          (local.set $end (i32.add (local.get $sp) (local.get $sl)))
          (local.set $p (i32.add (local.get $sp) (i32.const 1)))
          (block $done (loop $l
            (br_if $done (i32.ge_u (local.get $p) (local.get $end)))
            (local.set $n (call $line-length (local.get $p) (i32.sub (local.get $end) (local.get $p))))
            (if (local.get $n) (then
              (call $spawn (local.get $p) (local.get $n) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 128))
              (if (call $failed) (then (return (call $refusal))))
              (call $put (i32.const 308) (i32.const 8)) ;; "spawned "
              (call $put (i32.load (i32.const 132)) (i32.load (i32.const 136)))
              (call $end-line)))
            (local.set $p (i32.add (i32.add (local.get $p) (local.get $n)) (i32.const 1)))
            (br $l)))
          (return (call $ok (i32.const 1) (global.get $from) (call $written) (i32.const 0) (i32.const 0)))))))
      (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 0) (i32.const 0)))

    (func $act (param $some i32) (param $sp i32) (param $sl i32) (param $p i32) (param $n i32) (result i32)
      (local $op i32) (local $q i32) (local $k i32) (local $i i32) (local $r i32) (local $rn i32)
      (if (local.get $n) (then (local.set $op (i32.load8_u (local.get $p)))))
      (local.set $r (i32.add (local.get $p) (i32.const 1)))
      (if (local.get $n) (then (local.set $rn (i32.sub (local.get $n) (i32.const 1)))))

      (if (i32.eq (local.get $op) (i32.const 0x53)) (then ;; S
        (call $spawn (local.get $r) (local.get $rn) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 128))
        (if (call $failed) (then (return (call $refusal))))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (if (i32.or (i32.eq (local.get $op) (i32.const 0x49)) (i32.eq (local.get $op) (i32.const 0x52))) (then ;; I R
        (local.set $k (i32.load align=1 (local.get $r)))
        (local.set $q (i32.add (i32.add (local.get $r) (i32.const 4)) (local.get $k)))
        (if (i32.eq (local.get $op) (i32.const 0x49))
          (then (call $spawn (local.get $q) (i32.sub (i32.sub (local.get $rn) (i32.const 4)) (local.get $k))
            (i32.const 1) (i32.add (local.get $r) (i32.const 4)) (local.get $k) (i32.const 128)))
          (else (call $resume (local.get $q) (i32.sub (i32.sub (local.get $rn) (i32.const 4)) (local.get $k))
            (i32.const 1) (i32.add (local.get $r) (i32.const 4)) (local.get $k) (i32.const 128))))
        (if (call $failed) (then (return (call $refusal))))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (if (i32.eq (local.get $op) (i32.const 0x4c)) (then ;; L
        (call $list (i32.const 128))
        (local.set $q (i32.load (i32.const 128)))
        (local.set $k (i32.load (i32.const 132)))
        (call $begin (i32.mul (i32.add (local.get $k) (i32.const 1)) (i32.const 64)))
        (block $done (loop $l
          (br_if $done (i32.eq (local.get $i) (local.get $k)))
          (call $put (i32.load (i32.add (local.get $q) (i32.mul (local.get $i) (i32.const 8))))
            (i32.load offset=4 (i32.add (local.get $q) (i32.mul (local.get $i) (i32.const 8)))))
          (call $end-line)
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $l)))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (global.get $from) (call $written)))))
      (if (i32.eq (local.get $op) (i32.const 0x54)) (then ;; T
        (call $stop (local.get $r) (local.get $rn) (i32.const 128))
        (if (call $failed) (then (return (call $refusal))))))
      (if (i32.eq (local.get $op) (i32.const 0x42)) (then ;; B
        (call $restart (local.get $r) (local.get $rn) (i32.const 128))
        (if (call $failed) (then (return (call $refusal))))))
      (if (i32.eq (local.get $op) (i32.const 0x47)) (then ;; G
        (call $child-state (local.get $r) (local.get $rn) (i32.const 128))
        (if (call $failed) (then (return (call $refusal))))
        (call $begin (i32.add (i32.load (i32.const 140)) (i32.const 1)))
        (call $put-byte (i32.load8_u (i32.const 132)))
        (if (i32.load8_u (i32.const 132)) (then (call $put (i32.load (i32.const 136)) (i32.load (i32.const 140)))))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (global.get $from) (call $written)))))
      (if (i32.eq (local.get $op) (i32.const 0x45)) (then ;; E
        (call $child-events (local.get $r) (local.get $rn) (i32.const 128))
        (if (call $failed) (then (return (call $refusal))))
        (local.set $q (i32.load (i32.const 132)))
        (local.set $k (i32.load (i32.const 136)))
        (call $begin (i32.mul (i32.add (local.get $k) (i32.const 1)) (i32.const 64)))
        (block $done (loop $l
          (br_if $done (i32.eq (local.get $i) (local.get $k)))
          (call $put (i32.load offset=20 (i32.add (local.get $q) (i32.mul (local.get $i) (i32.const 64))))
            (i32.load offset=24 (i32.add (local.get $q) (i32.mul (local.get $i) (i32.const 64)))))
          (call $end-line)
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $l)))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (global.get $from) (call $written)))))
      (if (i32.eq (local.get $op) (i32.const 0x6d)) (then ;; m
        (call $monitor (local.get $r) (local.get $rn) (i32.const 128))
        (if (call $failed) (then (return (call $err (i32.load (i32.const 136)) (i32.load (i32.const 140))))))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 136) (i32.const 8)))))
      (if (i32.eq (local.get $op) (i32.const 0x64)) (then ;; d
        (i32.store8 (i32.const 128) (call $demonitor (i64.load align=1 (local.get $r))))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.const 128) (i32.const 1)))))
      (if (i32.eq (local.get $op) (i32.const 0x6c)) (then ;; l
        (call $link (local.get $r) (local.get $rn) (i32.const 128))
        (if (call $failed) (then (return (call $refusal))))))
      (if (i32.eq (local.get $op) (i32.const 0x6b)) (then ;; k
        (call $unlink (local.get $r) (local.get $rn) (i32.const 128))
        (if (call $failed) (then (return (call $refusal))))))
      (if (i32.eq (local.get $op) (i32.const 0x74)) (then ;; t
        (call $trap-exits (i32.eq (i32.load8_u (local.get $r)) (i32.const 0x31)))))
      (if (i32.eq (local.get $op) (i32.const 0x6e)) (then ;; n
        (call $note (local.get $some) (local.get $sp) (local.get $sl) (local.get $rn))
        (call $put (i32.const 256) (i32.const 5)) ;; "note "
        (call $put (local.get $r) (local.get $rn))
        (call $end-line)
        (return (call $ok (i32.const 1) (global.get $from) (call $written) (local.get $p) (local.get $n)))))
      (if (i32.eq (local.get $op) (i32.const 0x67)) (then ;; g
        (if (i32.eqz (local.get $some)) (then (local.set $sl (i32.const 0))))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (local.get $sp) (local.get $sl)))))
      (if (i32.eq (local.get $op) (i32.const 0x77)) (then ;; w
        (return (call $ok (i32.const 1) (local.get $p) (i32.const 0) (local.get $p) (local.get $n)))))
      (if (i32.eq (local.get $op) (i32.const 0x41)) (then (global.set $restarts (i32.const 1)))) ;; A
      (if (i32.eq (local.get $op) (i32.const 0x58)) (then (global.set $refuses (i32.const 1)))) ;; X
      (if (i32.eq (local.get $op) (i32.const 0x73)) (then ;; s
        (call $send (local.get $r) (call $word-length (local.get $r) (i32.const 8))
          (i32.add (local.get $r) (i32.const 8)) (i32.sub (local.get $rn) (i32.const 8)) (i32.const 128))
        (if (call $failed) (then (return (call $refusal))))))
      (if (i32.eq (local.get $op) (i32.const 0x61)) (then ;; a
        (call $request (local.get $r) (call $word-length (local.get $r) (i32.const 8))
          (i32.add (local.get $r) (i32.const 8)) (i32.sub (local.get $rn) (i32.const 8)) (i32.const 128))
        (if (call $failed) (then (return (call $refusal))))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (if (i32.eq (local.get $op) (i32.const 0x6f)) (then ;; o
        (call $send (local.get $r) (i32.const 36)
          (i32.add (local.get $r) (i32.const 36)) (i32.sub (local.get $rn) (i32.const 36)) (i32.const 128))
        (if (call $failed) (then (return (call $refusal))))))
      (if (i32.eq (local.get $op) (i32.const 0x69)) (then ;; i
        (call $request (local.get $r) (i32.const 36)
          (i32.add (local.get $r) (i32.const 36)) (i32.sub (local.get $rn) (i32.const 36)) (i32.const 128))
        (if (call $failed) (then (return (call $refusal))))
        (return (call $ok (local.get $some) (local.get $sp) (local.get $sl) (i32.load (i32.const 132)) (i32.load (i32.const 136))))))
      (if (i32.eq (local.get $op) (i32.const 0x66)) (then ;; f
        (local.set $k (i32.load align=1 (i32.add (local.get $r) (i32.const 8))))
        (call $begin (i32.add (local.get $n) (i32.const 8)))
        (call $put (i32.add (local.get $r) (i32.const 12)) (i32.sub (local.get $rn) (i32.const 12)))
        (block $done (loop $l
          (br_if $done (i32.eq (local.get $i) (local.get $k)))
          (i32.store align=1 (global.get $to) (local.get $i))
          (call $send (local.get $r) (call $word-length (local.get $r) (i32.const 8))
            (global.get $from) (i32.add (call $written) (i32.const 4)) (i32.const 128))
          (if (call $failed) (then (return (call $refusal))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $l)))))
      (if (i32.eq (local.get $op) (i32.const 0x78)) (then (return (call $err (local.get $r) (local.get $rn))))) ;; x
      (if (i32.eq (local.get $op) (i32.const 0x75)) (then unreachable)) ;; u
      (if (i32.eq (local.get $op) (i32.const 0x62)) (then (loop $l (br $l)))) ;; b
      (if (i32.eq (local.get $op) (i32.const 0x71)) (then ;; q
        (call $shutdown (i32.const 1) (local.get $r) (local.get $rn) (i32.const 128))))
      (call $ok (local.get $some) (local.get $sp) (local.get $sl) (local.get $p) (local.get $n)))

    (func (export "handle-send") (param i32 i32 i32 i32 i32) (result i32)
      (call $act (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))
    (func (export "handle-request") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
      (call $act (local.get 0) (local.get 1) (local.get 2) (local.get 5) (local.get 6)))

    (func $refused (result i32) (call $err (i32.const 16) (i32.const 13)))
    (func (export "handle-child-error") (param $some i32) (param $sp i32) (param $sl i32) (param $ip i32) (param $il i32)
        (param $type i32) (param $with i32) (param $dp i32) (param $dl i32) (result i32)
      (if (global.get $refuses) (then (return (call $refused))))
      (if (global.get $restarts) (then (call $restart (local.get $ip) (local.get $il) (i32.const 128))))
      (call $note (local.get $some) (local.get $sp) (local.get $sl) (local.get $dl))
      (call $put (i32.const 261) (i32.const 12)) ;; "child-error "
      (call $put (local.get $ip) (local.get $il)) (call $space)
      (call $put-name (i32.const 512) (local.get $type)) (call $space)
      (if (local.get $with) (then (call $put (local.get $dp) (local.get $dl))) (else (call $put-byte (i32.const 45))))
      (call $noted))
    (func (export "handle-child-exit") (param $some i32) (param $sp i32) (param $sl i32) (param $ip i32) (param $il i32)
        (param $with i32) (param $dp i32) (param $dl i32) (result i32)
      (if (global.get $refuses) (then (return (call $refused))))
      (call $note (local.get $some) (local.get $sp) (local.get $sl) (local.get $dl))
      (call $put (i32.const 273) (i32.const 11)) ;; "child-exit "
      (call $put (local.get $ip) (local.get $il)) (call $space)
      (if (local.get $with) (then (call $put (local.get $dp) (local.get $dl))) (else (call $put-byte (i32.const 45))))
      (call $noted))
    (func (export "handle-child-external-stop") (param $some i32) (param $sp i32) (param $sl i32) (param $ip i32) (param $il i32) (result i32)
      (if (global.get $refuses) (then (return (call $refused))))
      (call $note (local.get $some) (local.get $sp) (local.get $sl) (i32.const 0))
      (call $put (i32.const 284) (i32.const 14)) ;; "child-stopped "
      (call $put (local.get $ip) (local.get $il))
      (call $noted))
    (func (export "handle-down") (param $some i32) (param $sp i32) (param $sl i32) (param $ref i64) (param $ip i32) (param $il i32)
        (param $kind i32) (param $detailed i32) (param $dp i32) (param $dl i32) (param $signalled i32) (param $signal i32)
        (param $exited i32) (param $status i32) (param $commanded i32) (result i32)
      (if (global.get $refuses) (then (return (call $refused))))
      (call $note (local.get $some) (local.get $sp) (local.get $sl) (local.get $dl))
      (call $put (i32.const 298) (i32.const 5)) ;; "down "
      (call $put-number (local.get $ref)) (call $space)
      (call $put (local.get $ip) (local.get $il)) (call $space)
      (call $put-reason (local.get $kind) (local.get $detailed) (local.get $dp) (local.get $dl) (local.get $signalled) (local.get $signal)
        (local.get $commanded))
      (call $noted))
    (func (export "handle-exit") (param $some i32) (param $sp i32) (param $sl i32) (param $ip i32) (param $il i32)
        (param $kind i32) (param $detailed i32) (param $dp i32) (param $dl i32) (param $signalled i32) (param $signal i32)
        (param $exited i32) (param $status i32) (param $commanded i32) (result i32)
      (if (global.get $refuses) (then (return (call $refused))))
      (call $note (local.get $some) (local.get $sp) (local.get $sl) (local.get $dl))
      (call $put (i32.const 303) (i32.const 5)) ;; "exit "
      (call $put (local.get $ip) (local.get $il)) (call $space)
      (call $put-reason (local.get $kind) (local.get $detailed) (local.get $dp) (local.get $dl) (local.get $signalled) (local.get $signal)
        (local.get $commanded))
      (call $noted))
    (func (export "post") (param i32) (call $reset)))

  (core instance $imports
    (export "shutdown" (func $shutdown)) (export "send" (func $send)) (export "request" (func $request))
    (export "spawn" (func $spawn)) (export "resume" (func $resume)) (export "list" (func $list)) (export "stop" (func $stop))
    (export "restart" (func $restart)) (export "child-state" (func $child-state)) (export "child-events" (func $child-events))
    (export "monitor" (func $monitor)) (export "demonitor" (func $demonitor)) (export "link" (func $link))
    (export "unlink" (func $unlink)) (export "trap-exits" (func $trap-exits)))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance $imports))))
  (alias core export $main "post" (core func $post))

  (type $state (option (list u8)))
  (func $init (param "state" $state) (param "params" (tuple string)) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "init") (memory $mem) (realloc $realloc) (post-return $post)))
  (func $handle-send (param "state" $state) (param "params" (tuple (list u8))) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "handle-send") (memory $mem) (realloc $realloc) (post-return $post)))
  (func $handle-request (param "state" $state) (param "params" (tuple string (list u8)))
    (result (result (tuple $state (tuple (option (list u8)))) (error string)))
    (canon lift (core func $main "handle-request") (memory $mem) (realloc $realloc) (post-return $post)))
  (func $handle-child-error (param "state" $state) (param "params" (tuple string $actor-error)) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "handle-child-error") (memory $mem) (realloc $realloc) (post-return $post)))
  (func $handle-child-exit (param "state" $state) (param "params" (tuple string (option (list u8)))) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "handle-child-exit") (memory $mem) (realloc $realloc) (post-return $post)))
  (func $handle-child-external-stop (param "state" $state) (param "params" (tuple string)) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "handle-child-external-stop") (memory $mem) (realloc $realloc) (post-return $post)))
  (func $handle-down (param "state" $state) (param "params" (tuple u64 string $reason)) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "handle-down") (memory $mem) (realloc $realloc) (post-return $post)))
  (func $handle-exit (param "state" $state) (param "params" (tuple string $reason)) (result (result (tuple $state) (error string)))
    (canon lift (core func $main "handle-exit") (memory $mem) (realloc $realloc) (post-return $post)))
  (instance $actor (export "init" (func $init)))
  (instance $client (export "handle-send" (func $handle-send)) (export "handle-request" (func $handle-request)))
  (instance $of-children (export "wit-actor-error" (type $actor-error)) (export "handle-child-error" (func $handle-child-error))
    (export "handle-child-exit" (func $handle-child-exit)) (export "handle-child-external-stop" (func $handle-child-external-stop)))
  (instance $of-ends (export "exit-reason" (type $reason)) (export "handle-down" (func $handle-down)) (export "handle-exit" (func $handle-exit)))
  (export "theater:simple/actor" (instance $actor))
  (export "theater:simple/message-server-client" (instance $client))
  (export "theater:simple/supervisor-handlers" (instance $of-children))
  (export "theater:otp/monitor-handlers@0.1.0" (instance $of-ends)))
