//! Writing packet captures: IPv4 and TCP around recorded bytes.

use std::net::SocketAddrV4;

use super::{Recording, Side};

/// Raw IP packets (<https://www.tcpdump.org/linktypes.html>).
const LINKTYPE_RAW: u32 = 101;
/// Most payload of a segment, as on an Ethernet.
const SEGMENT: usize = 1_460;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// A capture file with each connection from its SYN to its FINs, one after the other.
///
/// A header block (lines that end with an empty one) is followed by a new segment, as it is between real peers: a
/// dissector that goes by segments can tell it from the binary messages behind it.
pub(super) fn write(recordings: &[Recording]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
    file.extend_from_slice(&2_u16.to_le_bytes());
    file.extend_from_slice(&4_u16.to_le_bytes());
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(&65_535_u32.to_le_bytes());
    file.extend_from_slice(&LINKTYPE_RAW.to_le_bytes());
    let mut clock_us = 0;
    for recording in recordings {
        Flow { file: &mut file, clock_us: &mut clock_us, recording, sequence: [1_000, 2_000] }.write();
    }
    file
}

struct Flow<'a> {
    file: &'a mut Vec<u8>,
    clock_us: &'a mut u32,
    recording: &'a Recording,
    /// The next byte of the dialler and of the acceptor.
    sequence: [u32; 2],
}

impl Flow<'_> {
    fn write(mut self) {
        self.packet(Side::Dialler, SYN, &[]);
        self.packet(Side::Acceptor, SYN | ACK, &[]);
        self.packet(Side::Dialler, ACK, &[]);
        for (side, bytes) in &self.recording.chunks {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (segment, after) = rest.split_at(segment_len(rest));
                self.packet(*side, PSH | ACK, segment);
                rest = after;
            }
        }
        self.packet(Side::Dialler, FIN | ACK, &[]);
        self.packet(Side::Acceptor, FIN | ACK, &[]);
        self.packet(Side::Dialler, ACK, &[]);
    }

    fn packet(&mut self, side: Side, flags: u8, payload: &[u8]) {
        let (us, them) = (side as usize, 1 - side as usize);
        let ends = [self.recording.dialler, self.recording.acceptor];
        let acknowledged = if flags & ACK == 0 { 0 } else { self.sequence[them] };
        let packet = ip_tcp(ends[us], ends[them], self.sequence[us], acknowledged, flags, payload);
        self.sequence[us] =
            self.sequence[us].wrapping_add(payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0));
        *self.clock_us += 10;
        let len = packet.len() as u32;
        for field in [*self.clock_us / 1_000_000, *self.clock_us % 1_000_000, len, len] {
            self.file.extend_from_slice(&field.to_le_bytes());
        }
        self.file.extend_from_slice(&packet);
    }
}

/// How much of `bytes` goes into one segment.
fn segment_len(bytes: &[u8]) -> usize {
    let text = bytes.starts_with(b"GNUTELLA") || bytes.starts_with(b"GET ") || bytes.starts_with(b"HTTP/");
    let block = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|i| i + 4);
    match block {
        Some(end) if text => end.min(SEGMENT),
        _ => bytes.len().min(SEGMENT),
    }
}

fn ip_tcp(
    from: SocketAddrV4,
    to: SocketAddrV4,
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut tcp = Vec::with_capacity(20 + payload.len());
    tcp.extend_from_slice(&from.port().to_be_bytes());
    tcp.extend_from_slice(&to.port().to_be_bytes());
    tcp.extend_from_slice(&sequence.to_be_bytes());
    tcp.extend_from_slice(&acknowledged.to_be_bytes());
    tcp.extend_from_slice(&[5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend_from_slice(payload);
    let mut pseudo = Vec::with_capacity(12 + tcp.len());
    pseudo.extend_from_slice(&from.ip().octets());
    pseudo.extend_from_slice(&to.ip().octets());
    pseudo.extend_from_slice(&[0, 6]);
    pseudo.extend_from_slice(&(tcp.len() as u16).to_be_bytes());
    pseudo.extend_from_slice(&tcp);
    let sum = checksum(&pseudo);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());

    let mut ip = vec![0x45, 0];
    ip.extend_from_slice(&(20 + tcp.len() as u16).to_be_bytes());
    ip.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
    ip.extend_from_slice(&from.ip().octets());
    ip.extend_from_slice(&to.ip().octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.extend_from_slice(&tcp);
    ip
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
