;; A guest with a resource of the host's, an interface that uses it again, and byte lists beside them: in an interface of
;; their own and at the root of the world.
(component $world
  (import "test:res/things" (instance $things
    (export "thing" (type $thing (sub resource)))
    (export "make" (func (param "data" (list u8)) (result (own $thing))))
    (export "data" (func (param "self" (borrow $thing)) (result (list u8))))))
  (alias export $things "thing" (type $thing))
  (import "test:res/again" (instance $again
    (alias outer $world $thing (type $outer-thing))
    (export "thing" (type $same (eq $outer-thing)))
    (export "size" (func (param "it" (borrow $same)) (result u32)))))
  (import "test:plain/echo" (instance $echo
    (export "reverse" (func (param "data" (list u8)) (result (list u8))))))
  (import "twice" (func $twice (param "data" (list u8)) (result (list u8))))

  MEMORY
  (core func $make (canon lower (func $things "make") (memory $memory) (realloc $realloc)))
  (core func $data (canon lower (func $things "data") (memory $memory) (realloc $realloc)))
  (core func $size (canon lower (func $again "size") (memory $memory) (realloc $realloc)))
  (core func $drop (canon resource.drop $thing))
  (core func $reverse (canon lower (func $echo "reverse") (memory $memory) (realloc $realloc)))
  (core func $double (canon lower (func $twice) (memory $memory) (realloc $realloc)))
  (core module $code-module
    (import "low" "make" (func $make (param i32 i32) (result i32)))
    (import "low" "data" (func $data (param i32 i32)))
    (import "low" "size" (func $size (param i32) (result i32)))
    (import "low" "drop" (func $drop (param i32)))
    (import "low" "reverse" (func $reverse (param i32 i32 i32)))
    (import "low" "double" (func $double (param i32 i32 i32)))
    (import "mem" "memory" (memory 1))
    (func (export "through-thing") (param i32 i32) (result i32) (local $thing i32)
      (local.set $thing (call $make (local.get 0) (local.get 1)))
      (call $data (local.get $thing) (i32.const 16))
      (i32.store (i32.const 24) (call $size (local.get $thing)))
      (call $drop (local.get $thing))
      (i32.const 16))
    (func (export "reverse") (param i32 i32) (result i32)
      (call $reverse (local.get 0) (local.get 1) (i32.const 16)) (i32.const 16))
    (func (export "double") (param i32 i32) (result i32)
      (call $double (local.get 0) (local.get 1) (i32.const 16)) (i32.const 16)))
  (core instance $code (instantiate $code-module (with "mem" (instance $mem)) (with "low" (instance
    (export "make" (func $make)) (export "data" (func $data)) (export "size" (func $size)) (export "drop" (func $drop))
    (export "reverse" (func $reverse)) (export "double" (func $double))))))

  (func $through (param "data" (list u8)) (result (tuple (list u8) u32))
    (canon lift (core func $code "through-thing") (memory $memory) (realloc $realloc)))
  (func $reversed (param "data" (list u8)) (result (list u8))
    (canon lift (core func $code "reverse") (memory $memory) (realloc $realloc)))
  (func $doubled (param "data" (list u8)) (result (list u8))
    (canon lift (core func $code "double") (memory $memory) (realloc $realloc)))
  (instance $user (export "through-thing" (func $through)))
  (instance $echoed (export "reverse" (func $reversed)))
  (export "test:res/user" (instance $user))
  (export "test:plain/echo" (instance $echoed))
  (export "twice" (func $doubled)))
