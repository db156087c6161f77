;; A proxylet that does what its peers tell it, to see how the node answers.
;;
;; It listens on 127.0.0.1, on the port whose digits are in its configuration (none: the system chooses). The first
;; byte that a connection delivers in an event is a command, what follows in the same event its argument:
;;
;;   E text    sends text back               F text    sends text to every known connection
;;   B n       sends n (a byte) times 64 KiB of zeros to this connection
;;   C         closes this connection        A         aborts it
;;   Z bytes   inflates from bytes on, deflates what is sent
;;   P         stops reading this connection
;;   S x       remembers the byte x          G         sends the byte
;;   K value   kv: sets "k"; sends 0 done, 1 bad key, 2 full, 3 unavailable
;;   k         kv: sends the value of "k"
;;   W n       sends "t" after n (a byte) milliseconds
;;   U digits  connects to 127.0.0.1:digits  u digits  as U, and sends "early" at once
;;   D         binds a UDP socket, which echoes
;;   I         defines the metric probe_total with the value 7
;;   O text    writes text to the log        o text    as O, 50 times
;;   T         traps                         L         loops for ever
;;   M n       grows its memory by n (a byte) MiB; sends "m", or traps where it was refused
;;   Q         sends what was counted, a byte each: congested, writable, closed, reason of the last end, failed,
;;             configured
;;
;; P, S, U, D, I, O and o are answered with a dot where they have no other answer: two commands that are said without
;; waiting would come in one event.
(module
  (import "eep:proxylet/net@0.1.0" "listen" (func $listen (param i32 i64 i64 i32 i32)))
  (import "eep:proxylet/net@0.1.0" "connect" (func $connect (param i32 i64 i64 i32 i32)))
  (import "eep:proxylet/net@0.1.0" "send" (func $net_send (param i32 i32 i32 i32 i32 i32 i32)))
  (import "eep:proxylet/net@0.1.0" "close" (func $close (param i64)))
  (import "eep:proxylet/net@0.1.0" "abort" (func $abort (param i64)))
  (import "eep:proxylet/net@0.1.0" "inflate" (func $inflate (param i64 i32 i32)))
  (import "eep:proxylet/net@0.1.0" "deflate" (func $deflate (param i64)))
  (import "eep:proxylet/net@0.1.0" "receive" (func $receive (param i64 i32)))
  (import "eep:proxylet/datagram@0.1.0" "bind" (func $bind (param i32 i64 i64 i32 i32)))
  (import "eep:proxylet/datagram@0.1.0" "send" (func $datagram_send (param i32 i32 i64 i64 i32 i32 i32)))
  (import "eep:proxylet/clock@0.1.0" "set-timer" (func $set_timer (param i64 i64)))
  (import "eep:proxylet/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (import "eep:proxylet/kv@0.1.0" "set" (func $kv_set (param i32 i32 i32 i32 i32)))
  (import "eep:proxylet/kv@0.1.0" "get" (func $kv_get (param i32 i32 i32)))
  (import "eep:proxylet/metrics@0.1.0" "define" (func $define (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "eep:proxylet/metrics@0.1.0" "update" (func $update (param i32 i32)))

  (memory (export "memory") 4)
  ;; 0..64 results of imports; 64..80 the one target and segment of a send; 96..112 texts; 128.. counters;
  ;; 1024..9216 the connections; 65536..131072 zeros; 131072.. what is handed over, freed at the end of each call.
  (data (i32.const 96) "early")
  (data (i32.const 104) "k")
  (data (i32.const 105) "probe_total")
  (data (i32.const 120) "Help.")
  (data (i32.const 160) "in use or not granted")
  (global $heap (mut i32) (i32.const 131072))
  (global $conns (mut i32) (i32.const 0))
  (global $now (mut i64) (i64.const 0))
  (global $remembered (mut i32) (i32.const 63))
  (global $timer_conn (mut i64) (i64.const 0))
  (global $congested (mut i32) (i32.const 0))
  (global $writable (mut i32) (i32.const 0))
  (global $closed (mut i32) (i32.const 0))
  (global $reason (mut i32) (i32.const 255))
  (global $failed (mut i32) (i32.const 0))
  (global $configured (mut i32) (i32.const 0))

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

  ;; The number whose digits lie there; other characters are passed over.
  (func $digits (param $at i32) (param $len i32) (result i32)
    (local $n i32) (local $end i32) (local $c i32)
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $c (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
      (if (i32.lt_u (local.get $c) (i32.const 10))
        (then (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 10)) (local.get $c)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (local.get $n))

  ;; Sends to so many connections that lie at $to.
  (func $send_to (param $to i32) (param $count i32) (param $at i32) (param $len i32)
    (i32.store (i32.const 72) (local.get $count))
    (i32.store (i32.const 76) (local.get $len))
    (call $net_send (local.get $at) (local.get $len) (local.get $to) (local.get $count)
      (i32.const 72) (i32.const 1) (i32.const 0))
    (global.set $congested (i32.add (global.get $congested) (i32.load (i32.const 4)))))

  (func $send (param $conn i64) (param $at i32) (param $len i32)
    (i64.store (i32.const 64) (local.get $conn))
    (call $send_to (i32.const 64) (i32.const 1) (local.get $at) (local.get $len)))

  (func $send_byte (param $conn i64) (param $byte i32)
    (i32.store8 (i32.const 128) (local.get $byte))
    (call $send (local.get $conn) (i32.const 128) (i32.const 1)))

  (func $dot (param $conn i64) (call $send_byte (local.get $conn) (i32.const 46)))

  (func $command (param $conn i64) (param $at i32) (param $len i32)
    (local $c i32) (local $i i32)
    (local.set $c (i32.load8_u (local.get $at)))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (local.set $len (i32.sub (local.get $len) (i32.const 1)))
    (if (i32.eq (local.get $c) (i32.const 69 (; E ;)))
      (then (call $send (local.get $conn) (local.get $at) (local.get $len)) (return)))
    (if (i32.eq (local.get $c) (i32.const 70 (; F ;)))
      (then (call $send_to (i32.const 1024) (global.get $conns) (local.get $at) (local.get $len)) (return)))
    (if (i32.eq (local.get $c) (i32.const 66 (; B ;)))
      (then
        (local.set $i (i32.load8_u (local.get $at)))
        (loop $again
          (if (i32.eqz (local.get $i)) (then (return)))
          (call $send (local.get $conn) (i32.const 65536) (i32.const 65536))
          (local.set $i (i32.sub (local.get $i) (i32.const 1)))
          (br $again))))
    (if (i32.eq (local.get $c) (i32.const 67 (; C ;))) (then (call $close (local.get $conn)) (return)))
    (if (i32.eq (local.get $c) (i32.const 65 (; A ;))) (then (call $abort (local.get $conn)) (return)))
    (if (i32.eq (local.get $c) (i32.const 90 (; Z ;)))
      (then
        (call $inflate (local.get $conn) (local.get $at) (local.get $len))
        (call $deflate (local.get $conn))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 80 (; P ;)))
      (then (call $receive (local.get $conn) (i32.const 0)) (call $dot (local.get $conn)) (return)))
    (if (i32.eq (local.get $c) (i32.const 83 (; S ;)))
      (then (global.set $remembered (i32.load8_u (local.get $at))) (call $dot (local.get $conn)) (return)))
    (if (i32.eq (local.get $c) (i32.const 71 (; G ;)))
      (then (call $send_byte (local.get $conn) (global.get $remembered)) (return)))
    (if (i32.eq (local.get $c) (i32.const 75 (; K ;)))
      (then
        (call $kv_set (i32.const 104) (i32.const 1) (local.get $at) (local.get $len) (i32.const 0))
        (call $send_byte (local.get $conn)
          (if (result i32) (i32.load8_u (i32.const 0))
            (then (i32.add (i32.const 1) (i32.load8_u (i32.const 1)))) (else (i32.const 0))))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 107 (; k ;)))
      (then
        (call $kv_get (i32.const 104) (i32.const 1) (i32.const 0))
        (if (i32.load8_u (i32.const 0))
          (then (local.set $i (i32.load (i32.const 4)))
            (call $send (local.get $conn) (local.get $i) (i32.load (i32.const 8)))))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 87 (; W ;)))
      (then
        (global.set $timer_conn (local.get $conn))
        (call $set_timer (i64.const 5) (i64.add (global.get $now)
          (i64.mul (i64.load8_u (local.get $at)) (i64.const 1000000))))
        (return)))
    (if (i32.or (i32.eq (local.get $c) (i32.const 85 (; U ;))) (i32.eq (local.get $c) (i32.const 117 (; u ;))))
      (then
        (call $connect (i32.const 0) (i64.const 0x7f000001) (i64.const 0)
          (call $digits (local.get $at) (local.get $len)) (i32.const 0))
        (if (i32.load8_u (i32.const 0))
          (then (call $send_byte (local.get $conn) (i32.load8_u (i32.const 8))))
          (else
            (if (i32.eq (local.get $c) (i32.const 117))
              (then (call $send (i64.load (i32.const 8)) (i32.const 96) (i32.const 5))))
            (call $dot (local.get $conn))))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 68 (; D ;)))
      (then
        (call $bind (i32.const 0) (i64.const 0x7f000001) (i64.const 0) (i32.const 0) (i32.const 0))
        (call $dot (local.get $conn))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 73 (; I ;)))
      (then
        (call $define (i32.const 105) (i32.const 11) (i32.const 120) (i32.const 5) (i32.const 0)
          (i32.const 0) (i32.const 0) (i32.const 0))
        (i32.store (i32.const 16) (i32.load (i32.const 4)))
        (f64.store (i32.const 24) (f64.const 7))
        (call $update (i32.const 16) (i32.const 1))
        (call $dot (local.get $conn))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 79 (; O ;)))
      (then (call $log (i32.const 2) (local.get $at) (local.get $len)) (call $dot (local.get $conn)) (return)))
    (if (i32.eq (local.get $c) (i32.const 111 (; o ;)))
      (then
        (local.set $i (i32.const 50))
        (loop $again
          (if (i32.eqz (local.get $i)) (then (call $dot (local.get $conn)) (return)))
          (call $log (i32.const 2) (local.get $at) (local.get $len))
          (local.set $i (i32.sub (local.get $i) (i32.const 1)))
          (br $again))))
    (if (i32.eq (local.get $c) (i32.const 84 (; T ;))) (then unreachable))
    (if (i32.eq (local.get $c) (i32.const 76 (; L ;))) (then (loop $ever (br $ever))))
    (if (i32.eq (local.get $c) (i32.const 77 (; M ;)))
      (then
        (if (i32.eq (i32.const -1) (memory.grow (i32.shl (i32.load8_u (local.get $at)) (i32.const 4))))
          (then unreachable))
        (call $send_byte (local.get $conn) (i32.const 109))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 81 (; Q ;)))
      (then
        (i32.store8 (i32.const 140) (global.get $congested))
        (i32.store8 (i32.const 141) (global.get $writable))
        (i32.store8 (i32.const 142) (global.get $closed))
        (i32.store8 (i32.const 143) (global.get $reason))
        (i32.store8 (i32.const 144) (global.get $failed))
        (i32.store8 (i32.const 145) (global.get $configured))
        (call $send (local.get $conn) (i32.const 140) (i32.const 6)))))

  (func $forget (param $conn i64)
    (local $i i32) (local $at i32)
    (loop $next
      (if (i32.ge_u (local.get $i) (global.get $conns)) (then (return)))
      (local.set $at (i32.add (i32.const 1024) (i32.shl (local.get $i) (i32.const 3))))
      (if (i64.eq (i64.load (local.get $at)) (local.get $conn))
        (then
          (global.set $conns (i32.sub (global.get $conns) (i32.const 1)))
          (i64.store (local.get $at)
            (i64.load (i32.add (i32.const 1024) (i32.shl (global.get $conns) (i32.const 3)))))
          (return)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))

  (func $know (param $conn i64)
    (i64.store (i32.add (i32.const 1024) (i32.shl (global.get $conns) (i32.const 3))) (local.get $conn))
    (global.set $conns (i32.and (i32.add (global.get $conns) (i32.const 1)) (i32.const 1023))))

  ;; The result of `start` and `restore`: listening, or why not.
  (func $begin (param $config i32) (param $len i32) (result i32)
    (call $listen (i32.const 0) (i64.const 0x7f000001) (i64.const 0)
      (call $digits (local.get $config) (local.get $len)) (i32.const 0))
    (call $free)
    (if (i32.load8_u (i32.const 0))
      (then (i32.store8 (i32.const 16) (i32.const 1))
        (i32.store (i32.const 20) (i32.const 160)) (i32.store (i32.const 24) (i32.const 21)))
      (else (i32.store8 (i32.const 16) (i32.const 0))))
    (i32.const 16))

  (func (export "eep:proxylet/lifecycle@0.1.0#start") (param $now i64) (param $config i32) (param $len i32)
    (result i32)
    (call $begin (local.get $config) (local.get $len)))

  (func (export "eep:proxylet/lifecycle@0.1.0#restore") (param $now i64) (param $config i32) (param $len i32)
    (param $state i32) (param $state_len i32) (result i32)
    (global.set $remembered (i32.load8_u (local.get $state)))
    (call $begin (local.get $config) (local.get $len)))

  (func (export "eep:proxylet/lifecycle@0.1.0#save") (result i32)
    (i32.store8 (i32.const 128) (global.get $remembered))
    (i32.store (i32.const 16) (i32.const 128))
    (i32.store (i32.const 20) (i32.const 1))
    (i32.const 16))

  (func (export "eep:proxylet/lifecycle@0.1.0#stop")
    (call $send_to (i32.const 1024) (global.get $conns) (i32.const 96) (i32.const 1)))

  ;; An event is 88 bytes long: its case, then at 8 what belongs to it.
  (func (export "eep:proxylet/lifecycle@0.1.0#handle") (param $now i64) (param $event i32) (param $count i32)
    (param $conns i32) (param i32) (param $lens i32) (param i32) (param $bytes i32) (param i32)
    (local $case i32) (local $conn i64) (local $len i32) (local $receptions i32)
    (global.set $now (local.get $now))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $case (i32.load8_u (local.get $event)))
      (local.set $conn (i64.load (i32.add (local.get $event) (i32.const 8))))
      (if (i32.eq (local.get $case) (i32.const 0 (; accepted ;))) (then (call $know (local.get $conn))))
      (if (i32.eq (local.get $case) (i32.const 1 (; established ;)))
        (then (call $know (local.get $conn)) (call $send (local.get $conn) (i32.const 97) (i32.const 4))))
      (if (i32.eq (local.get $case) (i32.const 2 (; failed ;)))
        (then
          (global.set $failed (i32.add (global.get $failed) (i32.const 1)))
          (global.set $reason (i32.load8_u (i32.add (local.get $event) (i32.const 16))))))
      (if (i32.eq (local.get $case) (i32.const 3 (; received ;)))
        (then
          (local.set $receptions (i32.load (i32.add (local.get $event) (i32.const 8))))
          (loop $reception
            (local.set $len (i32.load (local.get $lens)))
            (call $command (i64.load (local.get $conns)) (local.get $bytes) (local.get $len))
            (local.set $bytes (i32.add (local.get $bytes) (local.get $len)))
            (local.set $conns (i32.add (local.get $conns) (i32.const 8)))
            (local.set $lens (i32.add (local.get $lens) (i32.const 4)))
            (local.set $receptions (i32.sub (local.get $receptions) (i32.const 1)))
            (br_if $reception (local.get $receptions)))))
      (if (i32.eq (local.get $case) (i32.const 4 (; writable ;)))
        (then (global.set $writable (i32.add (global.get $writable) (i32.const 1)))))
      (if (i32.eq (local.get $case) (i32.const 5 (; closed ;)))
        (then
          (call $forget (local.get $conn))
          (global.set $closed (i32.add (global.get $closed) (i32.const 1)))
          (global.set $reason (i32.load8_u (i32.add (local.get $event) (i32.const 16))))))
      (if (i32.eq (local.get $case) (i32.const 6 (; datagram ;)))
        (then
          ;; socket at 8, the peer's case at 16, its IPv4 address at 24, its port at 40, the length at 48
          (local.set $len (i32.load (i32.add (local.get $event) (i32.const 48))))
          (call $datagram_send (i32.load (i32.add (local.get $event) (i32.const 8))) (i32.const 0)
            (i64.load32_u (i32.add (local.get $event) (i32.const 24))) (i64.const 0)
            (i32.load16_u (i32.add (local.get $event) (i32.const 40))) (local.get $bytes) (local.get $len))
          (local.set $bytes (i32.add (local.get $bytes) (local.get $len)))))
      (if (i32.eq (local.get $case) (i32.const 7 (; timer ;)))
        (then (call $send_byte (global.get $timer_conn) (i32.const 116))))
      (if (i32.eq (local.get $case) (i32.const 12 (; configured ;)))
        (then (global.set $configured (i32.add (global.get $configured) (i32.const 1)))))
      (local.set $event (i32.add (local.get $event) (i32.const 88)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (call $free)))
