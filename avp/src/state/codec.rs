//! How plain values are written and read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use super::{Damaged, Reader, Writer};
use crate::application::routes::LinkId;
use crate::gnutella::Guid;
use crate::gnutella::headers::Version;
use crate::host::{ConnId, Instant};
use crate::link::Role;

/// What can be written to a state and read from it.
pub(crate) trait Saved: Sized {
    fn save(&self, to: &mut Writer);
    /// Fails where the bytes cannot be what [`Self::save`] wrote.
    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged>;
}

/// Makes a struct [`Saved`] whose fields all are. They are written in the order in which they are named, and a field that
/// is not named is an error of the compiler.
macro_rules! saved {
    ($type:ty { $($field:tt),+ $(,)? }) => {
        impl $crate::state::Saved for $type {
            fn save(&self, to: &mut $crate::state::Writer) {
                $($crate::state::Saved::save(&self.$field, to);)+
            }

            fn load(from: &mut $crate::state::Reader<'_>) -> Result<Self, $crate::state::Damaged> {
                Ok(Self { $($field: from.load()?),+ })
            }
        }
    };
}

/// Makes an enum without fields [`Saved`], by its place in a list of all its values.
macro_rules! choice {
    ($type:ty, $all:expr) => {
        impl $crate::state::Saved for $type {
            fn save(&self, to: &mut $crate::state::Writer) {
                let place = $all.iter().position(|one| one == self);
                to.raw(&[place.unwrap_or_default() as u8]);
            }

            fn load(from: &mut $crate::state::Reader<'_>) -> Result<Self, $crate::state::Damaged> {
                let [place] = from.array()?;
                $all.get(usize::from(place)).copied().ok_or(from.damaged())
            }
        }
    };
}

pub(crate) use {choice, saved};

macro_rules! number {
    ($($type:ty),+) => {$(
        impl Saved for $type {
            #[inline]
            fn save(&self, to: &mut Writer) {
                to.raw(&self.to_le_bytes());
            }

            #[inline]
            fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
                Ok(Self::from_le_bytes(from.array()?))
            }
        }
    )+};
}

number!(u8, u16, u32, u64, u128, f32, f64);

saved!(Instant { 0 });
saved!(ConnId { 0 });
saved!(Version { major, minor });
saved!(LinkId { index, serial });
choice!(Role, [Role::Leaf, Role::Ultrapeer, Role::Old]);
choice!(bool, [false, true]);

impl Saved for Guid {
    fn save(&self, to: &mut Writer) {
        to.raw(&self.0);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        from.array().map(Self)
    }
}

impl Saved for Ipv4Addr {
    fn save(&self, to: &mut Writer) {
        to.raw(&self.octets());
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        from.array::<4>().map(Self::from)
    }
}

impl Saved for IpAddr {
    fn save(&self, to: &mut Writer) {
        match self {
            Self::V4(ip) => {
                to.raw(&[4]);
                ip.save(to);
            }
            Self::V6(ip) => {
                to.raw(&[6]);
                to.raw(&ip.octets());
            }
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        match from.array()? {
            [4] => Ok(from.load::<Ipv4Addr>()?.into()),
            [6] => Ok(Ipv6Addr::from(from.array::<16>()?).into()),
            _ => Err(from.damaged()),
        }
    }
}

impl Saved for SocketAddrV4 {
    fn save(&self, to: &mut Writer) {
        self.ip().save(to);
        self.port().save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self::new(from.load()?, from.load()?))
    }
}

impl Saved for SocketAddr {
    fn save(&self, to: &mut Writer) {
        self.ip().save(to);
        self.port().save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self::new(from.load()?, from.load()?))
    }
}

impl<T: Saved> Saved for Option<T> {
    fn save(&self, to: &mut Writer) {
        self.is_some().save(to);
        if let Some(value) = self {
            value.save(to);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        if from.load()? { from.load().map(Some) } else { Ok(None) }
    }
}

impl<A: Saved, B: Saved> Saved for (A, B) {
    fn save(&self, to: &mut Writer) {
        self.0.save(to);
        self.1.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok((from.load()?, from.load()?))
    }
}

impl<T: Saved + Copy + Default, const N: usize> Saved for [T; N] {
    fn save(&self, to: &mut Writer) {
        self.iter().for_each(|one| one.save(to));
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut all = [T::default(); N];
        for one in &mut all {
            *one = from.load()?;
        }
        Ok(all)
    }
}

impl Saved for Box<str> {
    fn save(&self, to: &mut Writer) {
        to.len_of(self.len());
        to.raw(self.as_bytes());
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        from.load::<String>().map(String::into_boxed_str)
    }
}

impl Saved for String {
    fn save(&self, to: &mut Writer) {
        to.len_of(self.len());
        to.raw(self.as_bytes());
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let at = from.damaged();
        let len = from.len_of(1, usize::MAX)?;
        String::from_utf8(from.raw(len)?.to_vec()).map_err(|_| at)
    }
}
