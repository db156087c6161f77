//! `/v1/services/{name}/policy`: what is in force, what was, and the decisions on record.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;

use crate::api::body::Body;
use crate::api::feed::{self, Asked, Which};
use crate::api::services::whole;
use crate::node::Node;
use crate::node::policy::{Apply, PolicyHistory, RollBack};
use crate::policy::audit::Record;
use crate::policy::explain::{Explain, Explained};
use crate::policy::service::{Applied, PolicyView};
use crate::problem::Problem;

type Answer<T> = Result<Json<T>, Box<Problem>>;

/// The policy of a service and its generations.
#[utoipa::path(get, path = "/v1/services/{name}/policy", tag = "policies",
    params(("name" = String, Path, description = "The service's name")),
    responses((status = 200, body = PolicyHistory), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn view(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<PolicyHistory> {
    node.policy_history(&name).map(Json)
}

/// Apply: read a policy, check it, keep it, put it in force. Where that fails, what was in force still is.
#[utoipa::path(post, path = "/v1/services/{name}/policy", tag = "policies", request_body = Apply,
    params(("name" = String, Path, description = "The service's name")),
    responses(
        (status = 200, body = Applied, description = "It decides"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "Refused; nothing was changed"),
        (status = "5XX", body = Problem, content_type = "application/problem+json", description = "Failed; nothing was changed")))]
pub(super) async fn apply(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Body(apply): Body<Apply>,
) -> Answer<Applied> {
    whole(async move { node.apply_policy(&name, &apply).await }).await.map(Json)
}

/// Confirm a policy that goes back by itself otherwise.
#[utoipa::path(post, path = "/v1/services/{name}/policy/confirm", tag = "policies",
    params(("name" = String, Path, description = "The service's name")),
    responses((status = 200, body = PolicyView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn confirm(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<PolicyView> {
    whole(async move { node.confirm_policy(&name).await }).await.map(Json)
}

/// Roll back: put an earlier generation in force again.
#[utoipa::path(post, path = "/v1/services/{name}/policy/rollback", tag = "policies", request_body = RollBack,
    params(("name" = String, Path, description = "The service's name")),
    responses((status = 200, body = PolicyView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn roll_back(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Body(to): Body<RollBack>,
) -> Answer<PolicyView> {
    whole(async move { node.roll_back_policy(&name, to).await }).await.map(Json)
}

/// Explain a decision on record, or how an event is decided: each rule that is tried, why it does not match, which one
/// decides.
#[utoipa::path(post, path = "/v1/services/{name}/policy/explain", tag = "policies", request_body = Explain,
    params(("name" = String, Path, description = "The service's name")),
    responses((status = 200, body = Explained), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn explain(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Body(asked): Body<Explain>,
) -> Answer<Explained> {
    node.explain_policy(&name, asked).await.map(Json)
}

/// Decisions on record, one JSON object a line: refusals and what rules in shadow would have decided first, and some of
/// the others.
#[utoipa::path(get, path = "/v1/services/{name}/policy/decisions", tag = "policies",
    params(("name" = String, Path, description = "The service's name"), Which),
    responses(
        (status = 200, body = Record, content_type = "application/x-ndjson"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn decisions(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    which: Asked,
) -> Result<Response, Box<Problem>> {
    let policy = node.policy(&name)?;
    // The record is a sample: who is slow gets fewer.
    feed::answer(&node, which, |max| policy.audit().tail_and_follow(max), |_| None)
}
