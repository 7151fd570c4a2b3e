use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use mesh_test::serve::{Serving, any_port, serve};
use mesh_tower::BoxError;
use serde_json::Value;
use tokio::sync::Notify;

use super::asked;

/// How long copies are waited for; those that come take a millisecond.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request as a cluster's server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) cluster: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authority: String,
    pub(super) headers: HeaderMap,
}

/// A server for each cluster; all answer alike.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    serving: BTreeMap<String, Serving>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Debug, Default)]
struct State {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    seen: Vec<Seen>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    async fn answer(
        &self,
        cluster: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, BoxError> {
        let (head, body) = request.into_parts();
        body.collect().await?;
        let host = head.headers.get(header::HOST).map(|host| host.as_bytes());
        let seen = Seen {
            cluster: cluster.to_owned(),
            method: head.method.to_string(),
            path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            authority: String::from_utf8_lossy(host.unwrap_or_default()).into_owned(),
            headers: head.headers,
        };
        let mut state = self.state();
        state.seen.push(seen);
        self.more.notify_one();
        let mut response = Response::new(Full::from(state.body.clone()));
        *response.status_mut() = state.status;
        *response.headers_mut() = state.headers.clone();
        Ok(response)
    }
}

impl Upstreams {
    /// Where the server of that cluster listens.
    pub(super) async fn address(&mut self, cluster: &str) -> SocketAddr {
        if let Some(serving) = self.serving.get(cluster) {
            return serving.address();
        }
        let (name, shared) = (cluster.to_owned(), self.shared.clone());
        let service = tower::service_fn(move |request| {
            let (name, shared) = (name.clone(), shared.clone());
            async move { shared.answer(&name, request).await }
        });
        let serving = serve(any_port(), service).await;
        let address = serving.address();
        self.serving.insert(cluster.to_owned(), serving);
        address
    }

    /// What they answer from now on, 200 when null; nothing was seen yet.
    pub(super) fn answer_with(&self, response: &Value) {
        let mut state = self.shared.state();
        let status = response["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let status = status.map_or(Ok(StatusCode::OK), StatusCode::from_u16);
        state.status = status.expect("a record's status");
        state.headers = asked::headers(&response["headers"]).expect("a record's headers");
        state.body = response["body"].as_str().unwrap_or_default().to_owned().into();
        state.seen.clear();
    }

    /// What they saw, as soon as it is so many requests.
    pub(super) async fn seen(&self, requests: usize) -> Vec<Seen> {
        let all = async {
            while self.shared.state().seen.len() < requests {
                self.shared.more.notified().await;
            }
        };
        // Fewer are what the comparison is told of.
        let _ = tokio::time::timeout(PATIENCE, all).await;
        self.shared.state().seen.clone()
    }
}
