//! Speaking to a node's API.

use std::path::Path;

use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::BODY_BYTES_MAX;
use crate::cli::output::Failure;
use crate::problem::Problem;
use crate::state::directory::control_socket;

/// The longest line of a streamed answer that is taken, in bytes: a service with its configuration, which is shown twice
/// and may be as large as the body that set it.
const LINE_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// A node's API.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    /// What to call the node where it cannot be reached.
    place: String,
    fix: &'static str,
}

impl Client {
    /// The node that uses this data directory.
    pub(super) fn unix(data: &Path) -> Result<Self, Failure> {
        let socket = control_socket(data);
        let place = socket.display().to_string();
        let builder = reqwest::Client::builder().unix_socket(socket);
        Self::build(
            builder,
            "http://eep".to_owned(),
            place,
            "start one with `eep run`, or name another with --data DIR or --node URL",
        )
    }

    /// The node at this address.
    pub(super) fn tcp(url: &str) -> Result<Self, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        let fix = "check the address; `eep run` prints where a node's API is";
        if !(base.starts_with("http://") || base.starts_with("https://")) {
            return Err(Problem::new("bad-address", 400, "a node's address begins with http://")
                .at(url)
                .fix(fix)
                .into());
        }
        Self::build(reqwest::Client::builder(), base.clone(), base, fix)
    }

    fn build(
        builder: reqwest::ClientBuilder,
        base: String,
        place: String,
        fix: &'static str,
    ) -> Result<Self, Failure> {
        // A node is reached directly, and answers a load only once it is done: there is no time limit.
        let http = builder
            .no_proxy()
            .user_agent(concat!("eep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Problem::new("system", 500, format!("cannot begin: {e}")))?;
        Ok(Self { http, base, place, fix })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.answer(self.request(Method::GET, path)).await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let request = self.request(method, path);
        self.answer(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    /// An answer in lines of JSON, as they come.
    pub(super) async fn lines(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Lines, Failure> {
        let request = self.request(method, path).header("accept", "application/x-ndjson");
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        Ok(Lines { answer: self.reach(request).await?, buffer: Vec::new() })
    }

    /// An answer in bytes, as they come.
    pub(super) async fn stream(&self, path: &str) -> Result<Response, Failure> {
        self.reach(self.request(Method::POST, path)).await
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let body = self.reach(request).await?.bytes().await.map_err(|e| broken(&e))?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|e| self.strange(&e.to_string()))
    }

    /// Sends a request and turns a refusal into its problem.
    async fn reach(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let answer = request.send().await.map_err(|e| {
            if e.is_connect() {
                Problem::new("no-node", 503, format!("no node at {}", self.place)).fix(self.fix)
            } else {
                broken(&e).at(self.place.clone())
            }
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(Box::new(problem).into()),
            Err(_) => Err(self.strange(&format!("status {status}"))),
        }
    }

    fn strange(&self, what: &str) -> Failure {
        Problem::new("strange-answer", 502, format!("this is not the answer of a node: {what}"))
            .at(self.place.clone())
            .fix("check that an eep node of this version runs there")
            .into()
    }
}

fn broken(error: &reqwest::Error) -> Box<Problem> {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    Problem::new("broken-off", 502, format!("the node's answer broke off: {inner}"))
        .fix("see with `eep list` what was done")
}

/// A streamed answer.
#[derive(Debug)]
pub(super) struct Lines {
    answer: Response,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line; none at the end.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let read = serde_json::from_slice(&line);
                return read.map(Some).map_err(|e| {
                    Problem::new("strange-answer", 502, format!("this is not the answer of a node: {e}"))
                        .into()
                });
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(
                    Problem::new("strange-answer", 502, "the node's answer has an endless line").into()
                );
            }
            match self.answer.chunk().await.map_err(|e| broken(&e))? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}
