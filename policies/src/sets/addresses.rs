//! Prefixes as flat ranges with an index of their first 16 bits.

use std::net::{IpAddr, Ipv6Addr};

use super::{Class, Classes, SetIndex};
use crate::grammar::lexical;

/// First number of the IPv4 addresses in the 128-bit space (`::ffff:0:0/96`).
const V4_START: u128 = 0xffff_0000_0000;
/// Last number of the IPv4 addresses in the 128-bit space.
const V4_END: u128 = 0xffff_ffff_ffff;

/// Addresses by class.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    classes: Classes,
    /// An address of each class; class 0 has none.
    examples: Vec<Option<IpAddr>>,
}

/// Ranges without gaps: each begins where the one before ends.
#[derive(Clone, Debug)]
struct Ranges<T> {
    starts: Vec<T>,
    classes: Vec<Class>,
    /// Where the ranges of each /16 begin: the last range that starts at or before it.
    index: Vec<u32>,
}

impl<T: Copy + Ord> Ranges<T> {
    fn new(ranges: Vec<(T, Class)>, first_of: impl Fn(u32) -> T) -> Self {
        let (starts, classes): (Vec<T>, Vec<Class>) = ranges.into_iter().unzip();
        let mut index = Vec::new();
        if starts.len() > 1 {
            index = (0..=0xffff_u32)
                .map(|high| (starts.partition_point(|s| *s <= first_of(high)).max(1) - 1) as u32)
                .chain([starts.len() as u32 - 1])
                .collect();
        }
        Self { starts, classes, index }
    }

    fn class(&self, address: T, high: usize) -> Class {
        let Some(from) = self.index.get(high) else { return self.classes.first().copied().unwrap_or(0) };
        let (from, to) = (*from as usize, self.index[high + 1] as usize);
        let inside = &self.starts[from..=to];
        let at = from + inside.partition_point(|s| *s <= address).max(1) - 1;
        self.classes[at]
    }
}

impl Addresses {
    /// From the ranges of each set, both ends included, in the 128-bit space of [`lexical::number`].
    pub(crate) fn new(sets: &[Vec<(u128, u128)>]) -> Self {
        // A sweep over all ends; `None` is the end of the space.
        let mut ends: Vec<(u128, bool, SetIndex)> = Vec::new();
        for (set, ranges) in sets.iter().enumerate() {
            for (start, end) in merged(ranges) {
                ends.push((start, true, set as SetIndex));
                if let Some(after) = end.checked_add(1) {
                    ends.push((after, false, set as SetIndex));
                }
            }
        }
        ends.sort_unstable();
        let mut classes = Classes::default();
        let mut examples = vec![None];
        let mut flat: Vec<(u128, Class)> = vec![(0, 0)];
        let mut within: Vec<SetIndex> = Vec::new();
        let mut rest = ends.as_slice();
        while let Some((at, ..)) = rest.first() {
            let here = rest.partition_point(|(start, ..)| start <= at);
            for (_, begins, set) in &rest[..here] {
                match (within.binary_search(set), begins) {
                    (Err(place), true) => within.insert(place, *set),
                    (Ok(place), false) => {
                        within.remove(place);
                    }
                    _ => {}
                }
            }
            let class = classes.of(&within);
            if examples.len() < classes.count() {
                examples.push(Some(lexical::address(*at)));
            }
            match flat.last_mut() {
                Some(last) if last.0 == *at => last.1 = class,
                Some(last) if last.1 == class => {}
                _ => flat.push((*at, class)),
            }
            rest = &rest[here..];
        }
        let at_v4 = flat.partition_point(|(start, _)| *start <= V4_START) - 1;
        let mut v4 = vec![(0, flat[at_v4].1)];
        v4.extend(
            flat.iter()
                .filter(|(start, _)| (V4_START + 1..=V4_END).contains(start))
                .map(|(start, class)| ((start - V4_START) as u32, *class)),
        );
        Self {
            v4: Ranges::new(v4, |high| high << 16),
            v6: Ranges::new(flat, |high| u128::from(high) << 112),
            classes,
            examples,
        }
    }

    /// The class of an address; 0 where it is not known.
    pub(crate) fn class(&self, address: Option<IpAddr>) -> Class {
        let v4 = |n: u32| self.v4.class(n, (n >> 16) as usize);
        match address {
            None => 0,
            Some(IpAddr::V4(a)) => v4(a.to_bits()),
            Some(IpAddr::V6(a)) => match mapped(a) {
                Some(n) => v4(n),
                None => self.v6.class(a.to_bits(), (a.to_bits() >> 112) as usize),
            },
        }
    }

    pub(crate) fn classes(&self) -> &Classes {
        &self.classes
    }

    /// An address at the start of each range.
    pub(crate) fn starts(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.v4.starts.iter().map(|n| IpAddr::V4((*n).into()));
        v4.chain(self.v6.starts.iter().map(|n| lexical::address(*n)))
    }

    /// An address of a class.
    pub(crate) fn example(&self, class: Class) -> Option<IpAddr> {
        self.examples.get(class as usize).copied().flatten()
    }
}

fn mapped(address: Ipv6Addr) -> Option<u32> {
    let bits = address.to_bits();
    (V4_START..=V4_END).contains(&bits).then_some(bits as u32)
}

/// Ranges in order, overlapping and touching ones joined.
fn merged(ranges: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
    for (start, end) in sorted {
        match out.last_mut() {
            Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => out.push((start, end)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(text: &str) -> (u128, u128) {
        lexical::prefix(text).unwrap()
    }

    fn sets_of(addresses: &Addresses, ip: &str) -> Vec<u32> {
        addresses.classes().sets(addresses.class(Some(ip.parse().unwrap()))).to_vec()
    }

    #[test]
    fn prefixes_in_prefixes() {
        let sets = [
            vec![range("10.0.0.0/8"), range("2001:db8::/32")],
            vec![range("10.1.0.0/16"), range("255.255.255.255")],
            vec![range("0.0.0.0/0")],
        ];
        let a = Addresses::new(&sets);
        assert_eq!(sets_of(&a, "10.0.0.1"), [0, 2]);
        assert_eq!(sets_of(&a, "10.1.255.255"), [0, 1, 2]);
        assert_eq!(sets_of(&a, "10.2.0.0"), [0, 2]);
        assert_eq!(sets_of(&a, "255.255.255.255"), [1, 2]);
        assert_eq!(sets_of(&a, "::ffff:10.1.0.0"), [0, 1, 2]);
        assert_eq!(sets_of(&a, "2001:db8::1"), [0]);
        assert_eq!(sets_of(&a, "2001:db9::"), [0u32; 0]);
        assert_eq!(a.class(None), 0);
        for class in 1..a.classes().count() as Class {
            assert_eq!(a.class(a.example(class)), class);
        }
        assert_eq!(Addresses::new(&[]).class(Some([1, 2, 3, 4].into())), 0);
    }

    proptest! {
        #[test]
        fn ranges_answer_as_prefixes_do(
            sets in prop::collection::vec(prop::collection::vec((any::<u32>(), 4u32..=32), 0..6), 0..5),
            probes in prop::collection::vec(any::<u32>(), 32),
        ) {
            let ranges: Vec<Vec<(u128, u128)>> = sets.iter().map(|set| set.iter().map(|(ip, length)| {
                let mask = u32::MAX << (32 - length).min(31) << u32::from(*length == 0);
                let start = ip & mask;
                (V4_START + u128::from(start), V4_START + u128::from(start | !mask))
            }).collect()).collect();
            let addresses = Addresses::new(&ranges);
            let edges = ranges.iter().flatten().flat_map(|(s, e)| [*s, *e, s.wrapping_sub(1), e + 1])
                .filter(|n| (V4_START..=V4_END).contains(n)).map(|n| n as u32);
            for probe in probes.into_iter().chain(edges) {
                let n = V4_START + u128::from(probe);
                let wanted: Vec<u32> = (0..ranges.len() as u32)
                    .filter(|s| ranges[*s as usize].iter().any(|(start, end)| (*start..=*end).contains(&n)))
                    .collect();
                let class = addresses.class(Some(std::net::Ipv4Addr::from_bits(probe).into()));
                prop_assert_eq!(addresses.classes().sets(class), &wanted[..]);
            }
        }
    }
}
