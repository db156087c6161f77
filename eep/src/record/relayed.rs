//! What a proxylet hands on, written as what it was given and where both differ.
//!
//! Of what a peer in a network sends, most is what it has just received, with a few bytes changed. So what a proxylet asks
//! is written as a patch of its call: over and over, a number of bytes of its own, these bytes, how far to go in the call
//! from where the last copy ended, and how many bytes to copy from there. The numbers are written by `postcard`.
//!
//! Relayed messages stand in the same order on both sides: what follows a copy is looked for where the copy ended, after a
//! few bytes that were changed in place, and then a little ahead, since some messages are not relayed. Nothing is hashed and
//! nothing is searched for byte by byte; so this costs less than the copies of the bytes that it saves.

use memchr::memmem;
use serde::Deserialize;

use crate::record::entry::encode;

/// The shortest run of bytes that is copied.
const COPY_MIN: usize = 8;
/// Bytes that may be changed in place before what follows is looked for elsewhere.
const CHANGED_MAX: usize = 4;
/// Bytes by which it is looked for.
const NEEDLE: usize = 16;
/// Bytes ahead in which it is looked for.
const AHEAD: usize = 8 << 10;
/// Numbers below it are one byte as `postcard` writes them; those with a sign, doubled.
const SHORT: usize = 0x80;
/// Searches in a row that find nothing, after which no more are made.
const MISSES_MAX: u32 = 8;

/// Appends a patch that makes `target` of `source`, where the first copy is looked for from `from` on.
pub(crate) fn diff(source: &[u8], from: usize, target: &[u8], out: &mut Vec<u8>) {
    let (mut at, mut done, mut copied_to, mut next) = (from, 0, 0, 0);
    let mut misses = 0;
    while target.len() - next >= COPY_MIN {
        let same = common(&source[at..], &target[next..]);
        if same >= COPY_MIN {
            put(out, next - done);
            out.extend_from_slice(&target[done..next]);
            match at.checked_sub(copied_to) {
                Some(ahead) if ahead < SHORT / 2 => out.push(2 * ahead as u8),
                _ => encode(out, &(at as i64 - copied_to as i64)),
            }
            put(out, same);
            (at, next, misses) = (at + same, next + same, 0);
            (done, copied_to) = (next, at);
            continue;
        }
        if let Some(changed) = changed_in_place(&source[at..], &target[next..]) {
            (at, next) = (at + changed, next + changed);
            continue;
        }
        let Some(needle) = target.get(next..next + NEEDLE).filter(|_| misses < MISSES_MAX) else { break };
        let ahead = &source[at..source.len().min(at + AHEAD)];
        match memmem::find(ahead, needle) {
            Some(further) => at += further,
            None => {
                next += (NEEDLE << misses).min(target.len() - next);
                misses += 1;
            }
        }
    }
    if done < target.len() {
        put(out, target.len() - done);
        out.extend_from_slice(&target[done..]);
    }
}

/// Appends what a patch makes of `source`, at most `max` bytes; whether it is one.
pub(crate) fn apply(source: &[u8], mut patch: &[u8], max: usize, out: &mut Vec<u8>) -> bool {
    let end = out.len().saturating_add(max);
    let mut at = 0_u64;
    let mut step = || -> Option<bool> {
        if patch.is_empty() {
            return Some(false);
        }
        let own = usize::try_from(take::<u64>(&mut patch)?).ok()?;
        let bytes = patch.split_off(..own)?;
        if bytes.len() > end - out.len() {
            return None;
        }
        out.extend_from_slice(bytes);
        if patch.is_empty() {
            return Some(false);
        }
        at = at.checked_add_signed(take(&mut patch)?)?;
        let copied = source
            .get(usize::try_from(at).ok()?..)?
            .get(..usize::try_from(take::<u64>(&mut patch)?).ok()?)?;
        if copied.len() > end - out.len() {
            return None;
        }
        out.extend_from_slice(copied);
        at += copied.len() as u64;
        Some(true)
    };
    loop {
        match step() {
            Some(true) => {}
            Some(false) => return true,
            None => return false,
        }
    }
}

/// Writes a number, as a byte where it is short: nearly all are.
fn put(out: &mut Vec<u8>, number: usize) {
    if number < SHORT {
        out.push(number as u8);
    } else {
        encode(out, &(number as u64));
    }
}

/// How many bytes both begin with.
fn common(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8));
    let mut same = 0;
    for (a, b) in words {
        let differ = word(a) ^ word(b);
        if differ != 0 {
            return same + differ.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

/// After how many bytes both go on alike.
fn changed_in_place(a: &[u8], b: &[u8]) -> Option<usize> {
    let (a, b) = (a.get(..CHANGED_MAX + COPY_MIN)?, b.get(..CHANGED_MAX + COPY_MIN)?);
    (1..=CHANGED_MAX).find(|n| word(&a[*n..]) == word(&b[*n..]))
}

fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

fn take<'a, T: Deserialize<'a>>(from: &mut &'a [u8]) -> Option<T> {
    let (number, rest) = postcard::take_from_bytes(from).ok()?;
    *from = rest;
    Some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patch(source: &[u8], from: usize, target: &[u8]) -> Vec<u8> {
        let mut patch = Vec::new();
        diff(source, from, target, &mut patch);
        patch
    }

    fn applied(source: &[u8], patch: &[u8], max: usize) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        apply(source, patch, max, &mut out).then(|| out.split_off(6))
    }

    /// Messages as peers send them, and what of them is relayed: most, each with two bytes changed.
    fn traffic() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let message = (any::<[u8; 16]>(), "[a-z ]{10,60}", 0..10_u8);
        prop::collection::vec(message, 1..60).prop_map(|messages| {
            let (mut given, mut asked) = (b"call".to_vec(), b"net.send".to_vec());
            for (guid, words, fate) in messages {
                let head = |ttl, hops| [&guid[..], &[0x80, ttl, hops], words.as_bytes()].concat();
                given.extend(head(3, 1));
                match fate {
                    0 => {}
                    1 => asked.extend_from_slice(words.as_bytes()),
                    _ => asked.extend(head(2, 2)),
                }
            }
            (given, asked)
        })
    }

    #[test]
    fn what_is_relayed_takes_few_bytes() {
        let messages: Vec<Vec<u8>> = (0..200_u64)
            .map(|i| {
                let guid = i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
                [&guid, &guid[..], &[0x80, 3, 1], format!("words of query {i}").as_bytes()].concat()
            })
            .collect();
        let given = messages.concat();
        let relay = |keep: &dyn Fn(usize) -> bool| {
            let kept = messages.iter().enumerate().filter(|(i, _)| keep(*i));
            let relayed = kept.flat_map(|(_, m)| [&m[..17], &[m[17] - 1, m[18] + 1], &m[19..]].concat());
            relayed.collect::<Vec<u8>>()
        };
        for asked in [relay(&|_| true), relay(&|i| i % 3 != 0)] {
            let patch = patch(&given, 0, &asked);
            assert!(patch.len() < asked.len() / 4, "{} of {}", patch.len(), asked.len());
            assert_eq!(applied(&given, &patch, asked.len()), Some(asked));
        }
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_bytes_it_was_made_for(
            (source, target) in prop_oneof![
                traffic(),
                (prop::collection::vec(0..3_u8, 0..200), prop::collection::vec(0..3_u8, 0..200)),
                (prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(any::<u8>(), 0..200)),
            ],
            from: prop::sample::Index,
        ) {
            let patch = patch(&source, from.index(source.len() + 1), &target);
            prop_assert_eq!(applied(&source, &patch, target.len()), Some(target.clone()));
            if !target.is_empty() {
                prop_assert_eq!(applied(&source, &patch, target.len() - 1), None);
            }
        }

        #[test]
        fn any_patch_is_bounded(
            source in prop::collection::vec(any::<u8>(), 0..100),
            patch in prop::collection::vec(prop_oneof![0..9_u8, any::<u8>()], 0..60),
        ) {
            let made = applied(&source, &patch, 500);
            prop_assert!(made.is_none_or(|made| made.len() <= 500));
        }
    }
}
