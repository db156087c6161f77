//! What one call may ask for ends somewhere. A proxylet asks for more in its `start`, and traps where it is not refused.

use eep::proxylet::error::StartError;
use eep::proxylet::limits::ByteSize;

use crate::node::{Node, component, grants};

/// A proxylet that does this in its `start`. Its memory is 66 MiB; results lie at 0, what is handed over from 4096 on.
fn starting(body: &str) -> Vec<u8> {
    component(&format!(
        r#"(module
        (import "eep:proxylet/random@0.1.0" "bytes" (func $random (param i32 i32)))
        (import "eep:proxylet/kv@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))
        (import "eep:proxylet/kv@0.1.0" "get" (func $get (param i32 i32 i32)))
        (import "eep:proxylet/net@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32)))
        (memory (export "memory") 1056)
        (table $table 8 funcref)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
        (func $check (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
        (func (export "eep:proxylet/lifecycle@0.1.0#start") (param i64 i32 i32) (result i32)
          {body}
          (i32.store8 (i32.const 64) (i32.const 0)) (i32.const 64))
        (func (export "eep:proxylet/lifecycle@0.1.0#restore") (param i64 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "eep:proxylet/lifecycle@0.1.0#handle") (param i64 i32 i32 i32 i32 i32 i32 i32 i32))
        (func (export "eep:proxylet/lifecycle@0.1.0#save") (result i32) (i32.const 64))
        (func (export "eep:proxylet/lifecycle@0.1.0#stop")))"#
    ))
}

async fn start(body: &str) -> Result<(), StartError> {
    let node = Node::new();
    let code = node.runtime.prepare(&starting(body), None).unwrap();
    let started = node.try_start(|spec| {
        spec.code = code;
        spec.grants = grants(&["net.connect"]);
        spec.limits.memory = ByteSize(128 << 20);
        spec.limits.call_ms = 60_000;
    });
    started.await.map(drop)
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
