//! Texts with letters beyond ASCII, in the form in which peers hash them.
//!
//! The specification knows ASCII alone. What peers in use have in common beyond it: compatibility decomposition, small
//! letters, no accents, everything that is no letter or digit parts words, and so does a change from one block of letters
//! to another (a Japanese text has no spaces); what remains is composed again.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// A text in the form in which its words are hashed, with spaces between words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Canonical {
    /// Words that every peer takes for words.
    pub(super) sure: String,
    /// Parts of European words in which letters of several blocks meet (`smørbrød`): some peers part them there.
    pub(super) doubtful: String,
}

/// Where blocks of letters begin (Unicode, `Blocks.txt`), as far as words are written in them.
const BLOCKS: [u32; 57] = [
    0x80, 0x100, 0x180, 0x250, 0x2b0, 0x300, 0x370, 0x400, 0x500, 0x530, 0x590, 0x600, 0x700, 0x750, 0x780,
    0x900, 0x980, 0xa00, 0xa80, 0xb00, 0xb80, 0xc00, 0xc80, 0xd00, 0xd80, 0xe00, 0xe80, 0xf00, 0x1000,
    0x10a0, 0x1100, 0x1200, 0x1380, 0x13a0, 0x1400, 0x1680, 0x16a0, 0x1700, 0x1780, 0x1800, 0x1d00, 0x1e00,
    0x1f00, 0x2000, 0x3040, 0x30a0, 0x3100, 0x3130, 0x31a0, 0x31f0, 0x3400, 0x4dc0, 0x4e00, 0xa000, 0xac00,
    0xd7b0, 0xf900,
];
/// Blocks of European letters end here.
const EUROPEAN_END: char = '\u{400}';

pub(super) fn canonical(text: &[u8]) -> Canonical {
    let text: Cow<'_, str> = match std::str::from_utf8(text) {
        Ok(text) => text.into(),
        // Peers that do not write UTF-8 write Latin-1, whose bytes are the first characters of Unicode.
        Err(_) => text.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
    };
    let mut canonical = Canonical::default();
    for word in folded(&text).split(' ').filter(|word| !word.is_empty()) {
        let parted = part(word);
        let doubtful = parted.len() > 1 && word.chars().all(|c| c < EUROPEAN_END);
        let to = if doubtful { &mut canonical.doubtful } else { &mut canonical.sure };
        for part in parted {
            to.push_str(part);
            to.push(' ');
        }
    }
    canonical
}

/// Small letters and digits without accents; spaces for all else.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.nfkd() {
        match c {
            // Signs that make another letter (nukta, the voicing of kana, virama) are no accents.
            _ if is_combining_mark(c) => {
                folded.extend(matches!(canonical_combining_class(c), 7..=9).then_some(c));
            }
            'ß' | 'ẞ' => folded.push_str("ss"),
            'ς' => folded.push('σ'),
            _ if c.is_alphanumeric() => folded.extend(c.to_lowercase()),
            _ => folded.push(' '),
        }
    }
    folded.nfc().collect()
}

/// A word, parted where another block of letters begins.
fn part(word: &str) -> Vec<&str> {
    let block = |c: char| BLOCKS.partition_point(|start| *start <= u32::from(c));
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| block(c) != block(first)).unwrap_or(rest.len());
        let (part, others) = rest.split_at(end);
        parts.push(part);
        rest = others;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sure(text: &str) -> String {
        canonical(text.as_bytes()).sure.trim_end().to_owned()
    }

    #[test]
    fn accents_and_case_do_not_matter() {
        assert_eq!(sure("ÉTÉ À Zoë"), "ete a zoe");
        assert_eq!(sure("e\u{301}te\u{301}"), "ete", "composed or not");
        assert_eq!(sure("Straße ΟΔΟΣ ﬁn Ｗｉｄｅ"), "strasse οδοσ fin wide");
        assert_eq!(canonical(b"caf\xe9").sure, "cafe ", "Latin-1");
    }

    #[test]
    fn what_is_no_letter_parts_words() {
        assert_eq!(sure("l\u{2019}été—“live”"), "l ete live");
        assert_eq!(sure("Ночь №5"), "ночь no5");
    }

    #[test]
    fn blocks_part_words() {
        assert_eq!(sure("東京の夜ABC"), "東京 の 夜 abc");
        assert_eq!(sure("ガッキー"), "ガッキー", "voiced kana stay what they are");
        assert_eq!(sure("한국어"), "한국어", "syllables are composed again");
        let danish = canonical("smørbrød nu".as_bytes());
        assert_eq!((danish.sure.as_str(), danish.doubtful.as_str()), ("nu ", "sm ø rbr ø d "));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_the_form_is_stable(text in proptest::collection::vec(any::<u8>(), 0..120), latin in "\\PC{0,40}") {
            for text in [&text[..], latin.as_bytes()] {
                let once = canonical(text);
                let again = canonical(once.sure.as_bytes());
                prop_assert_eq!(&again.sure, &once.sure);
                prop_assert_eq!(again.doubtful, "");
            }
        }
    }
}
