//! The capability `topology`: the mesh as the node sees it.

use std::rc::Weak;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::spawn_local;

use crate::host::bindings::eep::proxylet::topology::{self, Found, Link, Metric, Node, View, Way};
use crate::host::bindings::eep::proxylet::types::Event;
use crate::host::{Env, Host};
use crate::mesh::find::{parse_id, parse_prefix};
use crate::mesh::snapshot::Snapshot;
use crate::mesh::views::By;

/// The newest view, and each one after it.
pub(crate) type Views = watch::Receiver<Option<Arc<Snapshot>>>;

/// What a service has of the views: nothing before it has asked.
#[derive(Debug, Default)]
pub(crate) struct Watching(Option<Views>);

fn by(metric: Metric) -> By {
    match metric {
        Metric::Rtt => By::Rtt,
        Metric::Throughput => By::Throughput,
        Metric::Load => By::Load,
    }
}

fn found(nodes: Vec<(::topology::NodeId, Option<f64>)>) -> Vec<Found> {
    nodes.into_iter().map(|(id, cost)| Found { id: id.to_string(), cost }).collect()
}

impl Env {
    /// The newest view. With the first question the service begins to be told of others.
    fn view(&self) -> Option<Arc<Snapshot>> {
        let mut watching = self.watching.borrow_mut();
        if watching.0.is_none() {
            let mut views = self.door.views()?;
            views.mark_unchanged();
            watching.0 = Some(views.clone());
            spawn_local(tell(Weak::clone(&self.this), views));
        }
        watching.0.as_ref().and_then(|views| views.borrow().clone())
    }
}

/// Tells a service of each new view, for as long as it is there.
async fn tell(env: Weak<Env>, mut views: Views) {
    while views.changed().await.is_ok() {
        let version = views.borrow_and_update().as_ref().map_or(0, |view| view.version);
        let Some(env) = env.upgrade() else { return };
        let mut inbox = env.inbox.borrow_mut();
        // A service that does not keep up hears of a later one.
        if !inbox.is_full() {
            inbox.push(Event::TopologyChanged(version));
        }
    }
}

impl topology::Host for Host {
    fn map(&mut self) -> View {
        let Some(view) = self.env.view() else {
            return View { version: 0, me: String::new(), nodes: Vec::new(), links: Vec::new() };
        };
        let nodes = view.map.nodes.iter().map(|node| {
            let facts = parse_id(&node.node.id).and_then(|id| view.facts.get(&id));
            let name = node.node.name.as_ref().zip(node.node.domain.as_ref());
            Node {
                id: node.node.id.clone(),
                name: name.map(|(name, domain)| format!("{name}@{domain}")),
                region: node.region.clone(),
                prefixes: facts
                    .map(|f| f.prefixes.iter().map(ToString::to_string).collect())
                    .unwrap_or_default(),
                services: facts.map(|facts| facts.services.clone()).unwrap_or_default(),
                rtt_ms: node.rtt_ms,
                load: facts.map(|facts| facts.load).or(node.load),
            }
        });
        let links = view.map.links.iter().map(|link| Link {
            from: link.from.clone(),
            to: link.to.clone(),
            rtt_ms: link.rtt_ms,
            throughput_kbps: link.throughput_kbps,
        });
        View {
            version: view.version,
            me: view.map.me.id.clone(),
            nodes: nodes.collect(),
            links: links.collect(),
        }
    }

    fn nearest(&mut self, to: String, metric: Metric) -> Vec<Found> {
        match (self.env.view(), parse_prefix(&to)) {
            (Some(view), Ok(prefix)) => found(view.nearest(prefix, by(metric))),
            _ => Vec::new(),
        }
    }

    fn region(&mut self, region: Option<String>, metric: Metric) -> Vec<Found> {
        self.env.view().map(|view| found(view.region(region.as_deref(), by(metric)))).unwrap_or_default()
    }

    fn route(&mut self, to: String, metric: Metric) -> Option<Way> {
        let (view, to) = (self.env.view()?, parse_id(&to)?);
        let route = view.route(to, by(metric))?;
        let nodes = route.nodes.iter().map(|node| node.id.clone()).collect();
        Some(Way { nodes, cost: route.cost })
    }
}
