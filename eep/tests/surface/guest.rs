//! Proxylets for these tests: the probe (`guests/probe.wat`) with a manifest, and things that are none.

use std::path::Path;

use serde_json::{Value, json};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const PROBE: &str = include_str!("../guests/probe.wat");

const TELLER: &str = include_str!("../guests/teller.wat");

/// The core module of the probe, with the types of the world embedded.
pub(crate) fn module() -> Vec<u8> {
    embedded(PROBE)
}

/// A module in text form, with the types of the world embedded.
pub(crate) fn embedded(wat: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).unwrap();
    let mut wit = Resolve::default();
    let (package, _) = wit.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxylets/wit")).unwrap();
    let world = wit.select_world(&[package], Some("service")).unwrap();
    embed_component_metadata(&mut module, &wit, world, StringEncoding::UTF8, false).unwrap();
    module
}

/// The probe with this manifest embedded.
pub(crate) fn with_manifest(manifest: &Value) -> Vec<u8> {
    described(&module(), manifest)
}

/// A module as a component with this manifest.
pub(crate) fn described(module: &[u8], manifest: &Value) -> Vec<u8> {
    let component = ComponentEncoder::default().module(module).unwrap().validate(true).encode().unwrap();
    with_section(component, "eep:proxylet", manifest.to_string().as_bytes())
}

/// A version of the teller (`guests/teller.wat`), which answers numbered messages; `message` is put in the place of that
/// mark.
pub(crate) fn teller(version: u8, message: &str) -> Vec<u8> {
    described(&embedded(&teller_wat(version, message)), &teller_manifest(version))
}

/// A version of the teller that traps when it is asked for its state.
pub(crate) fn mute_teller(version: u8) -> Vec<u8> {
    let wat = teller_wat(version, "").replace(";;; save\n", "(unreachable)\n");
    described(&embedded(&wat), &teller_manifest(version))
}

/// A version of the teller that refuses every state.
pub(crate) fn refusing_teller(version: u8) -> Vec<u8> {
    let wat = teller_wat(version, "").replace(";;; restore\n", "(return (call $no))\n");
    described(&embedded(&wat), &teller_manifest(version))
}

/// The same as a core module, as a compiler leaves it.
pub(crate) fn teller_module(version: u8) -> Vec<u8> {
    let manifest = teller_manifest(version).to_string();
    with_section(embedded(&teller_wat(version, "")), "eep:proxylet", manifest.as_bytes())
}

fn teller_wat(version: u8, message: &str) -> String {
    TELLER
        .replace("(i64.const 1 (; version ;))", &format!("(i64.const {version})"))
        .replace(";;; message\n", &format!("{message}\n"))
}

fn teller_manifest(version: u8) -> Value {
    json!({"name": "teller", "version": format!("0.{version}.0"), "wants": ["net.listen:*"], "config": {}})
}

/// The probe: it listens on the port of its configuration; its settings have a schema.
pub(crate) fn probe() -> Vec<u8> {
    with_manifest(&manifest("0.1.0"))
}

/// Another version of it: other bytes, the same behaviour.
pub(crate) fn probe_2() -> Vec<u8> {
    with_manifest(&manifest("0.2.0"))
}

fn manifest(version: &str) -> Value {
    json!({
        "name": "probe", "version": version, "about": "Does what it is told.", "hint": "speak to {listen}, leaves {leaves}",
        "wants": ["net.listen:$port", "net.connect:127.0.0.0/8", "datagram:*"],
        "config": {"port": 0, "leaves": ""},
        "schema": {
            "type": "object", "additionalProperties": false,
            "properties": {
                "port": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "TCP port on 127.0.0.1."},
                "leaves": {"type": "string", "pattern": "^[a-z]*$", "description": "Letters."}
            }
        }
    })
}

/// A component of the right version, built against a contract that had another shape.
pub(crate) fn of_other_shape() -> Vec<u8> {
    wat::parse_str(
        r#"(component
            (import "eep:proxylet/random@0.1.0" (instance
              (export "bytes" (func (param "len" u64) (result (list u8))))))
            (instance $lifecycle)
            (export "eep:proxylet/lifecycle@0.1.0" (instance $lifecycle)))"#,
    )
    .unwrap()
}

/// Wasm with one more custom section.
pub(crate) fn with_section(mut wasm: Vec<u8>, name: &str, content: &[u8]) -> Vec<u8> {
    let mut body = leb128(name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(content);
    wasm.push(0);
    wasm.extend_from_slice(&leb128(body.len()));
    wasm.extend_from_slice(&body);
    wasm
}

fn leb128(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}
