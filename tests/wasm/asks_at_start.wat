;; A guest that asks the host while it is instantiated, and traps if the answer is 0.
(component
  (import "ask" (func $ask (result u32)))
  (core func $low (canon lower (func $ask)))
  (core module $code
    (import "low" "ask" (func $ask (result i32)))
    (func $start (if (i32.eqz (call $ask)) (then (unreachable))))
    (start $start))
  (core instance (instantiate $code (with "low" (instance (export "ask" (func $low)))))))
