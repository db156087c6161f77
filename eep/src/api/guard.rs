//! Requests that a browser was talked into.
//!
//! A page from anywhere can make a browser send requests to a loopback address, and a name that its owner lets point
//! to 127.0.0.1 even lets it read the answers (DNS rebinding). So on TCP the `Host` must be a loopback name, and an
//! `Origin`, which browsers add to what pages send, must be the API itself (RFC 6454; Fetch Metadata, `Sec-Fetch-Site`).

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

/// Refuses requests that do not come from this machine's own tools and pages.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("\u{fffd}"));
    let refuse = |what: &str, place: &'static str| {
        Err(Problem::new("foreign-request", 403, what)
            .at(place)
            .fix("address the API as http://127.0.0.1:PORT, and not from another site's page"))
    };
    let host = text(header::HOST.as_str()).unwrap_or_default();
    if !is_loopback(host) {
        return refuse("the request is addressed to another host", "Host");
    }
    if text(header::ORIGIN.as_str()).is_some_and(|origin| origin.strip_prefix("http://") != Some(host)) {
        return refuse("the request comes from another site's page", "Origin");
    }
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return refuse("the request comes from another site's page", "Sec-Fetch-Site");
    }
    Ok(())
}

/// Whether a `Host` names one of this machine's loopback addresses, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let headers =
            headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect::<HeaderMap>();
        check(&headers).err().and_then(|p| p.place)
    }

    #[test]
    fn tools_and_the_own_page_pass() {
        assert_eq!(refused(&[("host", "127.0.0.1:8346")]), None);
        assert_eq!(refused(&[("host", "[::1]:8346")]), None);
        assert_eq!(refused(&[("host", "127.9.9.9:8346")]), None);
        assert_eq!(refused(&[("host", "localhost:9000"), ("origin", "http://localhost:9000")]), None);
        assert_eq!(refused(&[("host", "127.0.0.1:1"), ("sec-fetch-site", "same-origin")]), None);
    }

    #[test]
    fn foreign_pages_and_names_do_not() {
        assert_eq!(refused(&[]), Some("Host".into()));
        for host in
            ["evil.example:8346", "127.0.0.1.evil.example", "localhost.evil:1", "0.0.0.0:8346", "127.0.0.1:x"]
        {
            assert_eq!(refused(&[("host", host)]), Some("Host".into()), "{host}");
        }
        let origin = |origin| refused(&[("host", "127.0.0.1:8346"), ("origin", origin)]);
        for foreign in ["http://evil.example", "null", "http://127.0.0.1:9999", "https://127.0.0.1:8346"] {
            assert_eq!(origin(foreign), Some("Origin".into()), "{foreign}");
        }
        assert_eq!(
            refused(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]),
            Some("Sec-Fetch-Site".into())
        );
    }
}
