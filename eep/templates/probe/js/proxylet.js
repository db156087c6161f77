// {{name}}: connects to targets again and again, and tells how long that takes. The functions of `lifecycle` are those of
// the world `service` (wit/deps/eep-proxylet/world.wit).

import { setTimer } from "eep:proxylet/clock@0.1.0";
import { write as log } from "eep:proxylet/log@0.1.0";
import { define, update } from "eep:proxylet/metrics@0.1.0";
import { close, connect } from "eep:proxylet/net@0.1.0";

// The most targets that are measured.
const TARGETS_MAX = 100;
// The token of the timer that begins a round.
const ROUND = 1;

// Each target with its address and its figures.
let targets = [];
// Times and connections are plain numbers here: exact to 104 days of nanoseconds.
let everyNs = 0;
// Connections that are being made: their target, and when they were asked for. Each of them ends by itself in the node.
const underWay = new Map();

function address(text) {
  const [, a, b, c, d, port] = /^(\d+)\.(\d+)\.(\d+)\.(\d+):(\d+)$/.exec(text) ?? [];
  // What is thrown is the reason why the service does not start.
  if (port === undefined) throw `config: targets: ${text}: write an address such as 192.0.2.1:80`;
  // In 32 bits: QuickJS hands larger numbers over as the largest that fits.
  const ip = (Number(a) << 24) | (Number(b) << 16) | (Number(c) << 8) | Number(d);
  return { ip: { tag: "ipv4", val: ip }, port: Number(port) };
}

function target(text) {
  const counter = (result) => ({
    series: define({
      name: "probe_connects_total",
      help: "Connections tried.",
      kind: "counter",
      labels: [["target", text], ["result", result]],
    }),
    count: 0,
  });
  const seconds = define({
    name: "probe_connect_seconds",
    help: "How long the last connection took.",
    kind: "gauge",
    labels: [["target", text]],
  });
  return { text, address: address(text), seconds, done: counter("done"), failed: counter("failed") };
}

// There is no series where the node had room for no more.
function set(series, value) {
  if (series !== undefined) update([[series, value]]);
}

function count(counter) {
  counter.count += 1;
  set(counter.series, counter.count);
}

function round(now) {
  setTimer(ROUND, now + everyNs);
  for (const one of targets) {
    try {
      underWay.set(connect(one.address), { target: one, begun: now });
    } catch (why) {
      log("warn", `${one.text}: ${why.payload ?? why}`);
    }
  }
}

// The attempt that ends.
function ended(conn) {
  const attempt = underWay.get(conn);
  underWay.delete(conn);
  return attempt;
}

export const lifecycle = {
  start(now, config) {
    const { targets: listed = [], every_s = 10 } = JSON.parse(config);
    if (listed.length > TARGETS_MAX) throw `config: targets: more than ${TARGETS_MAX}`;
    targets = listed.map(target);
    everyNs = Math.max(every_s, 1) * 1e9;
    log("info", `measuring ${targets.length} targets`);
    setTimer(ROUND, now);
  },

  handle(now, events, conns, lens, bytes) {
    for (const { tag, val } of events) {
      if (tag === "timer" && val === ROUND) {
        round(now);
      } else if (tag === "established") {
        close(val.conn);
        const attempt = ended(val.conn);
        if (attempt === undefined) continue;
        const seconds = (now - attempt.begun) / 1e9;
        log("info", `${attempt.target.text}: ${(seconds * 1e3).toFixed(3)} ms`);
        set(attempt.target.seconds, seconds);
        count(attempt.target.done);
      } else if (tag === "failed") {
        const attempt = ended(val.conn);
        if (attempt === undefined) continue;
        log("warn", `${attempt.target.text}: ${val.reason}`);
        count(attempt.target.failed);
      }
    }
  },

  // There is nothing to carry on with: the next instance is started.
  save() {
    return new Uint8Array();
  },

  restore(now, config, state) {
    lifecycle.start(now, config);
  },

  stop() {},
};
