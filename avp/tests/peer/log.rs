//! What the operator reads.

use crate::net::{Net, config};
use crate::raw::MODERN;
use avp::Config;

#[test]
fn relations_are_told_of_and_what_peers_say_of_themselves_is_escaped() {
    let mut net = Net::new();
    let up = net.peer(Config { leaves: 1, ..config() });
    let modern = MODERN.replace("Scripted/1.0", "Scripted\u{1b}[2J");
    let (_, neighbour) = net.shake(1, up, &format!("X-Ultrapeer: True\r\n{modern}"));
    let _leaf = net.leaf(2, up);
    net.shake(3, up, "X-Ultrapeer: False\r\n");
    net.shake(4, up, "X-Ultrapeer: False\r\n");
    net.close(neighbour);
    net.run();
    let told: Vec<String> = net.log(up).into_iter().filter(|line| !line.contains("find this peer")).collect();
    assert_eq!(
        told,
        [
            "Info: no other ultrapeer is known, so searches stay among the leaves here: name some in `connect`",
            "Info: ultrapeer 10.99.0.1:7001 joined: Scripted\\u{1b}[2J",
            "Debug: leaf 10.99.0.2:7002 joined: Scripted/1.0",
            "Warn: all 1 slots for leaves are taken and more want to join: raise `leaves`",
            "Info: ultrapeer 10.99.0.1:7001 left: ended",
        ]
    );
}

#[test]
fn many_peers_make_few_lines() {
    let mut net = Net::new();
    let up = net.peer(config());
    for n in 1..=300 {
        let (_, raw) = net.shake(n, up, "X-Ultrapeer: True\r\n");
        net.close(raw);
        net.run();
    }
    assert_eq!(net.metric(up, "avp_joined_total", &[("role", "ultrapeer")]), 300.0);
    assert!((20..60).contains(&net.log(up).len()), "{}", net.log(up).len());
}
