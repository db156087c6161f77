;; A proxylet that sends every event's bytes back to where they came from, in one call a batch: the least that a relay
;; can do.
(module
  (import "eep:proxylet/net@0.1.0" "send-runs" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 64)
  ;; 0..16 results; 1024.. fan-outs, ones (4 bytes each); 131072.. what is handed over.
  (global $heap (mut i32) (i32.const 131072))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func (export "eep:proxylet/lifecycle@0.1.0#start") (param i64 i32 i32) (result i32)
    (global.set $heap (i32.const 131072))
    (i32.const 16))
  (func (export "eep:proxylet/lifecycle@0.1.0#restore") (param i64 i32 i32 i32 i32) (result i32) (i32.const 16))
  (func (export "eep:proxylet/lifecycle@0.1.0#save") (result i32) (i32.const 16))
  (func (export "eep:proxylet/lifecycle@0.1.0#stop"))
  (func (export "eep:proxylet/takeover@0.1.0#warm") (param i32))
  (func (export "eep:proxylet/timers@0.1.0#due") (param $now i64) (param i32 i64))
  (func (export "eep:proxylet/lifecycle@0.1.0#handle") (param $now i64) (param i32 i32)
    (param $conns i32) (param $count i32) (param $lens i32) (param i32) (param $bytes i32) (param $len i32)
    (local $i i32)
    (if (local.get $count)
      (then
        (loop $next
          (i32.store offset=1024 (i32.shl (local.get $i) (i32.const 2)) (i32.const 1))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $i) (local.get $count))))
        (call $send (local.get $bytes) (local.get $len) (local.get $conns) (local.get $count)
          (i32.const 1024) (local.get $count) (local.get $lens) (local.get $count) (i32.const 0))))
    (global.set $heap (i32.const 131072))))
