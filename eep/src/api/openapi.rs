//! The description of the API, made from the code that serves it.

use axum::Json;
use utoipa::OpenApi;

use crate::api::{logs, node, placements, policy, record, services, topology};
use crate::node::progress::Progress;
use crate::problem::Problem;

#[derive(OpenApi)]
#[openapi(
    info(title = "eep", description = "An execution environment for proxylets: what runs on a node, and what is done to it.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        node::info, node::metrics, node::healthz, document,
        services::list, services::load, services::view, services::modify, services::unload,
        services::start, services::stop, logs::logs, record::record,
        policy::view, policy::apply, policy::confirm, policy::roll_back, policy::decisions, policy::explain,
        placements::list, placements::place, placements::view, placements::withdraw, placements::place_web,
        topology::map, topology::regions, topology::routes, topology::nearest, topology::find, topology::node,
        topology::alto_directory, topology::alto_network_map, topology::alto_cost_map, topology::alto_endpoint_cost
    ),
    components(schemas(Problem, Progress)),
    tags((name = "services", description = "Proxylets that run here"), (name = "node", description = "The node itself"),
        (name = "policies", description = "What the operator lets them do"),
        (name = "placements", description = "Proxylets that this node has placed on others"),
        (name = "topology", description = "The mesh that it is in"), (name = "alto", description = "The same for other software (RFC 7285)"))
)]
struct Api;

/// The description as OpenAPI 3.1.
#[must_use]
pub fn description() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "node", responses((status = 200, body = Object, description = "OpenAPI 3.1")))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(description())
}
