//! A web: several services, where each of them is to run, and which of them speak to which, in one file.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_yaml::Spanned;

use crate::config::diagnostic::FileError;
use crate::config::mesh::loopback;
use crate::config::name::ServiceName;
use crate::config::node_file::{parse, read_text};
use crate::config::service::ServiceEntry;
use crate::host::grant::Grants;
use crate::state::placements::Where;

/// The most services of one web.
pub const MEMBERS_MAX: usize = 64;
/// The most links of one service.
pub const LINKS_MAX: usize = 16;
/// The most copies of one service.
pub const COPIES_MAX: usize = 8;

/// Several services that are placed together, or not at all.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Web {
    /// What it is called: by this name it is unloaded.
    #[schema(value_type = String)]
    pub web: ServiceName,
    /// Its services.
    pub services: Vec<Member>,
}

/// One service of a web, and where it is to run: exactly one of `at`, `near` and `region`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Member {
    /// What is to run, with a name.
    pub service: ServiceEntry,
    /// On this node and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// On the node for the users of this address or prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near: Option<String>,
    /// On the nearest node of this region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How many of it are to run, each on a node of its own, 2 to 8; they are called `NAME-1`, `NAME-2` and so on. A link to
    /// it leads to the nearest one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<usize>,
    /// The services of the web that it speaks to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

/// An address that stands for another service of the web, on whichever node that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The service.
    #[schema(value_type = String)]
    pub to: ServiceName,
    /// Where connections to it are taken: a loopback address of the node that the linking service runs on.
    #[serde(deserialize_with = "loopback")]
    #[schema(value_type = String)]
    pub listen: SocketAddr,
}

/// The same, with places for what is wrong.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WebFile {
    web: ServiceName,
    #[serde(deserialize_with = "members")]
    services: Vec<Spanned<Member>>,
}

fn members<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Spanned<Member>>, D::Error> {
    Vec::deserialize(deserializer)
}

impl Member {
    /// Where it is to run.
    ///
    /// # Errors
    /// No place is named, or several.
    pub fn place(&self) -> Result<Where, String> {
        match (&self.at, &self.near, &self.region) {
            (Some(node), None, None) => Ok(Where::At(node.clone())),
            (None, Some(prefix), None) => Ok(Where::Near(prefix.clone())),
            (None, None, Some(region)) => Ok(Where::Region(region.clone())),
            _ => Err("it is not said where this service is to run\nadd one of `at: NODE`, `near: CIDR` and \
                      `region: REGION`"
                .to_owned()),
        }
    }

    /// What it is called; it was checked that it has a name.
    fn name(&self) -> Option<&ServiceName> {
        self.service.name.as_ref()
    }

    /// What its copies are called; it itself where there are none.
    ///
    /// # Errors
    /// A copy's name would be none.
    pub fn names(&self) -> Result<Vec<ServiceName>, String> {
        let Some(name) = self.name() else { return Ok(Vec::new()) };
        match self.copies {
            None => Ok(vec![name.clone()]),
            Some(copies) => (1..=copies).map(|copy| format!("{name}-{copy}").parse()).collect(),
        }
    }

    fn check_copies(&self) -> Result<(), String> {
        match self.copies {
            Some(copies) if !(2..=COPIES_MAX).contains(&copies) => Err(format!(
                "{copies} copies are not possible\nwrite `copies: 2` to `copies: {COPIES_MAX}`, or leave it out"
            )),
            Some(_) if self.at.is_some() => {
                Err("copies run on nodes of their own, and `at` names one\nsay where they are \
                                                 to run with `near: CIDR` or `region: REGION`"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl Web {
    /// Whether other services of the web speak to this one.
    #[must_use]
    pub fn is_linked_to(&self, name: &ServiceName) -> bool {
        self.services.iter().any(|member| member.links.iter().any(|link| link.to == *name))
    }

    /// What the types alone do not hold.
    ///
    /// # Errors
    /// What is wrong, with the place of the service among the others, where it is about one.
    pub fn check(&self) -> Result<(), (Option<usize>, String)> {
        if self.services.is_empty() || self.services.len() > MEMBERS_MAX {
            let words =
                format!("a web has 1 to {MEMBERS_MAX} services, and this one {}", self.services.len());
            return Err((None, words));
        }
        let mut names: BTreeSet<&ServiceName> = BTreeSet::new();
        let mut running: BTreeSet<ServiceName> = BTreeSet::new();
        for (i, member) in self.services.iter().enumerate() {
            let wrong = |words: &str| Err((Some(i), words.to_owned()));
            let Some(name) = member.name() else {
                return wrong(
                    "this service has no name\nadd `name: …` to `service`; a web names each of its services",
                );
            };
            let twice = |name: &ServiceName| {
                format!("a second service is called `{name}`\ngive one of them another name")
            };
            if !names.insert(name) {
                return wrong(&twice(name));
            }
            member.check_copies().map_err(|words| (Some(i), words))?;
            for copy in member.names().map_err(|words| (Some(i), words))? {
                if copy == self.web || running.contains(&copy) {
                    return wrong(&twice(&copy));
                }
                running.insert(copy);
            }
        }
        if running.len() > MEMBERS_MAX {
            let words = format!(
                "with their copies, a web has up to {MEMBERS_MAX} services, and this one {}",
                running.len()
            );
            return Err((None, words));
        }
        if names.contains(&self.web) {
            let words = format!(
                "the web and one of its services are called `{}`\ngive one of them another name",
                self.web
            );
            return Err((None, words));
        }
        for (i, member) in self.services.iter().enumerate() {
            let checked = member.service.check().and_then(|()| member.place().map(drop));
            checked.and_then(|()| member.check_links(&names)).map_err(|words| (Some(i), words))?;
        }
        Ok(())
    }
}

impl Member {
    fn check_links(&self, names: &BTreeSet<&ServiceName>) -> Result<(), String> {
        if self.links.len() > LINKS_MAX {
            return Err(format!("{} links are too many\ngive at most {LINKS_MAX}", self.links.len()));
        }
        let grants = self.service.grant.as_ref().map(|grants| grants.iter().copied().collect::<Grants>());
        let mut listen = BTreeSet::new();
        for Link { to, listen: address } in &self.links {
            if !names.contains(to) || self.name() == Some(to) {
                return Err(format!(
                    "there is no other service `{to}` in this web\nlink to one of its services"
                ));
            }
            if address.port() == 0 || !listen.insert(address) {
                return Err(format!("the link to `{to}` has no address of its own\ngive each link a port"));
            }
            if grants.as_ref().is_some_and(|grants| !grants.may_connect(*address)) {
                return Err(format!(
                    "the service is not granted to connect to {address}, which is to stand for `{to}`\nadd \
                     net.connect:{}:{} to its grants",
                    address.ip(),
                    address.port()
                ));
            }
        }
        Ok(())
    }
}

/// Reads and checks the file of a web. Relative paths in it are taken from the file's own directory.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn read_web(path: &Path) -> Result<Web, Box<FileError>> {
    let text = read_text(path)?;
    let file: WebFile = parse(path, &text)?;
    let places: Vec<_> = file.services.iter().map(|member| member.referenced).collect();
    let mut web =
        Web { web: file.web, services: file.services.into_iter().map(|member| member.value).collect() };
    web.check().map_err(|(service, words)| match service.and_then(|i| places.get(i)) {
        Some(at) => FileError::at(path, &text, *at, &words),
        None => {
            let (what, fix) = words.split_once('\n').unwrap_or((&words, "correct the list `services`"));
            FileError::whole(path, what.to_owned(), fix.to_owned())
        }
    })?;
    if let Some(directory) = std::path::absolute(path).ok().as_deref().and_then(Path::parent) {
        for member in &mut web.services {
            member.service = member.service.clone().under(directory);
        }
    }
    Ok(web)
}

/// What tells a web from a service's manifest.
#[derive(Deserialize)]
struct Top {
    #[serde(default)]
    web: Option<IgnoredAny>,
}

/// Whether a text is that of a web: it has `web` at its top. One that cannot be read is none.
pub(crate) fn is_web(path: &Path, text: &str) -> bool {
    parse::<Top>(path, text).is_ok_and(|top| top.web.is_some())
}
