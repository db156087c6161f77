//! Each recorded answer matters, and a change of any of them is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, json};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::host::grant::Grants;
use crate::observe::log_ring::LogRing;
use crate::proxylet::limits::Limits;
use crate::proxylet::runtime::{Runtime, RuntimeConfig};
use crate::proxylet::service::{OnTrap, Service, ServiceSpec, Vouched};
use crate::record::chunk::{MAGIC, Packer};
use crate::record::entry::{Tag, ask, put};
use crate::record::reader::{Ending, Reader};
use crate::record::replay::{Options, Outcome, replay};
use crate::record::service::Record;
use crate::state::State;

/// Stores all that it is told under "k": the clocks, random bytes, and what it had stored before.
const GUEST: &str = r#"(module
  (import "eep:proxylet/clock@0.1.0" "wall" (func $wall (result i64)))
  (import "eep:proxylet/random@0.1.0" "bytes" (func $random (param i32 i32)))
  (import "eep:proxylet/kv@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "eep:proxylet/kv@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 8) "k")
  (global $heap (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $len i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (local.get $at))
  (func (export "eep:proxylet/lifecycle@0.1.0#start") (param i64 i32 i32) (result i32) (i32.const 16))
  (func (export "eep:proxylet/lifecycle@0.1.0#restore") (param i64 i32 i32 i32 i32) (result i32) (i32.const 16))
  (func (export "eep:proxylet/lifecycle@0.1.0#save") (result i32) (i32.const 16))
  (func (export "eep:proxylet/lifecycle@0.1.0#stop"))
  (func (export "eep:proxylet/lifecycle@0.1.0#handle") (param $now i64) (param i32 i32 i32 i32 i32 i32 i32 i32)
    (local $len i32)
    (i64.store (i32.const 256) (call $wall))
    (i64.store (i32.const 264) (local.get $now))
    (call $random (i32.const 16) (i32.const 64))
    (memory.copy (i32.const 272) (i32.load (i32.const 64)) (i32.const 16))
    (call $get (i32.const 8) (i32.const 1) (i32.const 80))
    (if (i32.load8_u (i32.const 80))
      (then
        (local.set $len (i32.load (i32.const 88)))
        (memory.copy (i32.const 288) (i32.load (i32.const 84)) (local.get $len))))
    (call $set (i32.const 8) (i32.const 1) (i32.const 256) (i32.add (i32.const 32) (local.get $len)) (i32.const 112))
    (global.set $heap (i32.const 4096))))"#;

fn component() -> Vec<u8> {
    let mut module = wat::parse_str(GUEST).unwrap();
    let mut wit = Resolve::default();
    let (package, _) = wit.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxylets/wit")).unwrap();
    let world = wit.select_world(&[package], Some("service")).unwrap();
    embed_component_metadata(&mut module, &wit, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// A recording of eight batches.
fn record(dir: &Path, wasm: &[u8]) -> PathBuf {
    let state = Arc::new(State::open(&dir.join("data")).unwrap());
    let mut config = RuntimeConfig::new(dir.join("cache"));
    (config.services_max, config.recordings_dir) = (2, Some(dir.join("recordings")));
    let runtime = Arc::new(Runtime::new(config, state).unwrap());
    let spec = ServiceSpec {
        name: "told".to_owned(),
        code: runtime.prepare(wasm, None).unwrap(),
        grants: Grants::default(),
        limits: Limits::default(),
        on_trap: OnTrap::Stop,
        config: Map::new(),
        fresh: false,
        record: Record::On { budget: Record::BUDGET },
        policy: Arc::default(),
        log: Arc::new(LogRing::new()),
        vouched: Vouched::always(),
    };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let service = Service::start(&runtime, spec).await.unwrap();
        for batch in 0..8 {
            service.configure(json!({ "batch": batch }).as_object().unwrap()).await.unwrap();
        }
        let file = service.status().recording.unwrap().file;
        service.stop(Duration::ZERO).await.unwrap();
        file.into()
    })
}

/// The same recording with one entry changed by `change`, which is given its number among the imports, their name and
/// their answer.
fn changed(file: &Path, mut change: impl FnMut(usize, &str, &mut Vec<u8>)) -> Vec<u8> {
    let mut reader = Reader::open(file).unwrap();
    let (mut content, mut imports) = (Vec::new(), 0);
    while let Some(entry) = reader.next().unwrap() {
        let mut second = entry.second.to_vec();
        if entry.tag == Tag::Import {
            change(imports, ask(entry.first).unwrap().0, &mut second);
            imports += 1;
        }
        put(&mut content, entry.tag, entry.first, &second);
    }
    let mut out = MAGIC.to_vec();
    Packer::default().pack(&content, &mut out);
    out
}

#[test]
fn a_change_of_one_recorded_answer_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = component();
    let file = record(dir.path(), &wasm);
    let again = |bytes: &[u8]| -> Outcome {
        let path = dir.path().join("changed");
        fs::write(&path, bytes).unwrap();
        let options = Options { wasm: Some(wasm.clone()), ..Options::default() };
        replay(&path, &options, &mut |_| {}).unwrap()
    };
    let mut answers = Vec::new();
    let same = changed(&file, |i, name, answer| {
        // What it does not look at is no matter: whether it was stored.
        if name != "kv.set" {
            answers.push((i, answer.len()));
        }
    });
    let outcome = again(&same);
    assert!(outcome.equal && outcome.exact && outcome.calls >= 10, "{outcome:?}");
    assert!(answers.len() >= 24);
    let one = (prop::sample::select(answers), any::<prop::sample::Index>(), 0..8_u8);
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..Config::default() };
    let case = |((which, len), at, bit): ((usize, usize), prop::sample::Index, u8)| {
        let bytes = changed(&file, |i, _, answer| {
            if i == which {
                answer[at.index(len)] ^= 1 << bit;
            }
        });
        let outcome = again(&bytes);
        prop_assert!(!outcome.equal && outcome.first.is_some(), "answer {which} {outcome:?}");
        prop_assert_eq!(outcome.ending, Ending::Whole);
        Ok(())
    };
    TestRunner::new(config).run(&one, case).unwrap();
}
