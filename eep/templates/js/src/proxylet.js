// {{name}}: answers each line that it receives. The functions of `lifecycle` are those of the world `service`
// (wit/deps/eep-proxylet/world.wit).

import { write as log } from "eep:proxylet/log@0.1.0";
import { close, connections as alive, listen, receive, send } from "eep:proxylet/net@0.1.0";

// The longest line, in bytes. A peer that sends a longer one is not worth more memory.
const LINE_BYTES_MAX = 4096;
// The version of what `save` returns.
const STATE_VERSION = 1;

// What has come of a line that is not whole yet, by connection (as text, which a saved state holds too).
const connections = new Map();
// Lines that were answered, over all restarts.
let answered = 0;

function begin(config) {
  const text = JSON.parse(config).listen ?? "127.0.0.1:7007";
  const [, a, b, c, d, port] = /^(\d+)\.(\d+)\.(\d+)\.(\d+):(\d+)$/.exec(text) ?? [];
  // What is thrown is the reason why the service does not start.
  if (port === undefined) throw `config: listen: ${text}: write an address such as 127.0.0.1:7007`;
  // In 32 bits: QuickJS hands larger numbers over as the largest that fits.
  const ip = (Number(a) << 24) | (Number(b) << 16) | (Number(c) << 8) | Number(d);
  const [, bound] = listen({ ip: { tag: "ipv4", val: ip }, port: Number(port) });
  log("info", `{{name}} on port ${bound.port}`);
}

function answer(conn, bytes) {
  const congested = send(bytes, [conn], [{ targets: 1, len: bytes.length }]);
  // It does not read what it is sent: TCP holds it back until it does.
  if (congested.length > 0) receive(conn, false);
}

function received(conn, bytes) {
  const line = connections.get(String(conn)) ?? [];
  connections.set(String(conn), line);
  for (const byte of bytes) {
    line.push(byte >= 97 && byte <= 122 ? byte - 32 : byte);
    if (byte === 10) {
      answer(conn, Uint8Array.from(line.splice(0)));
      answered += 1;
    } else if (line.length >= LINE_BYTES_MAX) {
      log("warn", `a line over ${LINE_BYTES_MAX} bytes: closing`);
      connections.delete(String(conn));
      close(conn);
      return;
    }
  }
}

export const lifecycle = {
  start(now, config) {
    begin(config);
  },

  handle(now, events, conns, lens, bytes) {
    let reception = 0;
    let at = 0;
    for (const { tag, val } of events) {
      if (tag === "received") {
        for (const end = reception + val; reception < end; reception += 1) {
          received(conns[reception], bytes.subarray(at, (at += lens[reception])));
        }
      } else if (tag === "writable") {
        receive(val, true);
      } else if (tag === "closed") {
        connections.delete(String(val.conn));
      }
    }
  },

  save() {
    const text = JSON.stringify({ version: STATE_VERSION, answered, lines: [...connections] });
    return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  },

  restore(now, config, state) {
    begin(config);
    const saved = JSON.parse(String.fromCharCode(...state));
    if (saved.version !== STATE_VERSION) throw "state: not written by this version";
    answered = saved.answered;
    // The connections that live on.
    const lives = new Set(Array.from(alive(), String));
    for (const [conn, line] of saved.lines) {
      if (lives.has(conn)) connections.set(conn, line);
    }
    log("info", `${answered} lines were answered so far`);
  },

  stop() {},
};
