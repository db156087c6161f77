"""{{name}}: answers each line that it receives.

The methods of Lifecycle are those of the world `service` (wit/deps/eep-proxylet/world.wit).
"""

import ipaddress
import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import net, types

# The longest line, in bytes. A peer that sends a longer one is not worth more memory.
LINE_BYTES_MAX = 4096
# The version of what `save` returns.
STATE_VERSION = 1

# What has come of a line that is not whole yet, by connection.
connections: dict[int, bytearray] = {}
# Lines that were answered, over all restarts.
answered = 0


def begin(config: str) -> None:
    text = json.loads(config).get("listen", "127.0.0.1:7007")
    host, _, port = text.rpartition(":")
    try:
        ip = types.IpAddress_Ipv4(int(ipaddress.IPv4Address(host)))
        _, bound = net.listen(types.SocketAddress(ip, int(port)))
    except ValueError as why:
        raise Err(f"config: listen: {text}: {why}")
    except Err as why:
        raise Err(f"listen: {text}: {why.value.name}")
    print(f"{{name}} on port {bound.port}")


def answer(conn: int, line: bytes) -> None:
    congested = net.send(line, [conn], [net.Segment(1, len(line))])
    if congested:
        # It does not read what it is sent: TCP holds it back until it does.
        net.receive(conn, False)


def received(conn: int, data: bytes) -> None:
    global answered
    unfinished = connections.setdefault(conn, bytearray())
    unfinished += data
    while (end := unfinished.find(b"\n")) >= 0:
        answer(conn, bytes(unfinished[: end + 1]).upper())
        del unfinished[: end + 1]
        answered += 1
    if len(unfinished) > LINE_BYTES_MAX:
        print(f"a line over {LINE_BYTES_MAX} bytes: closing")
        del connections[conn]
        net.close(conn)


class Lifecycle(exports.Lifecycle):
    def start(self, now: int, config: str) -> None:
        begin(config)

    def handle(self, now, events, conns, lens, bytes) -> None:
        reception = at = 0
        for event in events:
            match event:
                case types.Event_Received(count):
                    for _ in range(count):
                        received(conns[reception], bytes[at : at + lens[reception]])
                        at += lens[reception]
                        reception += 1
                case types.Event_Writable(conn):
                    net.receive(conn, True)
                case types.Event_Closed(ended):
                    connections.pop(ended.conn, None)

    def save(self) -> bytes:
        lines = {conn: line.hex() for conn, line in connections.items()}
        return json.dumps({"version": STATE_VERSION, "answered": answered, "lines": lines}).encode()

    def restore(self, now: int, config: str, state: bytes) -> None:
        global answered
        begin(config)
        saved = json.loads(state)
        if saved["version"] != STATE_VERSION:
            raise Err("state: not written by this version")
        answered = saved["answered"]
        # The connections that live on.
        for conn in net.connections():
            connections[conn] = bytearray.fromhex(saved["lines"].get(str(conn), ""))
        print(f"{answered} lines were answered so far")

    def stop(self) -> None:
        pass
