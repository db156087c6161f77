;; A proxylet that answers datagrams and counts them twice, in its state and in `kv`, to see that the two stay one.
;;
;; It binds a UDP socket on 127.0.0.1, on a port that the system chooses. Each datagram of 8 bytes is answered with 24: what
;; it said; how many have been answered, with the version of the code in the topmost byte; and what `kv` had under "k"
;; before, which is the second of these words in the answer before this one.
;;
;; Tests make other versions of it by putting code in the place of the lines that begin with `;;;`, and another number in
;; the place of the version.
(module
  (import "eep:proxylet/datagram@0.1.0" "bind" (func $bind (param i32 i64 i64 i32 i32)))
  (import "eep:proxylet/datagram@0.1.0" "send" (func $send (param i32 i32 i64 i64 i32 i32 i32)))
  (import "eep:proxylet/kv@0.1.0" "set" (func $kv_set (param i32 i32 i32 i32 i32)))
  (import "eep:proxylet/kv@0.1.0" "get" (func $kv_get (param i32 i32 i32)))

  (memory (export "memory") 4)
  ;; 0..64 results of imports; 64..88 an answer; 96 the names of keys; 104..120 the state: its version, the count;
  ;; 131072.. what is handed over, freed at the end of each call.
  (data (i32.const 96) "kx")
  (global $heap (mut i32) (i32.const 131072))

  (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))) (then unreachable))
    (local.get $at))

  (func $free (global.set $heap (i32.const 131072)))

  (func $begin (result i32)
    (call $free)
    (call $bind (i32.const 0) (i64.const 0x7f000001) (i64.const 0) (i32.const 0) (i32.const 0))
    (if (i32.load8_u (i32.const 0)) (then unreachable))
    (i32.store8 (i32.const 16) (i32.const 0))
    (i32.const 16))

  (func (export "eep:proxylet/lifecycle@0.1.0#start") (param i64 i32 i32) (result i32)
    (call $begin))

  (func (export "eep:proxylet/lifecycle@0.1.0#restore") (param i64 i32 i32) (param $state i32) (param $len i32)
    (result i32)
    (memory.copy (i32.const 104) (local.get $state) (local.get $len))
    ;;; restore
    (call $begin))

  (func (export "eep:proxylet/lifecycle@0.1.0#save") (result i32)
    (i64.store (i32.const 104) (i64.const 1))
    (i32.store (i32.const 16) (i32.const 104))
    (i32.store (i32.const 20) (i32.const 16))
    (i32.const 16))

  (func (export "eep:proxylet/lifecycle@0.1.0#stop"))

  (func $count (param $said i64)
    (i64.store (i32.const 112) (i64.add (i64.load (i32.const 112)) (i64.const 1)))
    ;;; count
    (i64.store (i32.const 64) (local.get $said))
    (i64.store (i32.const 72)
      (i64.or (i64.load (i32.const 112)) (i64.shl (i64.const 1 (; version ;)) (i64.const 56))))
    (call $kv_get (i32.const 96) (i32.const 1) (i32.const 0))
    (i64.store (i32.const 80)
      (if (result i64) (i32.load8_u (i32.const 0))
        (then (i64.load (i32.load (i32.const 4)))) (else (i64.const 0))))
    (call $kv_set (i32.const 96) (i32.const 1) (i32.const 72) (i32.const 8) (i32.const 0))
    (if (i32.load8_u (i32.const 0)) (then unreachable)))

  ;; An event is 88 bytes long: its case, then at 8 what belongs to it. Of a datagram: the socket at 8, the peer's case at
  ;; 16, its IPv4 address at 24, its port at 40, the length at 48.
  (func (export "eep:proxylet/lifecycle@0.1.0#handle") (param $now i64) (param $event i32) (param $count i32)
    (param i32 i32) (param i32 i32) (param $bytes i32) (param i32)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (if (i32.eq (i32.load8_u (local.get $event)) (i32.const 6 (; datagram ;)))
        (then
          (call $count (i64.load (local.get $bytes)))
          (call $send (i32.load (i32.add (local.get $event) (i32.const 8))) (i32.const 0)
            (i64.load32_u (i32.add (local.get $event) (i32.const 24))) (i64.const 0)
            (i32.load16_u (i32.add (local.get $event) (i32.const 40))) (i32.const 64) (i32.const 24))
          (local.set $bytes (i32.add (local.get $bytes)
            (i32.load (i32.add (local.get $event) (i32.const 48)))))))
      (local.set $event (i32.add (local.get $event) (i32.const 88)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (call $free)))
