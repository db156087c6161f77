//! Texts with a form of their own.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// The form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lexical {
    /// A name: letters, digits, `-` and `_`, beginning with a letter.
    Name,
    /// Words for people.
    Words,
    /// A condition or formula in CEL; read elsewhere.
    Expression,
    /// An address or a prefix.
    Cidr,
    /// An IP address.
    Address,
    /// A SHA-1 as 32 characters of base 32 or 40 hexadecimal digits, with or without `urn:sha1:`.
    Sha1,
    /// Words that a search or a file name may hold.
    Keyword,
    /// A pattern over user agents: `*` stands for any characters.
    Agent,
    /// A path below the policy's folder.
    Path,
    /// A length of time: `90s`, `10m`, `24h`, `30d`.
    Duration,
    /// A number of bytes: `512KiB`, `40TiB`.
    Volume,
    /// A bit rate: `5mbit`.
    Rate,
    /// The ending of a file name, without the dot.
    FileType,
}

/// Most characters of a name.
const NAME_CHARS_MAX: usize = 64;
/// Most characters of any text.
const TEXT_CHARS_MAX: usize = 4_096;

/// What is wrong with a text, and what to do about it.
pub type Wrong = (String, String);

fn wrong<T>(what: impl Into<String>, fix: impl Into<String>) -> Result<T, Wrong> {
    Err((what.into(), fix.into()))
}

impl Lexical {
    /// Checks a text.
    ///
    /// # Errors
    /// Where it has not this form.
    pub fn check(self, text: &str) -> Result<(), Wrong> {
        if text.len() > TEXT_CHARS_MAX {
            return wrong(format!("this text is longer than {TEXT_CHARS_MAX} bytes"), "shorten it");
        }
        match self {
            Self::Name => name(text),
            Self::Words | Self::Expression if text.trim().is_empty() => {
                wrong("a text must stand here", "add the value after the colon")
            }
            Self::Words | Self::Expression => Ok(()),
            Self::Cidr => prefix(text).map(drop),
            Self::Address => match text.parse::<IpAddr>() {
                Ok(_) => Ok(()),
                Err(_) => wrong(
                    format!("`{text}` is not an IP address"),
                    "write an address such as `192.0.2.1` or `\"2001:db8::1\"`",
                ),
            },
            Self::Sha1 => sha1(text).map(drop),
            Self::Keyword if !text.chars().any(char::is_alphanumeric) => {
                wrong(format!("`{text}` holds no word"), "write one or more words, such as `linux iso`")
            }
            Self::Keyword => Ok(()),
            Self::Agent if text.trim_matches('*').trim().is_empty() => wrong(
                format!("the pattern `{text}` matches everything"),
                "write a pattern such as `BadClient/*`",
            ),
            Self::Agent => Ok(()),
            Self::Path => crate::text::files::inside(text).map(drop).map_err(|e| (e.what, e.fix)),
            Self::Duration => duration_s(text).map(drop),
            Self::Volume => volume_bytes(text).map(drop),
            Self::Rate => rate_bit_s(text).map(drop),
            Self::FileType => file_type(text),
        }
    }

    /// The regular expression of the form for editors, where it has one.
    #[must_use]
    pub const fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Name => Some("^[A-Za-z][A-Za-z0-9_-]*$"),
            Self::Duration => Some("^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)$"),
            Self::Volume => Some("^[0-9]+(\\.[0-9]+)?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$"),
            Self::Rate => Some("^[0-9]+(\\.[0-9]+)?(bit|kbit|mbit|gbit)$"),
            Self::Sha1 => Some("^(urn:sha1:)?([A-Za-z2-7]{32}|[0-9A-Fa-f]{40})$"),
            Self::Cidr => Some("^[0-9a-fA-F.:]+(/[0-9]{1,3})?$"),
            Self::FileType => Some("^[A-Za-z0-9]{1,16}$"),
            _ => None,
        }
    }

    /// What the form is, for people.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Name => "a name: letters, digits, - and _",
            Self::Words => "words for people",
            Self::Expression => "a CEL expression over the declared facts",
            Self::Cidr => "an address or prefix, such as 10.0.0.0/8",
            Self::Address => "an IP address",
            Self::Sha1 => "a SHA-1, base 32 or hexadecimal",
            Self::Keyword => "words that must all occur, as whole words",
            Self::Agent => "a user agent; * stands for any characters",
            Self::Path => "a path below the policy's folder",
            Self::Duration => "a length of time, such as 10m, 24h, 30d",
            Self::Volume => "a number of bytes, such as 512KiB, 40TiB",
            Self::Rate => "a bit rate, such as 5mbit",
            Self::FileType => "the ending of a file name, such as iso",
        }
    }
}

fn name(text: &str) -> Result<(), Wrong> {
    let fix = format!("write a name of letters, digits, `-` and `_`, at most {NAME_CHARS_MAX} characters");
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() {
        return wrong("a name must stand here", fix);
    }
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) || !text.chars().all(good) {
        return wrong(format!("`{text}` cannot be a name"), fix);
    }
    if text.len() > NAME_CHARS_MAX {
        return wrong("this name is too long", fix);
    }
    if text == "default" {
        return wrong("`default` is the name of what happens when no rule matches", "take another name");
    }
    Ok(())
}

fn file_type(text: &str) -> Result<(), Wrong> {
    if text.is_empty() || text.len() > 16 || !text.chars().all(|c| c.is_ascii_alphanumeric()) {
        return wrong(
            format!("`{text}` cannot be the ending of a file name"),
            "write it without the dot, such as `iso`",
        );
    }
    Ok(())
}

/// The first and the last address of a prefix, in the 128-bit space; IPv4 lies in `::ffff:0:0/96`.
///
/// # Errors
/// Where the text is no prefix, or has bits set behind its length.
pub fn prefix(text: &str) -> Result<(u128, u128), Wrong> {
    let fix = "write a prefix such as `10.0.0.0/8` or `\"2001:db8::/32\"`";
    let net = if text.contains('/') {
        IpNet::from_str(text).ok()
    } else {
        text.parse::<IpAddr>().ok().map(IpNet::from)
    };
    let Some(net) = net else {
        let bad_length = text.split_once('/').is_some_and(|(ip, _)| ip.parse::<IpAddr>().is_ok());
        let why = if bad_length { ": its length is out of range" } else { "" };
        return wrong(format!("`{text}` is not an address or a prefix{why}"), fix);
    };
    let whole = net.trunc();
    if whole.addr() != net.addr() {
        return wrong(
            format!("`{text}` has bits set behind its length"),
            format!("did you mean `{whole}`, or `{}` alone?", net.addr()),
        );
    }
    Ok((number(net.network()), number(net.broadcast())))
}

/// An address as a number; IPv4 lies in `::ffff:0:0/96`.
#[must_use]
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address with a number.
#[must_use]
pub fn address(number: u128) -> IpAddr {
    Ipv6Addr::from_bits(number).to_canonical()
}

/// A SHA-1.
///
/// # Errors
/// Where the text is none.
pub fn sha1(text: &str) -> Result<[u8; 20], Wrong> {
    let digest = match text.get(..9) {
        Some(start) if start.eq_ignore_ascii_case("urn:sha1:") => &text[9..],
        _ => text,
    };
    let upper = digest.to_ascii_uppercase();
    let bytes = match digest.len() {
        32 => data_encoding::BASE32.decode(upper.as_bytes()).ok(),
        40 => data_encoding::HEXUPPER.decode(upper.as_bytes()).ok(),
        _ => None,
    };
    match bytes.and_then(|b| <[u8; 20]>::try_from(b).ok()) {
        Some(digest) => Ok(digest),
        None => wrong(
            format!("`{text}` is not a SHA-1"),
            "write 32 characters of base 32 or 40 hexadecimal digits, with or without `urn:sha1:`",
        ),
    }
}

/// A number with one of some units.
fn measured(text: &str, units: &[(&str, f64)], what: &str, example: &str) -> Result<f64, Wrong> {
    let fix = format!("write a number and a unit, such as `{example}`");
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let Ok(number) = digits.parse::<f64>() else {
        return wrong(format!("`{text}` is not {what}"), fix);
    };
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit.trim()) else {
        let known = || units.iter().map(|(name, _)| *name);
        // A unit spelt out, or cut short.
        let near = |k: &&str| !unit.is_empty() && (k.len() > 1 && k.starts_with(unit) || unit.starts_with(k));
        let said = if unit.is_empty() {
            "has no unit".to_owned()
        } else {
            format!("has no unit that is known: `{unit}`")
        };
        let fix = match known().filter(near).max_by_key(|k| k.len()) {
            Some(meant) => format!("did you mean `{digits}{meant}`?"),
            None => crate::text::nearest::choose(unit, known()),
        };
        return wrong(format!("`{text}` {said}"), fix);
    };
    Ok(number * scale)
}

/// Seconds.
///
/// # Errors
/// Where the text is no length of time.
pub fn duration_s(text: &str) -> Result<f64, Wrong> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];
    let seconds = measured(text, &units, "a length of time", "10m")?;
    if seconds <= 0.0 || seconds > 3_660.0 * 86_400.0 {
        return wrong(format!("`{text}` is out of range"), "write more than nothing and at most `3660d`");
    }
    Ok(seconds)
}

/// Bytes.
///
/// # Errors
/// Where the text is no number of bytes.
pub fn volume_bytes(text: &str) -> Result<u64, Wrong> {
    const K: f64 = 1_024.0;
    let units = [
        ("B", 1.0),
        ("kB", 1e3),
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("TB", 1e12),
        ("KiB", K),
        ("MiB", K * K),
        ("GiB", K * K * K),
        ("TiB", K * K * K * K),
    ];
    let bytes = measured(text, &units, "a number of bytes", "40TiB")?;
    if bytes > 2f64.powi(60) {
        return wrong(format!("`{text}` is out of range"), "write at most 2^60 bytes");
    }
    Ok(bytes as u64)
}

/// Bits a second.
///
/// # Errors
/// Where the text is no bit rate.
pub fn rate_bit_s(text: &str) -> Result<u64, Wrong> {
    let units = [("bit", 1.0), ("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)];
    let bits = measured(text, &units, "a bit rate", "5mbit")?;
    if !(1.0..=1e13).contains(&bits) {
        return wrong(format!("`{text}` is out of range"), "write at least `1bit` and at most `10000gbit`");
    }
    Ok(bits as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(duration_s("90s"), Ok(90.0));
        assert_eq!(duration_s("1.5h"), Ok(5_400.0));
        assert_eq!(volume_bytes("40TiB"), Ok(40 << 40));
        assert_eq!(rate_bit_s("5mbit"), Ok(5_000_000));
        assert!(duration_s("10min").unwrap_err().1.contains("did you mean `10m`"));
        assert!(duration_s("10").unwrap_err().0.contains("has no unit"));
        assert!(duration_s("0s").is_err() && duration_s("x").is_err() && duration_s("1.2.3s").is_err());
        assert!(volume_bytes("9999999TiB").is_err());
    }

    #[test]
    fn prefixes() {
        assert_eq!(prefix("10.0.0.0/8"), Ok((0xffff_0a00_0000, 0xffff_0aff_ffff)));
        assert_eq!(prefix("::1"), Ok((1, 1)));
        assert!(prefix("10.1.0.0/8").unwrap_err().1.contains("10.0.0.0/8"));
        assert!(prefix("10.0.0.0/33").unwrap_err().0.contains("length"));
        assert!(prefix("ten").is_err());
        assert_eq!(address(0xffff_0a00_0001).to_string(), "10.0.0.1");
    }

    #[test]
    fn digests() {
        let hex = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        let base32 = "3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ";
        assert_eq!(sha1(hex), sha1(&format!("URN:sha1:{}", base32.to_lowercase())));
        assert!(sha1(hex).is_ok());
        assert!(sha1("urn:sha1:").is_err() && sha1("é".repeat(16).as_str()).is_err());
    }
}
