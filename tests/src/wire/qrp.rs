//! Query routing tables: hashing, building, sending and receiving them.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::{Guid, Message, kind};

/// Most slots that a receiver here keeps, as the strictest peer in use does.
const SLOTS_MAX: usize = 1 << 21;
/// Bytes of a table that go into one PATCH, unless that makes more of them than can be numbered.
const PATCH_BYTES: usize = 1_024;
/// The PATCHes of a table are numbered in one byte.
const PATCHES_MAX: usize = 255;

/// The slot of a word in a table of `1 << bits` slots (QRP 3.2).
#[must_use]
pub fn hash(word: &str, bits: u8) -> u32 {
    let mut folded = 0_u32;
    for (i, byte) in word.to_lowercase().bytes().enumerate() {
        folded ^= u32::from(byte) << ((i & 3) * 8);
    }
    folded.wrapping_mul(0x4F1B_BCDC) >> (32 - u32::from(bits))
}

/// The words of a text that go into a table: three letters and more.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| w.chars().count() >= 3).map(str::to_lowercase)
}

/// How a table is sent.
#[derive(Clone, Copy, Debug)]
pub struct QrpShape {
    /// log2 of the number of slots.
    pub bits: u8,
    /// Width of a patch entry: 1, 2, 4 or 8.
    pub entry_bits: u8,
    pub zlib: bool,
}

impl Default for QrpShape {
    /// What today's leaves send.
    fn default() -> Self {
        Self { bits: 16, entry_bits: 4, zlib: true }
    }
}

/// A table of words.
#[derive(Clone, Debug)]
pub struct QrpTable {
    shape: QrpShape,
    present: Vec<bool>,
}

impl QrpTable {
    #[must_use]
    pub fn new(shape: QrpShape) -> Self {
        Self { shape, present: vec![false; 1 << shape.bits] }
    }

    /// Adds one indivisible word, such as a urn.
    pub fn add(&mut self, word: &str) {
        self.present[hash(word, self.shape.bits) as usize] = true;
    }

    /// Adds the words of a file name, and each with up to three trailing letters removed.
    pub fn add_name(&mut self, name: &str) {
        for word in words(name) {
            for cut in 0..=3 {
                let stem: String = word.chars().take(word.chars().count().saturating_sub(cut)).collect();
                if stem.len() >= 3 {
                    self.add(&stem);
                }
            }
        }
    }

    /// RESET and PATCHes that give an empty receiver this table.
    #[must_use]
    pub fn messages(&self, guid: impl Fn() -> Guid) -> Vec<Message> {
        let infinity = if self.shape.entry_bits <= 2 { 2_u8 } else { 7 };
        let mut reset = vec![0];
        reset.extend_from_slice(&(self.present.len() as u32).to_le_bytes());
        reset.push(infinity);
        let bits = usize::from(self.shape.entry_bits);
        // An entry goes from infinity to 1 by adding 1 - infinity; at one bit it is flipped.
        let step = if bits == 1 { 1 } else { 1_u8.wrapping_sub(infinity) & (0xFF >> (8 - bits)) };
        let mut data = vec![0_u8; self.present.len() * bits / 8];
        for slot in (0..self.present.len()).filter(|s| self.present[*s]) {
            let at = slot * bits;
            data[at / 8] |= step << (8 - bits - at % 8);
        }
        if self.shape.zlib {
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
            zlib.write_all(&data).expect("writing to memory");
            data = zlib.finish().expect("writing to memory");
        }
        let parts: Vec<&[u8]> = data.chunks(PATCH_BYTES.max(data.len().div_ceil(PATCHES_MAX))).collect();
        let mut out = vec![Message::new(guid(), kind::QRP, 1, reset)];
        for (i, part) in parts.iter().enumerate() {
            let mut patch =
                vec![1, i as u8 + 1, parts.len() as u8, u8::from(self.shape.zlib), self.shape.entry_bits];
            patch.extend_from_slice(part);
            out.push(Message::new(guid(), kind::QRP, 1, patch));
        }
        out
    }
}

/// A receiver of tables.
#[derive(Debug, Default)]
pub struct Patcher {
    infinity: u8,
    slots: Vec<u8>,
    pending: Vec<u8>,
    /// How many complete tables or updates have come.
    pub updates: u32,
}

impl Patcher {
    /// Takes a QRP message's payload.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, payload: &[u8]) -> Result<(), String> {
        match payload {
            [0, a, b, c, d, infinity] => {
                let slots = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                if !slots.is_power_of_two() || slots > SLOTS_MAX {
                    return Err(format!("RESET to {slots} slots"));
                }
                self.infinity = *infinity;
                self.slots = vec![*infinity; slots];
                self.pending.clear();
                Ok(())
            }
            [1, seq, size, compressor, bits, data @ ..] => {
                if self.slots.is_empty() {
                    return Err("PATCH before RESET".to_owned());
                }
                self.pending.extend_from_slice(data);
                if seq < size {
                    return Ok(());
                }
                let data = std::mem::take(&mut self.pending);
                self.apply(&data, *compressor, *bits)
            }
            _ => Err(format!("{} bytes that are neither RESET nor PATCH", payload.len())),
        }
    }

    fn apply(&mut self, data: &[u8], compressor: u8, bits: u8) -> Result<(), String> {
        if ![1, 2, 4, 8].contains(&bits) {
            return Err(format!("entries of {bits} bits"));
        }
        let want = self.slots.len() * usize::from(bits) / 8;
        let data = if compressor == 1 {
            let mut plain = Vec::new();
            let limit = want as u64 + 1;
            ZlibDecoder::new(data).take(limit).read_to_end(&mut plain).map_err(|e| e.to_string())?;
            plain
        } else {
            data.to_vec()
        };
        if data.len() != want {
            return Err(format!("{} bytes of entries where the table has {want}", data.len()));
        }
        let bits = usize::from(bits);
        for (slot, value) in self.slots.iter_mut().enumerate() {
            let at = slot * bits;
            let raw = data[at / 8] << (at % 8) >> (8 - bits);
            if bits == 1 {
                *value =
                    if raw == 0 { *value } else { 1_u8.wrapping_add(self.infinity).wrapping_sub(*value) };
            } else {
                // Sign-extended.
                let delta = (raw << (8 - bits)) as i8 >> (8 - bits);
                *value = value.wrapping_add_signed(delta);
            }
        }
        self.updates += 1;
        Ok(())
    }

    /// log2 of the number of slots, once there is a table.
    #[must_use]
    pub fn bits(&self) -> Option<u8> {
        (!self.slots.is_empty()).then(|| self.slots.len().ilog2() as u8)
    }

    /// Whether the table has this word.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.bits().is_some_and(|bits| self.slots[hash(word, bits) as usize] < self.infinity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_gives_the_specifications_vectors() {
        assert_eq!(hash("", 13), 0);
        assert_eq!(hash("eb", 13), 6791);
        assert_eq!(hash("ebc", 13), 7082);
        assert_eq!(hash("ebck", 13), 6698);
        assert_eq!(hash("ebcklmenq", 13), 3527);
        assert_eq!(hash("ebcklmenqrs", 16), hash("EBCKLMENQRS", 16));
    }

    #[test]
    fn a_table_arrives_whole_in_every_width() {
        for entry_bits in [1, 2, 4, 8] {
            for zlib in [false, true] {
                let mut table = QrpTable::new(QrpShape { bits: 12, entry_bits, zlib });
                table.add_name("Walrus Concertos.mp3");
                let mut there = Patcher::default();
                for message in table.messages(|| [1; 16]) {
                    there.take(&message.payload).expect("a good table");
                }
                let at = format!("{entry_bits} bits, zlib {zlib}");
                assert_eq!(there.updates, 1, "{at}");
                assert!(there.has("walrus") && there.has("concertos") && there.has("concert"), "{at}");
                assert!(!there.has("zebra"), "{at}");
            }
        }
    }
}
