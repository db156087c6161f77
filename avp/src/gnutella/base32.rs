//! Base32 of fixed lengths (RFC 4648, section 6, without padding).

use base32ct::{Base32UpperUnpadded, Encoding};

/// Digits of either case. Bits of the last digit that the bytes have no room for must be zero.
pub(super) fn decode<const DIGITS: usize, const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    let mut digits = <[u8; DIGITS]>::try_from(text).ok()?;
    digits.make_ascii_uppercase();
    let mut bytes = [0; BYTES];
    let is_whole = Base32UpperUnpadded::decode(digits, &mut bytes).is_ok_and(|read| read.len() == BYTES);
    let spares_bits = DIGITS * 5 > BYTES * 8;
    let fits = is_whole && (!spares_bits || encode(&bytes).as_bytes() == digits);
    fits.then_some(bytes)
}

/// Capital digits.
pub(super) fn encode(bytes: &[u8]) -> String {
    Base32UpperUnpadded::encode_string(bytes)
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE32_NOPAD;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_another_reader(bytes in any::<[u8; 16]>(), at in 0..26_usize, digit in any::<u8>()) {
            let mut text = encode(&bytes).into_bytes();
            prop_assert_eq!(text.clone(), BASE32_NOPAD.encode(&bytes).into_bytes());
            prop_assert_eq!(decode::<26, 16>(&text.to_ascii_lowercase()), Some(bytes));
            text[at] = digit;
            let theirs = BASE32_NOPAD.decode(&text.to_ascii_uppercase()).ok();
            prop_assert_eq!(decode::<26, 16>(&text).map(Vec::from), theirs);
            prop_assert_eq!(decode::<26, 16>(&text[1..]), None);
        }
    }
}
