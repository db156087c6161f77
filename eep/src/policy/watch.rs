//! The files of a policy's sets on disk: whether they have changed. A file that is being written is left alone until
//! it has been the same for two looks.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use policies::text::files::Files as _;

use crate::policy::files::Folder;
use crate::policy::generation::Generation;
use crate::proxylet::digest::Digest;

/// How a file was found: when it was written, how long it is, which one it is; none where there is none.
type Stamp = Option<(SystemTime, u64, u64)>;
/// By path in the policy's folder.
type Stamps = BTreeMap<String, Stamp>;

/// What was found at the last look.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    looked: Option<Stamps>,
    /// The stamps that nothing is left to be done for.
    handled: Option<Stamps>,
    main_differs: bool,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing new since the last look, or nothing that has come to rest.
    Same,
    /// Files were written, and say what they said when they were last taken or passed over.
    AsSeen,
    /// Sets say something new.
    Changed,
}

impl Watch {
    /// Looks at the files of a generation.
    pub(crate) fn look(&mut self, generation: &Generation, seen: &BTreeMap<String, Digest>) -> Look {
        let stamps = stamps(generation);
        if self.handled.as_ref() == Some(&stamps) {
            return Look::Same;
        }
        if self.looked.as_ref() != Some(&stamps) {
            self.looked = Some(stamps);
            return Look::Same;
        }
        self.handled = Some(stamps);
        let mut lie_there = digests_of(generation, |_| true);
        let main = main_of(generation);
        let own = lie_there.remove(main);
        self.main_differs = own.is_some_and(|digest| generation.texts.get(main) != Some(&digest));
        if lie_there == *seen { Look::AsSeen } else { Look::Changed }
    }

    /// Whether the policy's own file says something else than what is in force.
    pub(crate) fn main_differs(&self) -> bool {
        self.main_differs
    }
}

/// The digests of a generation's sets as they lie on disk now; those that cannot be read are left out.
pub(crate) fn digests(generation: &Generation) -> BTreeMap<String, Digest> {
    let main = main_of(generation);
    digests_of(generation, |path| path != main)
}

fn main_of(generation: &Generation) -> &str {
    generation.file.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn digests_of(generation: &Generation, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Digest> {
    let Ok((folder, _)) = Folder::of(&generation.file) else { return BTreeMap::new() };
    let paths = generation.texts.keys().filter(|path| wanted(path));
    paths.filter_map(|path| Some((path.clone(), Digest::of(folder.read(path).ok()?.as_bytes())))).collect()
}

fn stamps(generation: &Generation) -> Stamps {
    let folder = generation.file.parent().unwrap_or(Path::new("."));
    let stamp = |path: &String| {
        let meta = std::fs::metadata(folder.join(path)).ok()?;
        Some((meta.modified().ok()?, meta.len(), meta.ino()))
    };
    generation.texts.keys().map(|path| (path.clone(), stamp(path))).collect()
}
