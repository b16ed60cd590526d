;; One interface has types only, among them bytes; two others use them: as a world of `http-types`, `http-client` and
;; `http-handlers` does.
(component $world
  (import "test:shared/types" (instance $types
    (type $bytes-type (list u8))
    (export "bytes" (type $bytes (eq $bytes-type)))
    (type $kind-type (enum "get" "put"))
    (export "kind" (type $kind (eq $kind-type)))
    (type $request-type (record (field "kind" $kind) (field "body" $bytes)))
    (export "request" (type $request (eq $request-type)))))
  (alias export $types "request" (type $request))
  (import "test:shared/client" (instance $client
    (alias outer $world $request (type $outer-request))
    (export "request" (type $same (eq $outer-request)))
    (export "send" (func (param "it" $same) (result $same)))
    (export "count" (func (param "it" (list $same)) (result u32)))
    (export "idle" (func (result u32)))))

  MEMORY
  (core func $send (canon lower (func $client "send") (memory $memory) (realloc $realloc)))
  (core module $code-module
    (import "low" "send" (func $send (param i32 i32 i32 i32)))
    (func (export "serve") (param i32 i32 i32) (result i32)
      (call $send (local.get 0) (local.get 1) (local.get 2) (i32.const 16)) (i32.const 16)))
  (core instance $code (instantiate $code-module (with "low" (instance (export "send" (func $send))))))
  (func $serve (param "it" $request) (result $request)
    (canon lift (core func $code "serve") (memory $memory) (realloc $realloc)))
  (instance $server (export "request" (type $request)) (export "serve" (func $serve)))
  (export "test:shared/server" (instance $server)))
