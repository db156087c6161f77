//! The word that was probably meant.

/// How many edits a misspelt word may be away from the one that is meant.
const EDITS_MAX: usize = 3;

/// The known word that is closest to a misspelt one, where one is close.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .filter(|k| k.len().abs_diff(lower.len()) <= EDITS_MAX)
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k))
        .filter(|(edits, k)| *edits <= EDITS_MAX.min(k.len() / 2))
        .min()
        .map(|(_, k)| k)
}

/// `did you mean X?` and what else there is, or what there is.
#[must_use]
pub fn choose<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// More words than this are not listed.
    const LISTED_MAX: usize = 16;
    let known: Vec<&str> = known.into_iter().collect();
    let listed: Vec<String> = known.iter().take(LISTED_MAX).map(|k| format!("`{k}`")).collect();
    let more = if known.len() > LISTED_MAX { ", …" } else { "" };
    match (nearest(word, known.iter().copied()), listed.is_empty()) {
        (Some(meant), _) => format!("did you mean `{meant}`? Possible here: {}{more}", listed.join(", ")),
        (None, false) => format!("possible here: {}{more}", listed.join(", ")),
        (None, true) => "there is none to choose from yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_words() {
        let known = ["customers", "abusers", "cs3"];
        assert_eq!(nearest("custmers", known), Some("customers"));
        assert_eq!(nearest("Abusers", known), Some("abusers"));
        assert_eq!(nearest("csx", known), Some("cs3"));
        assert_eq!(nearest("xyz", known), None);
        assert_eq!(choose("x", []), "there is none to choose from yet");
    }
}
