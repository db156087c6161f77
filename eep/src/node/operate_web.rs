//! What is done to all services of a web at a time, from the node that has placed it.

use futures_util::future::join_all;
use serde_json::Value;

use crate::node::Node;
use crate::problem::Problem;

impl Node {
    /// The services of a web that this node has placed; none where there is no web of this name.
    pub(super) fn members_of_web(&self, name: &str) -> Result<Option<Vec<String>>, Box<Problem>> {
        let placements = self.state.placements()?;
        let of_web = placements.iter().filter(|p| p.web.as_ref().is_some_and(|web| web.as_str() == name));
        let members: Vec<String> = of_web.map(|p| p.name.to_string()).collect();
        Ok((!members.is_empty()).then_some(members))
    }

    /// Starts or stops each service of a web, side by side; how all of them are then.
    ///
    /// # Errors
    /// Which of them could not be, and why. The others are.
    pub(super) async fn each_of_web(
        &self,
        web: &str,
        members: &[String],
        start: bool,
    ) -> Result<Value, Box<Problem>> {
        let done = if start { "started" } else { "stopped" };
        let acted = members.iter().map(|name| async move {
            let did = if start { self.start_placed(name).await } else { self.stop_placed(name).await };
            (name, did)
        });
        let acted = join_all(acted).await;
        let failed: Vec<_> =
            acted.iter().filter_map(|(name, did)| Some((name, did.as_ref().err()?))).collect();
        let Some((_, first)) = failed.first() else {
            let status = self.placed_status(web).await?;
            return serde_json::to_value(&status).map_err(|e| Problem::new("internal", 500, e.to_string()));
        };
        let whys: Vec<String> = failed.iter().map(|(name, why)| format!("{name}: {}", why.title)).collect();
        let others = acted.len() - failed.len();
        let title = format!("of the web {web}, {others} of {} are {done}: {}", acted.len(), whys.join("; "));
        Err(Problem::new(&first.code, first.status, title).fix(format!(
            "see with `eep status {web}` how each of them is, and try again: what is {done} stays so"
        )))
    }
}

/// That a web is several services, of which each has to be named.
pub(super) fn one_by_one(web: &str, members: &[String], done: &str, verb: &str) -> Box<Problem> {
    let title = format!("{web} is a web: its services are {done} one by one, and are {}", members.join(", "));
    let first = members.first().map_or("NAME", String::as_str);
    Problem::new("is-a-web", 409, title).fix(format!("name the service, as in `eep {verb} {first}`"))
}
