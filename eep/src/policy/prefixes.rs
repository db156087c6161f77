//! A number for each prefix: the longest prefix around an address counts. Flat ranges, so that a table of the whole
//! Internet takes some 20 MiB and no pointers are followed.

use std::cmp::Reverse;
use std::net::IpAddr;

use ipnet::IpNet;

/// Numbers by prefix; 0 stands for none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefixes {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Ranges without gaps: each begins where the one before ends.
#[derive(Clone, Debug, Default)]
struct Ranges<T> {
    starts: Vec<T>,
    numbers: Vec<u32>,
}

impl<T: Copy + Ord + TryFrom<u128>> Ranges<T> {
    /// From first and last addresses. Of two that are the same the later counts.
    fn new(mut prefixes: Vec<(u128, u128, u32)>) -> Self {
        let mut out = Self { starts: Vec::new(), numbers: Vec::new() };
        prefixes.sort_by_key(|(first, last, _)| (*first, Reverse(*last)));
        // The prefixes around the place at hand, the widest first.
        let mut around: Vec<(u128, u32)> = Vec::new();
        for (first, last, number) in prefixes {
            out.leave(&mut around, Some(first));
            out.push(first, number);
            around.push((last, number));
        }
        out.leave(&mut around, None);
        out
    }

    /// Leaves the prefixes that end before an address; all, where there is none.
    fn leave(&mut self, around: &mut Vec<(u128, u32)>, before: Option<u128>) {
        while let Some((last, _)) = around.last().copied()
            && before.is_none_or(|before| last < before)
        {
            around.pop();
            if let Some(next) = last.checked_add(1) {
                self.push(next, around.last().map_or(0, |(_, number)| *number));
            }
        }
    }

    fn push(&mut self, start: u128, number: u32) {
        // What does not fit lies behind the last address.
        let Ok(start) = T::try_from(start) else { return };
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.numbers.pop();
        }
        if self.numbers.last().copied().unwrap_or(0) != number {
            self.starts.push(start);
            self.numbers.push(number);
        }
    }

    fn get(&self, address: T) -> u32 {
        let after = self.starts.partition_point(|start| *start <= address);
        after.checked_sub(1).map_or(0, |place| self.numbers[place])
    }
}

impl Prefixes {
    /// From prefixes with their numbers. Of two that are the same the later counts.
    pub(crate) fn new(prefixes: impl IntoIterator<Item = (IpNet, u32)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, number) in prefixes {
            match prefix {
                IpNet::V4(net) => {
                    v4.push((net.network().to_bits().into(), net.broadcast().to_bits().into(), number))
                }
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits(), number)),
            }
        }
        Self { v4: Ranges::new(v4), v6: Ranges::new(v6) }
    }

    /// The number of the longest prefix around an address.
    pub(crate) fn get(&self, address: IpAddr) -> Option<u32> {
        let number = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.get(address.to_bits()),
            IpAddr::V6(address) => self.v6.get(address.to_bits()),
        };
        (number != 0).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_prefix_counts() {
        let table = |all: &[(&str, u32)]| Prefixes::new(all.iter().map(|(p, n)| (p.parse().unwrap(), *n)));
        let some = table(&[
            ("10.1.2.0/24", 3),
            ("10.0.0.0/8", 1),
            ("10.1.0.0/16", 2),
            ("255.0.0.0/8", 9),
            ("2001:db8::/32", 4),
            ("10.1.2.0/24", 5),
        ]);
        for (address, number) in [
            ("9.255.255.255", None),
            ("10.0.0.0", Some(1)),
            ("10.1.1.255", Some(2)),
            ("10.1.2.7", Some(5)),
            ("10.1.3.0", Some(2)),
            ("10.2.0.0", Some(1)),
            ("11.0.0.0", None),
            ("255.255.255.255", Some(9)),
            ("::ffff:10.1.2.7", Some(5)),
            ("2001:db8::1", Some(4)),
            ("2001:db9::", None),
        ] {
            assert_eq!(some.get(address.parse().unwrap()), number, "{address}");
        }
        let whole = table(&[("0.0.0.0/0", 7), ("::/0", 8)]);
        assert_eq!(whole.get("255.255.255.255".parse().unwrap()), Some(7));
        assert_eq!(whole.get("ffff::".parse().unwrap()), Some(8));
        assert_eq!(Prefixes::default().get("10.0.0.1".parse().unwrap()), None);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_look_at_all(all in prop::collection::vec((0_u32..64, 26_u8..=32, 1_u32..9), 0..24)) {
            let net = |(low, len, number): &(u32, u8, u32)| {
                let address = std::net::Ipv4Addr::from(0x0a00_0000 | *low);
                (IpNet::new(address.into(), *len).unwrap().trunc(), *number)
            };
            let all: Vec<(IpNet, u32)> = all.iter().map(net).collect();
            let table = Prefixes::new(all.iter().copied());
            for low in 0..72_u32 {
                let address = IpAddr::V4(std::net::Ipv4Addr::from(0x0a00_0000 | low));
                let around = all.iter().filter(|(net, _)| net.contains(&address));
                let longest = around.max_by_key(|(net, _)| net.prefix_len()).map(|(_, number)| *number);
                prop_assert_eq!(table.get(address), longest);
            }
        }
    }
}
