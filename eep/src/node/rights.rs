//! What a service is granted: what the operator lists, or what pinned code asks for.

use serde_json::{Map, Value};

use crate::config::Source;
use crate::host::grant::{Grant, Grants};
use crate::node::refusals;
use crate::problem::Problem;
use crate::proxylet::code::Code;
use crate::state::desired::Granted;

/// How far code is trusted that no grants are listed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Somebody asks for it by address: it gets nothing.
    Unpinned,
    /// The operator named these very bytes, or starts the node with them: it gets what it asks for.
    AsWanted,
}

/// Code that is to be granted something.
pub(super) struct Asked<'a> {
    pub(super) code: &'a Code,
    pub(super) url: &'a Source,
    /// The whole configuration.
    pub(super) config: &'a Map<String, Value>,
    /// What an operator types to get it, without digest and grants.
    pub(super) command: &'a str,
}

/// Decides what code is granted under a configuration.
///
/// # Errors
/// It imports what it is not granted, or asks for what is no grant. The fix is the command that would do.
pub(super) fn decide(
    asked: &Asked<'_>,
    listed: Option<&[Grant]>,
    trust: Trust,
) -> Result<(Granted, Grants), Box<Problem>> {
    let Asked { code, url, config, command } = *asked;
    let granted = match (listed, trust) {
        (Some(listed), _) => Granted::Listed(listed.to_vec()),
        (None, Trust::AsWanted) => Granted::AsWanted,
        (None, Trust::Unpinned) => Granted::Listed(Vec::new()),
    };
    let grants = of(&granted, code, url, config)?;
    if let Err(error) = code.check_grants(&grants) {
        let problem = refusals::load(url, &error);
        let wanted = of(&Granted::AsWanted, code, url, config)?;
        if wanted.is_empty() {
            return Err(problem);
        }
        let each: String = wanted.iter().map(|grant| format!(" --grant {grant}")).collect();
        let fix = format!(
            "pin the code, which grants what it asks for:\n  {command} --sha256 {}\nor list what it may reach:\n  {command}{each}",
            code.digest()
        );
        return Err(problem.fix(fix));
    }
    Ok((granted, grants))
}

/// The grants themselves, under a configuration.
pub(super) fn of(
    granted: &Granted,
    code: &Code,
    url: &Source,
    config: &Map<String, Value>,
) -> Result<Grants, Box<Problem>> {
    match granted {
        Granted::Listed(listed) => Ok(listed.iter().copied().collect()),
        Granted::AsWanted => match code.manifest().grants_wanted(config) {
            Ok(wanted) => Ok(wanted.into_iter().collect()),
            Err(error) => Err(Problem::new("bad-want", 422, error.to_string())
                .at(url.to_string())
                .fix("correct the configuration with --set, or list what it may reach with --grant")),
        },
    }
}
