//! `/v1/topology`: the mesh as this node knows it; and the same for other software, by ALTO (RFC 7285).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use crate::api::body::query;
use crate::mesh::alto::{self, AltoError, EndpointCostParams};
use crate::mesh::find::{FactsView, FoundView, parse_prefix};
use crate::mesh::views::{By, MapView, ROUTES_MAX, RegionsView, RoutesView};
use crate::node::Node;
use crate::problem::Problem;

type Answer<T> = Result<Json<T>, Box<Problem>>;

/// What to do about a query that is wrong.
const FIX: &str = "see /openapi.json for what may stand here";

/// The map: nodes and links that are known here.
#[utoipa::path(get, path = "/v1/topology/map", tag = "topology",
    responses((status = 200, body = MapView), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn map(State(node): State<Arc<Node>>) -> Answer<MapView> {
    node.mesh()?.map().await.map(Json)
}

/// The regions that nodes have clustered themselves into, and the gateways between them.
#[utoipa::path(get, path = "/v1/topology/regions", tag = "topology",
    responses((status = 200, body = RegionsView), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn regions(State(node): State<Arc<Node>>) -> Answer<RegionsView> {
    node.mesh()?.regions().await.map(Json)
}

/// Where to, and by what.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// A node: NAME, NAME@DOMAIN, or an id or its first digits.
    to: String,
    /// What the routes are to be good at; `rtt` where it is missing.
    #[serde(default)]
    by: By,
    /// How many, at most 8; 3 where it is missing.
    #[serde(default = "three")]
    count: usize,
}

fn three() -> usize {
    3
}

/// Routes to a node, with alternatives.
#[utoipa::path(get, path = "/v1/topology/routes", tag = "topology", params(Route),
    responses((status = 200, body = RoutesView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn routes(
    State(node): State<Arc<Node>>,
    asked: Result<Query<Route>, QueryRejection>,
) -> Answer<RoutesView> {
    let Route { to, by, count } = query(asked, FIX)?;
    let mesh = node.mesh()?;
    mesh.routes_to(mesh.resolve(&to).await?, by, count.clamp(1, ROUTES_MAX)).await.map(Json)
}

/// Nearest to what, and by what.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Nearest {
    /// An address or a prefix.
    to: String,
    /// What is near; `rtt` where it is missing.
    #[serde(default)]
    by: By,
}

/// The nodes for the users of a prefix, the nearest first: those that serve it, else all.
#[utoipa::path(get, path = "/v1/topology/nearest", tag = "topology", params(Nearest),
    responses((status = 200, body = FoundView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn nearest(
    State(node): State<Arc<Node>>,
    asked: Result<Query<Nearest>, QueryRejection>,
) -> Answer<FoundView> {
    let Nearest { to, by } = query(asked, FIX)?;
    let prefix = parse_prefix(&to).map_err(|words| Problem::words("bad-request", 400, &words).at("to"))?;
    node.mesh()?.nearest(prefix, by).await.map(Json)
}

/// What is looked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Find {
    /// A node (NAME, NAME@DOMAIN, an id), `service:NAME`, `sha256:HEX`, or `random`.
    what: String,
    /// By which those that are found are sorted; `rtt` where it is missing.
    #[serde(default)]
    by: By,
}

/// Looks for a node, for who offers a service, for who holds code, or for some node at random.
#[utoipa::path(get, path = "/v1/topology/find", tag = "topology", params(Find),
    responses((status = 200, body = FoundView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn find(
    State(node): State<Arc<Node>>,
    asked: Result<Query<Find>, QueryRejection>,
) -> Answer<FoundView> {
    let Find { what, by } = query(asked, FIX)?;
    node.mesh()?.find(&what, by).await.map(Json)
}

/// Asks a node about itself, over the best route that works.
#[utoipa::path(get, path = "/v1/topology/nodes/{name}", tag = "topology",
    params(("name" = String, Path, description = "NAME, NAME@DOMAIN, or an id or its first digits")),
    responses((status = 200, body = FactsView), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn node(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<FactsView> {
    node.mesh()?.node_view(&name).await.map(Json)
}

fn typed(media_type: &'static str, body: &Value) -> Response {
    ([(header::CONTENT_TYPE, media_type)], body.to_string()).into_response()
}

/// ALTO: the information resource directory.
#[utoipa::path(get, path = "/alto/directory", tag = "alto",
    responses((status = 200, body = Object, content_type = "application/alto-directory+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn alto_directory(State(node): State<Arc<Node>>) -> Result<Response, Box<Problem>> {
    node.mesh()?;
    Ok(typed(alto::DIRECTORY, &alto::directory()))
}

/// ALTO: the network map.
#[utoipa::path(get, path = "/alto/networkmap", tag = "alto",
    responses((status = 200, body = Object, content_type = "application/alto-networkmap+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn alto_network_map(State(node): State<Arc<Node>>) -> Result<Response, Box<Problem>> {
    Ok(typed(alto::NETWORK_MAP, &node.mesh()?.network_map().await))
}

/// ALTO: the cost map.
#[utoipa::path(get, path = "/alto/costmap", tag = "alto",
    responses((status = 200, body = Object, content_type = "application/alto-costmap+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn alto_cost_map(State(node): State<Arc<Node>>) -> Result<Response, Box<Problem>> {
    Ok(typed(alto::COST_MAP, &node.mesh()?.cost_map().await))
}

/// ALTO: costs between endpoints.
#[utoipa::path(post, path = "/alto/endpointcost", tag = "alto",
    request_body(content = Object, content_type = "application/alto-endpointcostparams+json"),
    responses((status = 200, body = Object, content_type = "application/alto-endpointcost+json"),
        (status = 400, body = Object, content_type = "application/alto-error+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn alto_endpoint_cost(
    State(node): State<Arc<Node>>,
    body: Bytes,
) -> Result<Response, Box<Problem>> {
    let mesh = node.mesh()?;
    let asked: Result<EndpointCostParams, AltoError> = match serde_json::from_slice::<Value>(&body) {
        Err(_) => Err(AltoError { code: "E_SYNTAX", field: None, value: None }),
        Ok(value) => serde_json::from_value(value).map_err(|e| {
            let missing = e.to_string().starts_with("missing field");
            let code = if missing { "E_MISSING_FIELD" } else { "E_INVALID_FIELD_TYPE" };
            AltoError { code, field: None, value: None }
        }),
    };
    let answer = match asked {
        Ok(asked) => mesh.endpoint_costs(&asked).await,
        Err(error) => Err(error),
    };
    Ok(match answer {
        Ok(costs) => typed(alto::ENDPOINT_COST, &costs),
        Err(error) => (StatusCode::BAD_REQUEST, typed(alto::ERROR, &error.to_json())).into_response(),
    })
}
