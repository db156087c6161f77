//! Patterns over user agents.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{Class, Classes, Found, SetIndex, seeded};

/// Bytes of a user agent that count; the rest is cut off.
const AGENT_BYTES_MAX: usize = 256;

/// User agents by class. A user agent may be in several classes at once.
#[derive(Clone, Debug)]
pub(crate) struct Agents {
    /// Patterns without `*`.
    whole: HashMap<String, Class, ahash::RandomState>,
    /// Patterns with one `*`, at the end: by their length without it.
    starts: Vec<(usize, HashMap<String, Class, ahash::RandomState>)>,
    /// All others, as the parts between the `*`.
    others: Vec<(Vec<String>, Class)>,
    classes: Classes,
    /// A text of each entry, with its class.
    texts: Vec<(Class, Box<str>)>,
}

impl Agents {
    /// From the patterns of each set.
    pub(crate) fn new(sets: &[Vec<String>]) -> Self {
        let mut classes = Classes::default();
        let mut known: HashMap<String, Class, ahash::RandomState> = HashMap::with_hasher(seeded());
        for (set, patterns) in sets.iter().enumerate() {
            for pattern in patterns {
                let class = known.entry(pattern.to_lowercase()).or_insert(0);
                let of = classes.sets(*class);
                if of.last() != Some(&(set as SetIndex)) {
                    let more: Vec<SetIndex> = of.iter().copied().chain([set as SetIndex]).collect();
                    *class = classes.of(&more);
                }
            }
        }
        let mut out = Self {
            whole: HashMap::with_hasher(seeded()),
            starts: Vec::new(),
            others: Vec::new(),
            texts: Vec::with_capacity(known.len()),
            classes,
        };
        for (pattern, class) in known {
            out.texts.push((class, pattern.replace('*', "").into()));
            match pattern.split_once('*') {
                None => {
                    out.whole.insert(pattern, class);
                }
                Some((start, "")) => {
                    let at = out.starts.iter().position(|(length, _)| *length == start.len());
                    let at = at.unwrap_or_else(|| {
                        out.starts.push((start.len(), HashMap::with_hasher(seeded())));
                        out.starts.len() - 1
                    });
                    out.starts[at].1.insert(start.to_owned(), class);
                }
                Some(_) => out.others.push((pattern.split('*').map(str::to_owned).collect(), class)),
            }
        }
        out.texts.sort_unstable();
        out
    }

    /// The classes of a user agent, rising, none twice.
    pub(crate) fn find(&self, agent: &str, found: &mut Found) {
        found.clear();
        if self.classes.count() == 1 || agent.is_empty() {
            return;
        }
        let agent = folded(agent);
        let agent = agent.as_str();
        found.extend(self.whole.get(agent).copied());
        for (length, table) in &self.starts {
            found.extend(agent.get(..*length).and_then(|start| table.get(start)).copied());
        }
        found.extend(self.others.iter().filter(|(parts, _)| matches(parts, agent)).map(|(_, class)| *class));
        found.sort_unstable();
        found.dedup();
    }

    pub(crate) fn classes(&self) -> &Classes {
        &self.classes
    }

    /// A user agent of a class; empty where there is none.
    pub(crate) fn example(&self, class: Class) -> &str {
        let at = self.texts.partition_point(|(c, _)| *c < class);
        self.texts.get(at).filter(|(c, _)| *c == class).map_or("", |(_, text)| text)
    }

    /// A text of each entry.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|(_, text)| &**text)
    }
}

/// A user agent in lower case, without an allocation where it is as short as they are.
fn folded(agent: &str) -> Folded {
    let mut end = agent.len().min(AGENT_BYTES_MAX);
    while !agent.is_char_boundary(end) {
        end -= 1;
    }
    let agent = &agent[..end];
    if agent.is_ascii() {
        Folded::Ascii(agent.bytes().map(|b| b.to_ascii_lowercase()).collect())
    } else {
        Folded::Other(agent.to_lowercase())
    }
}

enum Folded {
    Ascii(SmallVec<[u8; 64]>),
    Other(String),
}

impl Folded {
    fn as_str(&self) -> &str {
        match self {
            Self::Ascii(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
            Self::Other(text) => text,
        }
    }
}

/// Whether a text is these parts with anything between them.
fn matches(parts: &[String], text: &str) -> bool {
    let [first, inner @ .., last] = parts else { return false };
    let Some(mut rest) = text.strip_prefix(first.as_str()).and_then(|t| t.strip_suffix(last.as_str())) else {
        return false;
    };
    inner.iter().all(|part| match rest.find(part.as_str()) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let lists: Vec<Vec<String>> = [&["BadClient/*", "Exact/1.0"][..], &["*spy*", "badclient/*", "a*b*c"]]
            .iter()
            .map(|set| set.iter().map(|s| (*s).to_owned()).collect())
            .collect();
        let agents = Agents::new(&lists);
        let sets = |agent: &str| {
            let mut found = Found::new();
            agents.find(agent, &mut found);
            let mut sets: Vec<u32> = found.iter().flat_map(|c| agents.classes().sets(*c).to_vec()).collect();
            sets.sort_unstable();
            sets.dedup();
            sets
        };
        assert_eq!(sets("BADCLIENT/2.1"), [0, 1]);
        assert_eq!(sets("exact/1.0"), [0]);
        assert_eq!(sets("exact/1.0.1"), [0u32; 0]);
        assert_eq!(sets("LimeSpy 1"), [1]);
        assert_eq!((sets("a-b-c"), sets("abc"), sets("ab")), (vec![1], vec![1], vec![]));
        assert_eq!((sets(""), sets("badclient")), (vec![], vec![]));
        for class in 1..agents.classes().count() as Class {
            let mut found = Found::new();
            agents.find(agents.example(class), &mut found);
            assert!(found.contains(&class));
        }
    }
}
