use proptest::collection::vec;
use proptest::prelude::*;

use super::{Damaged, PackedWords, Reader, Saved, Writer};
use crate::gnutella::Guid;
use crate::host::Instant;
use std::net::SocketAddr;
use std::sync::Arc;

#[test]
fn a_message_that_waits_in_many_places_is_written_once_and_is_one_again() {
    let (long, other): (Arc<[u8]>, Arc<[u8]>) = (vec![7; 10_000].into(), vec![8; 10].into());
    let mut to = Writer::default();
    for message in [&long, &other, &long, &long] {
        to.shared(message);
    }
    let bytes = to.finish();
    assert!(bytes.len() < 10_100);
    let mut from = Reader::new(&bytes);
    let all: Vec<Arc<[u8]>> = (0..4).map(|_| from.shared(10_000).unwrap()).collect();
    assert_eq!(from.finish(), Ok(()));
    assert!(all[0] == long && all[1] == other && Arc::ptr_eq(&all[0], &all[3]));
    assert_eq!(Reader::new(&bytes).shared(9_999), Err(Damaged(4)));
}

#[test]
fn a_length_that_cannot_be_asks_for_no_memory() {
    let bytes = u32::MAX.to_le_bytes();
    assert_eq!(Reader::new(&bytes).list::<u8, Vec<_>>(usize::MAX), Err(Damaged(0)));
    assert_eq!(Reader::new(&bytes).load::<String>(), Err(Damaged(0)));
    let buffer = [u32::MAX.to_le_bytes(), 0_u32.to_le_bytes()].concat();
    assert_eq!(Reader::new(&buffer).buffer(9), Err(Damaged(0)));
}

#[test]
fn places_are_told_from_the_beginning_of_the_whole() {
    let mut to = Writer::default();
    to.section(3, 1, |to| 5_u8.save(to));
    to.section(4, 2, |to| 7_u8.save(to));
    let bytes = to.finish();
    let mut from = Reader::new(&bytes);
    from.section().unwrap();
    let (tag, version, mut second) = from.section().unwrap();
    assert_eq!((tag, version, second.load::<bool>()), (4, 2, Err(Damaged(14))));
}

type Everything = ((bool, Option<Instant>), ([u16; 3], (SocketAddr, Option<Guid>)));

proptest! {
    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_refused(
        flag: bool, at: Option<u64>, numbers: [u16; 3], ip: std::net::IpAddr, port: u16, guid: Option<[u8; 16]>,
    ) {
        let all: Everything =
            ((flag, at.map(Instant)), (numbers, (SocketAddr::new(ip, port), guid.map(Guid))));
        let mut to = Writer::default();
        all.save(&mut to);
        let bytes = to.finish();
        let mut from = Reader::new(&bytes);
        prop_assert_eq!(from.load::<Everything>(), Ok(all));
        prop_assert_eq!(from.finish(), Ok(()));
        for len in 0..bytes.len() {
            prop_assert!(Reader::new(&bytes[..len]).load::<Everything>().is_err());
        }
    }

    #[test]
    fn words_come_back_and_empty_ones_cost_next_to_nothing(
        sparse in vec((0_usize..1_000, any::<u64>()), 0..60), len in 1_usize..1_000,
    ) {
        let mut words = vec![0; len];
        sparse.iter().for_each(|(n, word)| words[n % len] = *word);
        let mut to = Writer::default();
        to.words(&words);
        let bytes = to.finish();
        let used = words.iter().filter(|word| **word != 0).count();
        prop_assert_eq!(bytes.len(), 8 * (used + len.div_ceil(64)));
        let mut back = vec![0; len];
        let mut from = Reader::new(&bytes);
        from.words(&mut back).unwrap();
        prop_assert_eq!(from.finish(), Ok(()));
        prop_assert_eq!(&back, &words);
        let mut told = 0;
        let mut from = Reader::new(&bytes);
        let PackedWords { words: packed, starts } =
            from.packed_words(len, |n, word| told += usize::from(words[n] == word)).unwrap();
        prop_assert_eq!(from.finish(), Ok(()));
        prop_assert_eq!((packed.as_flattened(), told), (&*bytes, used));
        for (group, start) in words.chunks(64).zip(&starts) {
            let set = u64::from_le_bytes(packed[*start as usize]);
            prop_assert!(group.iter().enumerate().all(|(n, word)| (set >> n & 1 != 0) == (*word != 0)));
        }
        prop_assert_eq!(starts.len(), len.div_ceil(64));
    }

    #[test]
    fn words_beyond_the_end_are_refused(mask in 1_u64..) {
        let mut to = Writer::default();
        mask.save(&mut to);
        [1_u64; 64].save(&mut to);
        let len = 64 - mask.leading_zeros() as usize;
        let bytes = to.finish();
        let mut words = vec![0; len - 1];
        prop_assert!(Reader::new(&bytes).words(&mut words).is_err() || len == 1);
    }
}
