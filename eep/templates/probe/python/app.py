"""{{name}}: connects to targets again and again, and tells how long that takes.

The methods of Lifecycle are those of the world `service` (wit/deps/eep-proxylet/world.wit).
"""

import ipaddress
import json
from dataclasses import dataclass
from typing import Optional

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import clock, metrics, net, types

# The most targets that are measured.
TARGETS_MAX = 100
# The token of the timer that begins a round.
ROUND = 1


@dataclass
class Counter:
    series: Optional[int]
    count: int = 0

    def up(self) -> None:
        self.count += 1
        update(self.series, self.count)


@dataclass
class Target:
    text: str
    address: types.SocketAddress
    seconds: Optional[int]
    done: Counter
    failed: Counter


targets: list[Target] = []
every_ns = 0
# Connections that are being made: their target, and when they were asked for. Each of them ends by itself in the node.
under_way: dict[int, tuple[Target, int]] = {}


def update(series: Optional[int], value: float) -> None:
    # There is no series where the node had room for no more.
    if series is not None:
        metrics.update([(series, float(value))])


def counter(text: str, result: str) -> Counter:
    labels = [("target", text), ("result", result)]
    return Counter(
        metrics.define(metrics.Metric("probe_connects_total", "Connections tried.", metrics.Kind.COUNTER, labels))
    )


def target(text: str) -> Target:
    host, _, port = text.rpartition(":")
    try:
        ip = types.IpAddress_Ipv4(int(ipaddress.IPv4Address(host)))
        address = types.SocketAddress(ip, int(port))
    except ValueError as why:
        raise Err(f"config: targets: {text}: {why}")
    labels = [("target", text)]
    help = "How long the last connection took."
    seconds = metrics.define(metrics.Metric("probe_connect_seconds", help, metrics.Kind.GAUGE, labels))
    return Target(text, address, seconds, counter(text, "done"), counter(text, "failed"))


def round_of(now: int) -> None:
    clock.set_timer(ROUND, now + every_ns)
    for one in targets:
        try:
            under_way[net.connect(one.address)] = (one, now)
        except Err as why:
            print(f"{one.text}: {why.value.name}")


class Lifecycle(exports.Lifecycle):
    def start(self, now: int, config: str) -> None:
        global targets, every_ns
        settings = json.loads(config)
        listed = settings.get("targets", [])
        if len(listed) > TARGETS_MAX:
            raise Err(f"config: targets: more than {TARGETS_MAX}")
        targets = [target(text) for text in listed]
        every_ns = max(settings.get("every_s", 10), 1) * 1_000_000_000
        print(f"measuring {len(targets)} targets")
        clock.set_timer(ROUND, now)

    def handle(self, now, events, conns, lens, bytes) -> None:
        for event in events:
            match event:
                case types.Event_Timer(token) if token == ROUND:
                    round_of(now)
                case types.Event_Established(established):
                    net.close(established.conn)
                    if attempt := under_way.pop(established.conn, None):
                        one, begun = attempt
                        seconds = (now - begun) / 1e9
                        print(f"{one.text}: {seconds * 1e3:.3f} ms")
                        update(one.seconds, seconds)
                        one.done.up()
                case types.Event_Failed(ended):
                    if attempt := under_way.pop(ended.conn, None):
                        one, _ = attempt
                        print(f"{one.text}: {ended.reason.name}")
                        one.failed.up()

    def save(self) -> bytes:
        # There is nothing to carry on with: the next instance is started.
        return b""

    def restore(self, now: int, config: str, state: bytes) -> None:
        self.start(now, config)

    def stop(self) -> None:
        pass
