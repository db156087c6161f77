//! What one call may ask for ends somewhere. A proxylet asks for more in its `start`, and traps where it is not refused.

use std::net::UdpSocket;
use std::time::Duration;

use eep::proxylet::error::StartError;
use eep::proxylet::limits::ByteSize;
use eep::proxylet::service::Service;

use crate::node::{Node, PATIENCE, component, grants, shows};

/// A proxylet that does this in its `start`. Its memory is 66 MiB; results lie at 0, what is handed over from 4096 on.
fn starting(body: &str) -> Vec<u8> {
    component(&format!(
        r#"(module
        (import "eep:proxylet/random@0.1.0" "bytes" (func $random (param i32 i32)))
        (import "eep:proxylet/kv@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))
        (import "eep:proxylet/kv@0.1.0" "get" (func $get (param i32 i32 i32)))
        (import "eep:proxylet/kv@0.1.0" "keys" (func $keys (param i32 i32 i32)))
        (import "eep:proxylet/clock@0.1.0" "set-timer" (func $set_timer (param i64 i64)))
        (import "eep:proxylet/metrics@0.1.0" "define" (func $define (param i32 i32 i32 i32 i32 i32 i32 i32)))
        (import "eep:proxylet/log@0.1.0" "write" (func $log (param i32 i32 i32)))
        (import "eep:proxylet/mesh@0.1.0" "send" (func $tell (param i32 i32 i32 i32 i32 i32 i32 i32)))
        (import "eep:proxylet/net@0.1.0" "listen" (func $listen (param i32 i64 i64 i32 i32)))
        (import "eep:proxylet/datagram@0.1.0" "bind" (func $bind (param i32 i64 i64 i32 i32)))
        (import "eep:proxylet/datagram@0.1.0" "send" (func $datagram (param i32 i32 i64 i64 i32 i32 i32)))
        (import "eep:proxylet/net@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32)))
        (memory (export "memory") 1056)
        (table $table 8 funcref)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
        (func $check (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
        (func (export "eep:proxylet/lifecycle@0.1.0#start") (param i64 i32 i32) (result i32)
          (local $i i32)
          {body}
          (i32.store8 (i32.const 64) (i32.const 0)) (i32.const 64))
        (func (export "eep:proxylet/lifecycle@0.1.0#restore") (param i64 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "eep:proxylet/lifecycle@0.1.0#handle") (param i64 i32 i32 i32 i32 i32 i32 i32 i32))
        (func (export "eep:proxylet/lifecycle@0.1.0#save") (result i32) (i32.const 64))
        (func (export "eep:proxylet/lifecycle@0.1.0#stop")))"#
    ))
}

async fn start(body: &str) -> Result<(), StartError> {
    start_on(&Node::new(), body).await.map(drop)
}

async fn start_on(node: &Node, body: &str) -> Result<Service, StartError> {
    let code = node.runtime.prepare(&starting(body), None).unwrap();
    let started = node.try_start(|spec| {
        spec.code = code;
        spec.grants = grants(&["net.listen:*", "datagram:*", "mesh"]);
        spec.limits.memory = ByteSize(128 << 20);
        spec.limits.call_ms = 60_000;
    });
    started.await
}

/// Does this so many times; `$i` counts up from 0.
fn times(times: u32, body: &str) -> String {
    format!(
        "(local.set $i (i32.const 0))
         (loop $again
           {body}
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const {times}))))"
    )
}

#[tokio::test]
async fn randomness_comes_in_pieces() {
    start(
        "(call $random (i32.const 100) (i32.const 0)) (call $check (i32.eq (i32.load (i32.const 4)) (i32.const 100)))
         (call $random (i32.const -1) (i32.const 0)) (call $check (i32.eq (i32.load (i32.const 4)) (i32.const 4096)))",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn keys_have_a_length() {
    // A result's first byte says whether it is an error, the second which: 0 is `bad-key`.
    let set = |len: u32, refused: u32| {
        format!(
            "(i32.store16 (i32.const 0) (i32.const 0xffff))
             (call $set (i32.const 8192) (i32.const {len}) (i32.const 8192) (i32.const 1) (i32.const 0))
             (call $check (i32.eq (i32.load8_u (i32.const 0)) (i32.const {refused})))
             (call $check (i32.or (i32.eqz (i32.const {refused})) (i32.eqz (i32.load8_u (i32.const 1)))))"
        )
    };
    let text = "(memory.fill (i32.const 8192) (i32.const 107) (i32.const 1024))";
    let get = "(call $get (i32.const 8192) (i32.const 257) (i32.const 0))
               (call $check (i32.eqz (i32.load8_u (i32.const 0))))";
    start(&format!("{text} {} {} {} {get}", set(0, 1), set(256, 0), set(257, 1))).await.unwrap();
}

#[tokio::test]
async fn tables_do_not_grow_for_ever() {
    start(
        "(call $check (i32.eq (table.grow $table (ref.null func) (i32.const 15000)) (i32.const 8)))
         (call $check (i32.eq (table.grow $table (ref.null func) (i32.const 15000)) (i32.const -1)))",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn what_is_handed_over_in_one_call_is_bounded() {
    let send = |mib: u32| {
        let len = mib << 20;
        format!(
            "(call $send (i32.const 65536) (i32.const {len}) (i32.const 8) (i32.const 0) (i32.const 8) (i32.const 0)
               (i32.const 0))"
        )
    };
    start(&send(1)).await.unwrap();
    let error = start(&send(65)).await.unwrap_err();
    assert!(matches!(&error, StartError::Trapped(trap) if trap.during == "start"), "{error}");
}

#[tokio::test]
async fn a_datagram_has_a_length() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = peer.local_addr().unwrap().port();
    let send = |len: u32| {
        format!(
            "(call $datagram (i32.load (i32.const 8)) (i32.const 0) (i64.const 0x7f000001) (i64.const 0)
               (i32.const {port}) (i32.const 65536) (i32.const {len}))"
        )
    };
    let bind = "(call $bind (i32.const 0) (i64.const 0x7f000001) (i64.const 0) (i32.const 0) (i32.const 0))
                (call $check (i32.eqz (i32.load8_u (i32.const 0))))";
    let node = Node::new();
    let _service = start_on(&node, &format!("{bind} {} {}", send(65_508), send(65_507))).await.unwrap();
    let mut bytes = vec![0; 65_536];
    assert_eq!(peer.recv(&mut bytes).unwrap(), 65_507);
}

#[tokio::test]
async fn a_listing_of_keys_ends_somewhere() {
    let node = Node::new();
    let names = |n: u32| (0..n).map(|i| format!("key-{i}")).collect::<Vec<_>>();
    let listed = |n: u32| {
        format!(
            "(call $keys (i32.const 0) (i32.const 0) (i32.const 0))
             (call $check (i32.eq (i32.load (i32.const 4)) (i32.const {n})))"
        )
    };
    node.store_keys("probe", &names(1_024));
    start_on(&node, &listed(1_024)).await.unwrap().stop(Duration::ZERO).await.unwrap();
    node.store_keys("probe", &names(1_025));
    start_on(&node, &listed(1_024)).await.unwrap();
}

#[tokio::test]
async fn there_is_a_last_timer() {
    let node = Node::new();
    let set = "(call $set_timer (i64.extend_i32_u (local.get $i)) (i64.const -1))";
    let refused = |service: &Service| {
        service.log().tail(100).iter().filter(|line| line.text.contains("was not set: 1024 are set")).count()
    };
    let service = start_on(&node, &times(1_024, set)).await.unwrap();
    assert_eq!(refused(&service), 0);
    service.stop(Duration::ZERO).await.unwrap();
    // A token that has a timer is set anew; one more has no place.
    let service = start_on(&node, &format!("{} {}", times(1_024, set), times(1_025, set))).await.unwrap();
    assert_eq!(refused(&service), 1);
}

#[tokio::test]
async fn there_is_a_last_time_series() {
    // Four letters at 8192 are the name, of the digits of `$i`.
    let letter = |at: u32, shift: u32| {
        format!(
            "(i32.store8 (i32.const {at}) (i32.add (i32.const 97)
               (i32.and (i32.shr_u (local.get $i) (i32.const {shift})) (i32.const 15))))"
        )
    };
    let define = |series: u32| {
        format!(
            "{} {} {} {}
             (call $define (i32.const 8192) (i32.const 4) (i32.const 8192) (i32.const 4) (i32.const 0) (i32.const 0)
               (i32.const 0) (i32.const 0))
             (call $check (i32.eq (i32.load8_u (i32.const 0)) (i32.lt_u (local.get $i) (i32.const {series}))))",
            letter(8192, 0),
            letter(8193, 4),
            letter(8194, 8),
            letter(8195, 12)
        )
    };
    let node = Node::new();
    let service = start_on(&node, &times(1_030, &define(1_024))).await.unwrap();
    assert_eq!(service.series().len(), 1_024);
}

#[tokio::test]
async fn every_socket_is_one_of_the_node_s_descriptors() {
    let node = Node::new();
    let open = |what: &str| {
        // The first byte says whether it was refused; at 8 is why: 3 is `net-error.limit`.
        format!(
            "(call {what} (i32.const 0) (i64.const 0x7f000001) (i64.const 0) (i32.const 0) (i32.const 0))
             (call $check (i32.eq (i32.load8_u (i32.const 0)) (i32.ge_u (local.get $i) (i32.const 64))))
             (if (i32.load8_u (i32.const 0))
               (then (call $check (i32.eq (i32.load8_u (i32.const 8)) (i32.const 3)))))"
        )
    };
    let none = start_on(&node, "").await.unwrap();
    let (idle, _) = node.runtime.descriptors();
    none.stop(Duration::ZERO).await.unwrap();
    let all = format!("{} {}", times(70, &open("$listen")), times(70, &open("$bind")));
    let service = start_on(&node, &all).await.unwrap();
    let (held, max) = node.runtime.descriptors();
    assert_eq!((held, held < max), (idle + 128, true));
    service.stop(Duration::ZERO).await.unwrap();
    shows("the thread's end", || (node.runtime.descriptors().0 == 0).then_some(())).await;
}

#[tokio::test]
async fn a_message_and_a_name_have_a_length_and_few_requests_wait() {
    // To the node whose name lies at 8192, here named by so many letters; the answer's first byte says whether it was
    // refused, the one at 8 why: 0 is `limit`, 1 is `too-long`.
    let tell = |name: u32, service: u32, message: u32, told: &str| {
        format!(
            "(call $tell (i32.const 0) (i32.const 8192) (i32.const {name}) (i32.const 8192) (i32.const {service})
               (i32.const 65536) (i32.const {message}) (i32.const 0))
             (call $check {told})"
        )
    };
    let taken = "(i32.eqz (i32.load8_u (i32.const 0)))";
    let refused = |why: u32| {
        format!(
            "(i32.and (i32.load8_u (i32.const 0)) (i32.eq (i32.load8_u (i32.const 8)) (i32.const {why})))"
        )
    };
    let body = [
        "(memory.fill (i32.const 8192) (i32.const 107) (i32.const 1024))".to_owned(),
        tell(1, 1, 4_097, &refused(1)),
        tell(129, 1, 1, &refused(1)),
        tell(1, 129, 1, &refused(1)),
        tell(128, 128, 4_096, taken),
        times(15, &tell(1, 1, 1, taken)),
        tell(1, 1, 1, &refused(0)),
    ];
    start(&body.join("\n")).await.unwrap();
}

#[tokio::test]
async fn a_line_has_a_length() {
    let node = Node::new();
    let write = |len: u32| {
        format!(
            "(memory.fill (i32.const 65536) (i32.const 107) (i32.const {len}))
             (call $log (i32.const 2) (i32.const 65536) (i32.const {len}))"
        )
    };
    let service = start_on(&node, &write(1 << 20)).await.unwrap();
    let lines = service.log().tail(100);
    let longest = lines.iter().map(|line| line.text.len()).max().unwrap();
    assert!((1_000..=8 << 10).contains(&longest), "{longest}");
}
