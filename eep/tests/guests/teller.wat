;; A proxylet that carries its connections from one version to the next, to see that nothing is lost on the way.
;;
;; It listens on 127.0.0.1, on a port that the system chooses. What a connection receives are messages of 8 bytes, cut
;; wherever the stream was cut. Each is answered with 16 bytes: the message, and how many messages of this connection have
;; been answered; the topmost byte of the latter is the version of the code. The state is all that it knows: of each
;; connection the count and the bytes of a message that is not whole.
;;
;; Tests make other versions of it by putting code in the place of the lines that begin with `;;;`, and another number in
;; the place of the version.
(module
  (import "eep:proxylet/net@0.1.0" "listen" (func $listen (param i32 i64 i64 i32 i32)))
  (import "eep:proxylet/net@0.1.0" "connections" (func $connections (param i32)))
  (import "eep:proxylet/net@0.1.0" "send" (func $net_send (param i32 i32 i32 i32 i32 i32 i32)))
  (import "eep:proxylet/clock@0.1.0" "set-timer" (func $set_timer (param i64 i64)))

  (memory (export "memory") 4)
  ;; 0..64 results of imports; 64..96 an answer, its target and segment; 128.. why it says no; 4088..4096 the head of the
  ;; state: version, count; 4096..65536 the connections, 32 bytes each: id, count, how many bytes of a message are there,
  ;; these; 131072.. what is handed over, freed at the end of each call.
  (data (i32.const 128) "it does not know this state")
  (global $heap (mut i32) (i32.const 131072))
  (global $known (mut i32) (i32.const 0))

  (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (block $enough
      (br_if $enough (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
      (br_if $enough (i32.ne (i32.const -1) (memory.grow (i32.add (i32.const 1)
        (i32.sub (i32.shr_u (global.get $heap) (i32.const 16)) (i32.sub (memory.size) (i32.const 1)))))))
      unreachable)
    (local.get $at))

  (func $free (global.set $heap (i32.const 131072)))

  (func $entry (param $i i32) (result i32)
    (i32.add (i32.const 4096) (i32.shl (local.get $i) (i32.const 5))))

  ;; Where a connection's entry is; 0 where there is none.
  (func $find (param $conn i64) (result i32)
    (local $i i32)
    (block $none (loop $next
      (br_if $none (i32.ge_u (local.get $i) (global.get $known)))
      (if (i64.eq (i64.load (call $entry (local.get $i))) (local.get $conn))
        (then (return (call $entry (local.get $i)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (i32.const 0))

  (func $know (param $conn i64)
    (local $at i32)
    (if (i32.ge_u (global.get $known) (i32.const 1900)) (then unreachable))
    (local.set $at (call $entry (global.get $known)))
    (memory.fill (local.get $at) (i32.const 0) (i32.const 32))
    (i64.store (local.get $at) (local.get $conn))
    (global.set $known (i32.add (global.get $known) (i32.const 1))))

  (func $forget (param $at i32)
    (if (i32.eqz (local.get $at)) (then (return)))
    (global.set $known (i32.sub (global.get $known) (i32.const 1)))
    (memory.copy (local.get $at) (call $entry (global.get $known)) (i32.const 32)))

  (func $message (param $at i32)
    (local $message i64) (local $count i64)
    (local.set $message (i64.load offset=24 (local.get $at)))
    (local.set $count (i64.add (i64.load offset=8 (local.get $at)) (i64.const 1)))
    (i64.store offset=8 (local.get $at) (local.get $count))
    ;;; message
    (i64.store (i32.const 64) (local.get $message))
    (i64.store (i32.const 72) (i64.or (local.get $count) (i64.shl (i64.const 1 (; version ;)) (i64.const 56))))
    (i64.store (i32.const 80) (i64.load (local.get $at)))
    (i32.store (i32.const 88) (i32.const 1))
    (i32.store (i32.const 92) (i32.const 16))
    (call $net_send (i32.const 64) (i32.const 16) (i32.const 80) (i32.const 1) (i32.const 88) (i32.const 1)
      (i32.const 0)))

  (func $received (param $at i32) (param $bytes i32) (param $len i32)
    (local $there i32)
    (if (i32.eqz (local.get $at)) (then (return)))
    (loop $next
      (if (i32.eqz (local.get $len)) (then (return)))
      (local.set $there (i32.load offset=16 (local.get $at)))
      (i32.store8 offset=24 (i32.add (local.get $at) (local.get $there)) (i32.load8_u (local.get $bytes)))
      (local.set $there (i32.add (local.get $there) (i32.const 1)))
      (if (i32.eq (local.get $there) (i32.const 8))
        (then (call $message (local.get $at)) (local.set $there (i32.const 0))))
      (i32.store offset=16 (local.get $at) (local.get $there))
      (local.set $bytes (i32.add (local.get $bytes) (i32.const 1)))
      (local.set $len (i32.sub (local.get $len) (i32.const 1)))
      (br $next)))

  (func $no (result i32)
    (i32.store8 (i32.const 16) (i32.const 1))
    (i32.store (i32.const 20) (i32.const 128))
    (i32.store (i32.const 24) (i32.const 27))
    (i32.const 16))

  (func $begin (result i32)
    (call $free)
    (call $listen (i32.const 0) (i64.const 0x7f000001) (i64.const 0) (i32.const 0) (i32.const 0))
    (if (i32.load8_u (i32.const 0)) (then unreachable))
    (i32.store8 (i32.const 16) (i32.const 0))
    (i32.const 16))

  (func (export "eep:proxylet/lifecycle@0.1.0#start") (param $now i64) (param i32 i32) (result i32)
    ;;; start
    (call $begin))

  (func (export "eep:proxylet/lifecycle@0.1.0#restore") (param $now i64) (param i32 i32)
    (param $state i32) (param $len i32) (result i32)
    (local $i i32) (local $live i32) (local $count i32) (local $j i32) (local $lives i32)
    (if (i32.ne (i32.load8_u (local.get $state)) (i32.const 1)) (then (return (call $no))))
    (memory.copy (i32.const 4088) (local.get $state) (local.get $len))
    (global.set $known (i32.load (i32.const 4092)))
    (call $connections (i32.const 0))
    (local.set $live (i32.load (i32.const 0)))
    (local.set $count (i32.load (i32.const 4)))
    ;; Whoever does not live any more is forgotten.
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (global.get $known)))
      (local.set $lives (i32.const 0))
      (local.set $j (i32.const 0))
      (block $end (loop $other
        (br_if $end (i32.ge_u (local.get $j) (local.get $count)))
        (if (i64.eq (i64.load (i32.add (local.get $live) (i32.shl (local.get $j) (i32.const 3))))
              (i64.load (call $entry (local.get $i))))
          (then (local.set $lives (i32.const 1)) (br $end)))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br $other)))
      (if (local.get $lives)
        (then (local.set $i (i32.add (local.get $i) (i32.const 1))))
        (else (call $forget (call $entry (local.get $i)))))
      (br $next)))
    ;;; restore
    (call $begin))

  (func (export "eep:proxylet/lifecycle@0.1.0#save") (result i32)
    ;;; save
    (i32.store (i32.const 4088) (i32.const 1))
    (i32.store (i32.const 4092) (global.get $known))
    (i32.store (i32.const 16) (i32.const 4088))
    (i32.store (i32.const 20) (i32.add (i32.const 8) (i32.shl (global.get $known) (i32.const 5))))
    (i32.const 16))

  (func (export "eep:proxylet/lifecycle@0.1.0#stop"))

  ;; An event is 88 bytes long: its case, then at 8 what belongs to it.
  (func (export "eep:proxylet/lifecycle@0.1.0#handle") (param $now i64) (param $event i32) (param $count i32)
    (param $conns i32) (param i32) (param $lens i32) (param i32) (param $bytes i32) (param i32)
    (local $case i32) (local $conn i64) (local $receptions i32)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $case (i32.load8_u (local.get $event)))
      (local.set $conn (i64.load (i32.add (local.get $event) (i32.const 8))))
      (if (i32.eq (local.get $case) (i32.const 0 (; accepted ;))) (then (call $know (local.get $conn))))
      (if (i32.eq (local.get $case) (i32.const 5 (; closed ;)))
        (then (call $forget (call $find (local.get $conn)))))
      (if (i32.eq (local.get $case) (i32.const 7 (; timer ;)))
        (then
          (nop)
          ;;; timer
        ))
      (if (i32.eq (local.get $case) (i32.const 3 (; received ;)))
        (then
          (local.set $receptions (i32.load (i32.add (local.get $event) (i32.const 8))))
          (loop $reception
            (call $received (call $find (i64.load (local.get $conns))) (local.get $bytes)
              (i32.load (local.get $lens)))
            (local.set $bytes (i32.add (local.get $bytes) (i32.load (local.get $lens))))
            (local.set $conns (i32.add (local.get $conns) (i32.const 8)))
            (local.set $lens (i32.add (local.get $lens) (i32.const 4)))
            (local.set $receptions (i32.sub (local.get $receptions) (i32.const 1)))
            (br_if $reception (local.get $receptions)))))
      (local.set $event (i32.add (local.get $event) (i32.const 88)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (call $free)))
