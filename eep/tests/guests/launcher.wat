;; A proxylet that launches services, as its peer tells it. It listens on 127.0.0.1, on a port of the system's choice. The
;; first byte of what a connection delivers in one event is a command:
;;
;;   L image   launches: an order as it lies in memory, its texts behind it, for address 262144
;;   S name    stops what it has launched under that name
;;   N         sends a line for each service that it has launched: its name, a blank, and 1 where it runs, else 0; then a
;;             zero
;;   T prefix  sends the id of the node for its users, and a zero
;;   R node    sends how many nodes there are on the way to it, a digit, and a zero
;;   O node    opens a stream to the service `launcher` there and says W on it; what comes back is sent, or - and a zero
;;             where it fails
;;   W         sends the name of the node at the other end of this connection, and a zero
;;   M text    sends the text as a message to the service `launcher` on the node `edge-b`
;;
;; To whoever spoke last is sent how a request ends (`+` or `-`, the bytes of the answer, a zero), and what messages come in
;; (the sender, a blank, what it says, a zero).
(module
  (import "eep:proxylet/net@0.1.0" "listen" (func $listen (param i32 i64 i64 i32 i32)))
  (import "eep:proxylet/net@0.1.0" "send" (func $net_send (param i32 i32 i32 i32 i32 i32 i32)))
  (import "eep:proxylet/deploy@0.1.0" "launch" (func $launch (param i32 i32)))
  (import "eep:proxylet/deploy@0.1.0" "stop" (func $stop_other (param i32 i32 i32)))
  (import "eep:proxylet/deploy@0.1.0" "list" (func $list (param i32)))
  (import "eep:proxylet/topology@0.1.0" "nearest" (func $nearest (param i32 i32 i32 i32)))
  (import "eep:proxylet/topology@0.1.0" "route" (func $route (param i32 i32 i32 i32)))
  (import "eep:proxylet/mesh@0.1.0" "open" (func $open (param i32 i32 i32 i32 i32 i32)))
  (import "eep:proxylet/mesh@0.1.0" "peer" (func $peer (param i64 i32)))
  (import "eep:proxylet/mesh@0.1.0" "send" (func $message (param i32 i32 i32 i32 i32 i32 i32 i32)))

  (memory (export "memory") 8)
  ;; 0..64 results of imports; 64..80 the one target and segment of a send; 96.. texts; 131072.. what is handed over, freed
  ;; at the end of each call; 262144.. the order.
  (data (i32.const 96) "-+ 01\n\00")
  (data (i32.const 112) "-busy\00")
  (data (i32.const 136) "launcherWedge-b")
  (data (i32.const 160) "in use or not granted")
  (global $heap (mut i32) (i32.const 131072))
  (global $conn (mut i64) (i64.const 0))
  (global $opened (mut i64) (i64.const 0))

  (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (if (i32.gt_u (global.get $heap) (i32.const 262144)) (then unreachable))
    (local.get $at))

  (func $free (global.set $heap (i32.const 131072)))

  (func $send (param $at i32) (param $len i32)
    (i64.store (i32.const 64) (global.get $conn))
    (i32.store (i32.const 72) (i32.const 1))
    (i32.store (i32.const 76) (local.get $len))
    (call $net_send (local.get $at) (local.get $len) (i32.const 64) (i32.const 1)
      (i32.const 72) (i32.const 1) (i32.const 0)))

  (func $command (param $at i32) (param $len i32)
    (local $c i32) (local $i i32)
    (local.set $c (i32.load8_u (local.get $at)))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (local.set $len (i32.sub (local.get $len) (i32.const 1)))
    (if (i32.eq (local.get $c) (i32.const 76 (; L ;)))
      (then
        (memory.copy (i32.const 262144) (local.get $at) (local.get $len))
        (call $launch (i32.const 262144) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (call $send (i32.const 112) (i32.const 6))))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 83 (; S ;)))
      (then
        (call $stop_other (local.get $at) (local.get $len) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (call $send (i32.const 112) (i32.const 6))))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 79 (; O ;)))
      (then
        (call $open (i32.const 0) (local.get $at) (local.get $len) (i32.const 136) (i32.const 8) (i32.const 0))
        (global.set $opened (i64.load (i32.const 8)))
        (if (i32.load8_u (i32.const 0)) (then (call $send (i32.const 112) (i32.const 6))))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 87 (; W ;)))
      (then
        (call $peer (global.get $conn) (i32.const 0))
        (if (i32.load8_u (i32.const 0))
          (then (call $send (i32.load (i32.const 12)) (i32.load (i32.const 16)))))
        (call $send (i32.const 102) (i32.const 1))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 77 (; M ;)))
      (then
        (call $message (i32.const 0) (i32.const 145) (i32.const 6) (i32.const 136) (i32.const 8)
          (local.get $at) (local.get $len) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (call $send (i32.const 112) (i32.const 6))))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 84 (; T ;)))
      (then
        (call $nearest (local.get $at) (local.get $len) (i32.const 0) (i32.const 0))
        (local.set $at (i32.load (i32.const 0)))
        (if (i32.load (i32.const 4))
          (then (call $send (i32.load (local.get $at)) (i32.load (i32.add (local.get $at) (i32.const 4))))))
        (call $send (i32.const 102) (i32.const 1))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 82 (; R ;)))
      (then
        (call $route (local.get $at) (local.get $len) (i32.const 0) (i32.const 0))
        ;; whether there is one at 0, its nodes at 8 and 12
        (i32.store8 (i32.const 128) (i32.const 48))
        (if (i32.load8_u (i32.const 0))
          (then (i32.store8 (i32.const 128) (i32.add (i32.const 48) (i32.load (i32.const 12))))))
        (call $send (i32.const 128) (i32.const 1))
        (call $send (i32.const 102) (i32.const 1))
        (return)))
    (if (i32.eq (local.get $c) (i32.const 78 (; N ;)))
      (then
        (call $list (i32.const 0))
        (local.set $at (i32.load (i32.const 0)))
        (local.set $i (i32.load (i32.const 4)))
        (block $done (loop $next
          (br_if $done (i32.eqz (local.get $i)))
          ;; name at 0, sha256 at 8, node at 16, running at 28: 32 bytes
          (call $send (i32.load (local.get $at)) (i32.load (i32.add (local.get $at) (i32.const 4))))
          (call $send (i32.const 98) (i32.const 1))
          (call $send (i32.add (i32.const 99) (i32.load8_u (i32.add (local.get $at) (i32.const 28)))) (i32.const 1))
          (call $send (i32.const 101) (i32.const 1))
          (local.set $at (i32.add (local.get $at) (i32.const 32)))
          (local.set $i (i32.sub (local.get $i) (i32.const 1)))
          (br $next)))
        (call $send (i32.const 102) (i32.const 1)))))

  (func $begin (result i32)
    (call $listen (i32.const 0) (i64.const 0x7f000001) (i64.const 0) (i32.const 0) (i32.const 0))
    (call $free)
    (i32.store8 (i32.const 16) (i32.load8_u (i32.const 0)))
    (i32.store (i32.const 20) (i32.const 160))
    (i32.store (i32.const 24) (i32.const 21))
    (i32.const 16))

  (func (export "eep:proxylet/lifecycle@0.1.0#start") (param $now i64) (param $config i32) (param $len i32)
    (result i32)
    (call $begin))

  (func (export "eep:proxylet/lifecycle@0.1.0#restore") (param $now i64) (param $config i32) (param $len i32)
    (param $state i32) (param $state_len i32) (result i32)
    (call $begin))

  (func (export "eep:proxylet/lifecycle@0.1.0#save") (result i32)
    (i32.store (i32.const 16) (i32.const 96))
    (i32.store (i32.const 20) (i32.const 1))
    (i32.const 16))

  (func (export "eep:proxylet/lifecycle@0.1.0#stop"))

  ;; An event is 88 bytes long: its case, then at 8 what belongs to it.
  (func (export "eep:proxylet/lifecycle@0.1.0#handle") (param $now i64) (param $event i32) (param $count i32)
    (param $conns i32) (param i32) (param $lens i32) (param i32) (param $bytes i32) (param i32)
    (local $case i32) (local $len i32) (local $receptions i32)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $case (i32.load8_u (local.get $event)))
      (if (i32.eq (local.get $case) (i32.const 3 (; received ;)))
        (then
          (local.set $receptions (i32.load (i32.add (local.get $event) (i32.const 8))))
          (loop $reception
            (local.set $len (i32.load (local.get $lens)))
            (if (i64.eq (i64.load (local.get $conns)) (global.get $opened))
              (then (call $send (local.get $bytes) (local.get $len)))
              (else
                (global.set $conn (i64.load (local.get $conns)))
                (call $command (local.get $bytes) (local.get $len))))
            (local.set $bytes (i32.add (local.get $bytes) (local.get $len)))
            (local.set $conns (i32.add (local.get $conns) (i32.const 8)))
            (local.set $lens (i32.add (local.get $lens) (i32.const 4)))
            (local.set $receptions (i32.sub (local.get $receptions) (i32.const 1)))
            (br_if $reception (local.get $receptions)))))
      (if (i32.eq (local.get $case) (i32.const 1 (; established ;)))
        (then
          (i64.store (i32.const 64) (i64.load (i32.add (local.get $event) (i32.const 8))))
          (i32.store (i32.const 72) (i32.const 1))
          (i32.store (i32.const 76) (i32.const 1))
          (call $net_send (i32.const 144) (i32.const 1) (i32.const 64) (i32.const 1)
            (i32.const 72) (i32.const 1) (i32.const 0))))
      (if (i32.eq (local.get $case) (i32.const 2 (; failed ;)))
        (then (call $send (i32.const 96) (i32.const 1)) (call $send (i32.const 102) (i32.const 1))))
      (if (i32.eq (local.get $case) (i32.const 8 (; message ;)))
        (then
          ;; the sender at 8 and 12, the length at 16
          (local.set $len (i32.load (i32.add (local.get $event) (i32.const 16))))
          (call $send (i32.load (i32.add (local.get $event) (i32.const 8)))
            (i32.load (i32.add (local.get $event) (i32.const 12))))
          (call $send (i32.const 98) (i32.const 1))
          (call $send (local.get $bytes) (local.get $len))
          (call $send (i32.const 102) (i32.const 1))
          (local.set $bytes (i32.add (local.get $bytes) (local.get $len)))))
      (if (i32.eq (local.get $case) (i32.const 9 (; answer ;)))
        (then
          ;; request at 8, done at 16, the length at 20
          (local.set $len (i32.load (i32.add (local.get $event) (i32.const 20))))
          (call $send (i32.add (i32.const 96) (i32.load8_u (i32.add (local.get $event) (i32.const 16))))
            (i32.const 1))
          (call $send (local.get $bytes) (local.get $len))
          (call $send (i32.const 102) (i32.const 1))
          (local.set $bytes (i32.add (local.get $bytes) (local.get $len)))))
      (local.set $event (i32.add (local.get $event) (i32.const 88)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (call $free)))
