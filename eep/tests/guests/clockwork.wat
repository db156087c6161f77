;; A proxylet that does nothing but say in its log which timer is due, a digit a timer, and by which call it was told: `h` for
;; `lifecycle.handle`, `d` for `timers.due`. A batch without events is a dash.
;;
;; Timer 1 comes alone, 2 and 3 come together, 4 comes alone after them.
(module
  (import "eep:proxylet/clock@0.1.0" "set-timer" (func $set_timer (param i64 i64)))
  (import "eep:proxylet/log@0.1.0" "write" (func $log (param i32 i32 i32)))

  (memory (export "memory") 2)
  ;; 0..16 results; 16..18 a line; 65536.. what is handed over, freed at the end of each call.
  (global $heap (mut i32) (i32.const 65536))

  (func (export "cabi_realloc") (param i32 i32 i32) (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (local.get $at))

  (func $say (param $call i32) (param $what i32)
    (i32.store8 (i32.const 16) (local.get $call))
    (i32.store8 (i32.const 17) (local.get $what))
    (call $log (i32.const 2) (i32.const 16) (i32.const 2)))

  (func $timer (param $call i32) (param $now i64) (param $token i64)
    (call $say (local.get $call) (i32.add (i32.const 48) (i32.wrap_i64 (local.get $token))))
    (if (i64.eq (local.get $token) (i64.const 1))
      (then
        (call $set_timer (i64.const 2) (local.get $now))
        (call $set_timer (i64.const 3) (local.get $now))))
    (if (i64.eq (local.get $token) (i64.const 3))
      (then (call $set_timer (i64.const 4) (local.get $now)))))

  (func (export "eep:proxylet/lifecycle@0.1.0#start") (param $now i64) (param i32 i32) (result i32)
    (call $set_timer (i64.const 1) (local.get $now))
    (i32.const 0))
  (func (export "eep:proxylet/lifecycle@0.1.0#restore") (param i64 i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "eep:proxylet/lifecycle@0.1.0#save") (result i32) (i32.const 0))
  (func (export "eep:proxylet/lifecycle@0.1.0#stop"))

  ;; An event is 88 bytes long: its case, then at 8 what belongs to it.
  (func (export "eep:proxylet/lifecycle@0.1.0#handle") (param $now i64) (param $event i32) (param $count i32)
    (param i32 i32 i32 i32 i32 i32)
    (if (i32.eqz (local.get $count)) (then (call $say (i32.const 104 (; h ;)) (i32.const 45))))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (if (i32.eq (i32.load8_u (local.get $event)) (i32.const 7 (; timer ;)))
        (then (call $timer (i32.const 104 (; h ;)) (local.get $now) (i64.load offset=8 (local.get $event)))))
      (local.set $event (i32.add (local.get $event) (i32.const 88)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (global.set $heap (i32.const 65536)))

  (func (export "eep:proxylet/timers@0.1.0#due") (param $now i64) (param $some i32) (param $token i64)
    (if (local.get $some)
      (then (call $timer (i32.const 100 (; d ;)) (local.get $now) (local.get $token)))
      (else (call $say (i32.const 100 (; d ;)) (i32.const 45)))))

  (func (export "eep:proxylet/takeover@0.1.0#warm") (param i32)))
