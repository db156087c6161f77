//! One overlay relation: handshake, framing, queues, flow control.
