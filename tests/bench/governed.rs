//! What a policy of realistic size costs on the relay path: 50,000 prefixes and 1,000 rules that are settled once a peer,
//! and the same with 10,000 keywords, so that each query has to be asked about.

use std::fmt::Write as _;

use eep_tests::node::Node;

use crate::report::Report;

/// Prefixes in a set of peers.
const PREFIXES: u32 = 50_000;
/// Rules of the chain.
const RULES: u32 = 1_000;
/// Words in a set of content.
const KEYWORDS: u32 = 10_000;

/// Puts the policies in force, one after the other, and measures under each.
///
/// # Errors
/// Where a policy is refused, or a measurement fails.
pub(crate) fn run(
    node: &Node,
    free: &Report,
    mut relay: impl FnMut() -> Result<Report, String>,
) -> Result<Report, String> {
    let (mut prefixes, mut words) = (String::new(), String::new());
    for n in 0..PREFIXES {
        // Of the networks for benchmarks and of those that nobody has: the generator's peers are in none.
        let _ = writeln!(prefixes, "{}.{}.{}.0/24", 240 + (n >> 16), n >> 8 & 255, n & 255);
    }
    for n in 0..KEYWORDS {
        let _ = writeln!(words, "forbidden{n} word{n}");
    }
    write(node, "bench.cidr", &prefixes)?;
    write(node, "bench.words", &words)?;
    let mut report = Report::new("relay under a policy");
    let rate = |report: &Report| report.get("received").unwrap_or(f64::NAN);
    for (keywords, name, ratio) in
        [(false, "relay_settled", "relay_settled_ratio"), (true, "relay_keywords", "relay_keywords_ratio")]
    {
        write(node, "bench.yaml", &policy(keywords))?;
        let file = node.path("bench.yaml");
        let file = file.to_str().ok_or("the temporary folder is not UTF-8")?;
        let applied = node.eep(&["policy", "apply", "edge", file]);
        if applied.code != Some(0) {
            return Err(format!("eep policy apply: {}", applied.stderr));
        }
        let governed = relay()?;
        report.figure(name, rate(&governed), "queries/s");
        report.figure(ratio, rate(&governed) / rate(free), "with/without");
    }
    let _ = node.eep(&["policy", "rollback", "edge", "--to", "0"]);
    Ok(report)
}

fn policy(keywords: bool) -> String {
    let mut text = String::from(
        "policy: eep/v1\nname: bench\nsets:\n  far: {cidr: {file: bench.cidr}}\n  hot: {keywords: {file: bench.words}}\n",
    );
    for n in 2..RULES {
        let _ = writeln!(text, "  net{n}: {{cidr: [198.18.{}.{}]}}", n >> 8, n & 255);
    }
    text.push_str("access:\n  default: allow\n  rules:\n");
    text.push_str("    - {id: far, match: {peer: {in: far}}, then: drop}\n");
    let asked = if keywords { "[query, query-hit]" } else { "[download]" };
    let _ =
        writeln!(text, "    - {{id: hot, match: {{message: {asked}, content: {{in: hot}}}}, then: drop}}");
    for n in 2..RULES {
        let _ = writeln!(text, "    - {{id: r{n}, match: {{peer: {{in: net{n}}}}}, then: drop}}");
    }
    text
}

fn write(node: &Node, name: &str, text: &str) -> Result<(), String> {
    std::fs::write(node.path(name), text).map_err(|e| format!("{name}: {e}"))
}
