//! Which node a verb means.

use std::path::PathBuf;

use clap::Args;

use crate::cli::client::Client;
use crate::cli::output::Failure;
use crate::config::ServiceName;
use crate::config::node_file::DATA_DIR;
use crate::node::policy::MESH;
use crate::node::refusals::no_such;

/// The node, and how its answer is shown.
#[derive(Args, Debug)]
pub(super) struct Target {
    /// The data directory of a node on this machine; it is reached through the control socket in it.
    #[arg(long, value_name = "DIR", default_value = DATA_DIR, conflicts_with = "node", help_heading = "Node")]
    data: PathBuf,
    /// The address of a node's API, such as http://127.0.0.1:8346.
    #[arg(long, value_name = "URL", help_heading = "Node")]
    node: Option<String>,
    /// Answer in JSON.
    #[arg(long, help_heading = "Node")]
    pub(super) json: bool,
}

impl Target {
    pub(super) fn client(&self) -> Result<Client, Failure> {
        match &self.node {
            Some(url) => Client::tcp(url),
            None => Client::unix(&self.data),
        }
    }
}

/// Where the API has a service, a web, or the policy of the mesh: a name that none of them can have is not looked for.
pub(super) fn path_of(name: &str) -> Result<String, Failure> {
    if name == MESH || name.parse::<ServiceName>().is_ok() {
        return Ok(format!("/v1/services/{name}"));
    }
    Err(no_such(name).into())
}

/// Runs a verb's requests.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
        crate::problem::Problem::new("system", 500, format!("cannot begin: {e}"))
            .fix("check this user's limits: ulimit -a")
    })?;
    runtime.block_on(work)
}
