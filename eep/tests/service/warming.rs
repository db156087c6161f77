//! A version with much memory is given its own before it takes over (`guests/teller.wat`).

use eep::proxylet::code::Code;
use eep::proxylet::error::StartError;
use eep::proxylet::service::{Service, ServiceSpec};
use eep::proxylet::swap::{SwapError, SwapOutcome};

use crate::node::{Node, Peer, component_of, grants, soon};
use crate::teller::TELLER;
use crate::versions::version;

/// What the first version has, in pages of 64 KiB: 8 MiB.
const PAGES: u64 = 128;

/// A version of the teller that can be given memory: what it does then.
fn teller(node: &Node, number: u8, warm: &str) -> Code {
    let grown = format!("(drop (memory.grow (i32.const {PAGES})))");
    let wat = version(TELLER, number, &[("start", &grown)]);
    let export = format!("(func (export \"eep:proxylet/takeover@0.1.0#warm\") (param $bytes i32) {warm})");
    let wat = format!("{}\n{export})", wat.trim_end().strip_suffix(')').unwrap());
    node.runtime.prepare(&component_of(&wat, "service-ahead"), None).unwrap()
}

fn spec(node: &Node, code: Code) -> ServiceSpec {
    ServiceSpec { code, grants: grants(&["net.listen:*"]), ..node.spec("teller") }
}

/// Says message `number`; the version that answers.
async fn tell(peer: &mut Peer, number: u64) -> u8 {
    let answer = peer.ask(number.to_le_bytes(), 16).await;
    assert_eq!(answer[..8], number.to_le_bytes());
    assert_eq!(answer[8..15], number.to_le_bytes()[..7], "each is counted once");
    answer[15]
}

#[tokio::test]
async fn a_version_has_its_memory_before_it_takes_over() {
    let node = Node::new();
    let service =
        soon("start", Service::start(&node.runtime, spec(&node, teller(&node, 1, "")))).await.unwrap();
    let mut peer = Peer::join(&service).await;
    assert_eq!(tell(&mut peer, 1).await, 1);
    assert!(service.status().memory_bytes >= PAGES << 16);

    // It grows by what it is asked for, and is told when that is all.
    let grows = "(if (local.get $bytes)
        (then (drop (memory.grow (i32.shr_u (local.get $bytes) (i32.const 16)))))
        (else (i32.store8 (i32.const 127) (i32.const 1))))";
    let probation = soon("the swap", service.swap(spec(&node, teller(&node, 2, grows)))).await.unwrap();
    assert_eq!(tell(&mut peer, 2).await, 2);
    assert!(service.status().memory_bytes >= PAGES << 16, "{}", service.status().memory_bytes);
    soon("keeping", probation.keep()).await.unwrap();

    // One that cannot bear it does not take over, and the other goes on.
    let before = service.status().memory_bytes;
    let error =
        soon("the swap", service.swap(spec(&node, teller(&node, 3, "unreachable")))).await.unwrap_err();
    assert!(
        matches!(&error, SwapError::Refused(StartError::Trapped(trap)) if trap.during == "warm"),
        "{error}"
    );
    assert_eq!(tell(&mut peer, 3).await, 2);
    let status = service.status();
    assert_eq!((status.last_swap.unwrap().outcome, status.memory_bytes), (SwapOutcome::Refused, before));

    // Memory that is not there is no fault.
    let mut small = spec(&node, teller(&node, 4, grows));
    small.limits.memory = eep::proxylet::limits::ByteSize(2 << 20);
    let probation = soon("the swap", service.swap(small)).await.unwrap();
    assert_eq!(tell(&mut peer, 4).await, 4);
    soon("keeping", probation.keep()).await.unwrap();
}
