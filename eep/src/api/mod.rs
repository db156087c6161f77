//! The HTTP API: the only way into a node. The command line uses nothing else.
//!
//! | module | what |
//! | --- | --- |
//! | [`serve`] | the control socket and the loopback address |
//! | `services`, `placements`, `policy`, `logs`, `record`, `node`, `topology` | what can be asked |
//! | `guard` | requests that a browser was talked into |
//! | `body` | bodies in, problems out |
//! | `feed` | lines out, the last ones and each new one |
//! | `bounded` | how many may be connected |
//! | [`openapi`] | the description, made from the code |
//! | `page` | what a browser shows |

mod body;
mod bounded;
mod feed;
mod guard;
mod logs;
mod node;
pub mod openapi;
mod page;
mod placements;
mod policy;
mod record;
pub mod serve;
mod services;
mod topology;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::node::Node;
use crate::problem::Problem;

/// The largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// Every path of the API.
pub fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/healthz", get(node::healthz))
        .route("/metrics", get(node::metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/v1/node", get(node::info))
        .route("/v1/services", get(services::list).post(services::load))
        .route("/v1/services/{name}", get(services::view).patch(services::modify).delete(services::unload))
        .route("/v1/services/{name}/start", post(services::start))
        .route("/v1/services/{name}/stop", post(services::stop))
        .route("/v1/services/{name}/logs", get(logs::logs))
        .route("/v1/placements", get(placements::list).post(placements::place))
        .route("/v1/placements/{name}", get(placements::view).delete(placements::withdraw))
        .route("/v1/webs", post(placements::place_web))
        .route("/v1/topology/map", get(topology::map))
        .route("/v1/topology/regions", get(topology::regions))
        .route("/v1/topology/routes", get(topology::routes))
        .route("/v1/topology/nearest", get(topology::nearest))
        .route("/v1/topology/find", get(topology::find))
        .route("/v1/topology/nodes/{name}", get(topology::node))
        .route("/alto/directory", get(topology::alto_directory))
        .route("/alto/networkmap", get(topology::alto_network_map))
        .route("/alto/costmap", get(topology::alto_cost_map))
        .route("/alto/endpointcost", post(topology::alto_endpoint_cost))
        .route("/v1/services/{name}/policy", get(policy::view).post(policy::apply))
        .route("/v1/services/{name}/policy/confirm", post(policy::confirm))
        .route("/v1/services/{name}/policy/rollback", post(policy::roll_back))
        .route("/v1/services/{name}/policy/decisions", get(policy::decisions))
        .route("/v1/services/{name}/policy/explain", post(policy::explain))
        .route("/v1/services/{name}/record", post(record::record))
        .fallback(async || no_such_path())
        .method_not_allowed_fallback(async || wrong_method())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(node)
}

fn no_such_path() -> Box<Problem> {
    Problem::new("no-such-path", 404, "the API has no such path")
        .fix("see /openapi.json for those that there are")
}

fn wrong_method() -> Box<Problem> {
    Problem::new("wrong-method", 405, "this path has other methods")
        .fix("see /openapi.json for those that it has")
}
