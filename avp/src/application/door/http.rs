//! HTTP on the Gnutella port: a web cache at `/gwc` (and `/`), a push proxy, and a word for those who are lost.

use std::net::{SocketAddr, SocketAddrV4};

use rand_chacha::ChaCha12Rng;

use super::{Door, Presence};
use crate::cache::hosts::{Report, is_public};
use crate::gnutella::Guid;
use crate::gnutella::gwc;
use crate::gnutella::handshake::{Block, Method, Start};
use crate::gnutella::http::{Answer, Resource, Target};
use crate::host::Instant;

/// Where the web cache is. `/` serves as well, for clients that are given nothing but host and port.
pub const WEB_CACHE_PATH: &str = "/gwc";

/// What to do for a request. The connection is closed after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// To be sent.
    pub bytes: Vec<u8>,
    /// To be passed on.
    pub push: Option<PushOrder>,
}

/// A push that somebody has asked us for over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushOrder {
    /// Who is to connect.
    pub servent: Guid,
    /// For which of its files.
    pub file: u32,
    /// To whom.
    pub to: SocketAddrV4,
}

impl Door {
    /// Answers an HTTP request. `reaches` tells whether a push can be passed on to a servent: whether it is a neighbour.
    pub fn http(
        &mut self,
        now: Instant,
        from: SocketAddr,
        head: &Block,
        presence: &mut Presence<'_>,
        rng: &mut ChaCha12Rng,
        reaches: impl FnOnce(Guid) -> bool,
    ) -> Reply {
        let answer = |code, reason| Answer::new(code, reason, presence.server);
        let Start::Request { method, ref target, .. } = head.start else {
            return answer(400, "Bad Request").into_reply(Method::Get);
        };
        if !self.http.pass(now) {
            return answer(503, "Busy").header("Retry-After", 60).into_reply(method);
        }
        let target = Target::parse(target);
        if is_web_cache(target.path) {
            return web_cache(now, from, &target, presence, rng).into_reply(method);
        }
        match target.resource() {
            Resource::PushProxy { servent, file } => {
                let node = head.headers.addr("X-Node").filter(|a| presence.hosts.is_usable((*a).into()));
                let Some(to) = node else {
                    return answer(400, "X-Node with a public IP:PORT is missing").into_reply(method);
                };
                if is_public(from.ip()) && from.ip().to_canonical() != *to.ip() {
                    // Nobody is to be connected to who has not asked.
                    return answer(403, "X-Node is not the address of the request").into_reply(method);
                }
                if !reaches(servent) {
                    return answer(410, "Servent not connected").into_reply(method);
                }
                let push = PushOrder { servent, file: file.unwrap_or(0), to };
                Reply { push: Some(push), ..answer(202, "Push sent").into_reply(method) }
            }
            Resource::Malformed => answer(400, "Malformed request").into_reply(method),
            _ => answer(404, "Not Found").into_reply(method),
        }
    }
}

trait IntoReply {
    fn into_reply(self, method: Method) -> Reply;
}

impl IntoReply for Answer {
    fn into_reply(self, method: Method) -> Reply {
        Reply { bytes: self.finish(method), push: None }
    }
}

fn is_web_cache(path: &str) -> bool {
    path == "/" || path.strip_suffix('/').unwrap_or(path) == WEB_CACHE_PATH
}

fn web_cache(
    now: Instant,
    from: SocketAddr,
    target: &Target<'_>,
    presence: &mut Presence<'_>,
    rng: &mut ChaCha12Rng,
) -> Answer {
    let server = presence.server;
    let ok = Answer::new(200, "OK", server);
    let Some(request) = gwc::Request::parse(target) else {
        let text =
            format!("{server}: a Gnutella ultrapeer.\nHosts to connect to: {WEB_CACHE_PATH}?hostfile=1\n");
        return ok.body("text/plain", text);
    };
    // Whoever offers somebody else's address may have nothing good in mind.
    if let Some(offered) = request.offered_host
        && from.ip().to_canonical() == *offered.ip()
    {
        presence.hosts.heard(now, offered.into(), Report::default(), rng);
    }
    let hosts = if request.hosts { presence.recommend(now, gwc::ENTRIES_MAX, rng) } else { Vec::new() };
    ok.body("text/plain", request.answer(server, &hosts, &[]))
}
