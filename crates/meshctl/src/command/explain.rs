use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, Method};
use mesh_core::snapshot::{
    ClusterExplanation, Explanation, ForwardExplanation, MirrorExplanation, RetryExplanation,
};
use mesh_core::{Decision, Dialect, Head};
use serde::Serialize;

use super::mesh;
use super::request::RequestArguments;
use crate::error::Error;
use crate::output::{Output, Verdict};

/// Arguments of `meshctl explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    request: RequestArguments,

    /// Ask the process with this admin address instead of joining the mesh.
    // Taken, so that scripts learn that it does not exist yet; not offered before it does.
    #[arg(long, value_name = "ADDR", hide = true)]
    admin: Option<SocketAddr>,
}

pub(crate) async fn run(output: Output, arguments: Arguments) -> Result<Verdict, Error> {
    if arguments.admin.is_some() {
        return Err(Error::not_yet_implemented("--admin"));
    }
    let request = &arguments.request;
    let mesh = mesh::join(None)?;
    let headers: HeaderMap = request.headers.iter().cloned().collect();
    let method = request.method.clone().unwrap_or(Method::GET);
    let mut head = Head::new(&method, &request.url, &headers);
    if let Some(host) = headers.get(http::header::HOST).and_then(|host| host.to_str().ok()) {
        head.authority = host;
    }
    let explanation = mesh
        .explain(&request.target(), &head, Dialect::Http)
        .await
        .map_err(|error| Error::failed("cannot explain this request").because(error))?;
    match output.is_json() {
        true => output.json(&Explained::new(&explanation))?,
        false => output.line(explanation.to_string().trim_end())?,
    }
    Ok(if would_be_served(&explanation) { Verdict::Right } else { Verdict::Wrong })
}

fn would_be_served(explanation: &Explanation) -> bool {
    match explanation.decision {
        Decision::Fail(_) => false,
        _ => explanation.cluster.as_ref().is_none_or(|cluster| !cluster.usable.is_empty()),
    }
}

/// The object `explain --json` prints: null or empty is what the request did not reach.
#[derive(Debug, Serialize)]
struct Explained<'a> {
    listener: &'a str,
    failures: &'a [String],
    route_configuration: Option<&'a str>,
    virtual_host: Option<&'a str>,
    other_hosts: Vec<Other<'a>>,
    route: Option<RouteAt<'a>>,
    other_routes: Vec<Other<'a>>,
    forward: Option<Forward<'a>>,
    cluster: Option<Cluster<'a>>,
}

/// Times in milliseconds, null where there is no limit.
#[derive(Debug, Serialize)]
struct Forward<'a> {
    timeout_ms: Option<u128>,
    per_try_timeout_ms: Option<u128>,
    per_try_idle_timeout_ms: Option<u128>,
    idle_timeout_ms: Option<u128>,
    max_stream_duration_ms: Option<u128>,
    retry: Option<Retry<'a>>,
    mirrors: Vec<Mirror<'a>>,
}

#[derive(Debug, Serialize)]
struct Retry<'a> {
    retry_on: &'a [&'static str],
    statuses: &'a [u16],
    num_retries: u32,
    base_interval_ms: u128,
    max_interval_ms: u128,
}

#[derive(Debug, Serialize)]
struct Mirror<'a> {
    cluster: &'a str,
    percent: f64,
}

#[derive(Debug, Serialize)]
struct RouteAt<'a> {
    position: usize,
    name: &'a str,
}

/// What was not chosen, and why.
#[derive(Debug, Serialize)]
struct Other<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
    name: &'a str,
    why: &'a str,
}

#[derive(Debug, Serialize)]
struct Cluster<'a> {
    name: &'a str,
    exists: bool,
    weight: Option<u32>,
    total_weight: Option<u64>,
    usable_endpoints: &'a [SocketAddr],
    total_endpoints: usize,
    failures: &'a [String],
}

impl<'a> Explained<'a> {
    fn new(explanation: &'a Explanation) -> Self {
        let host = |(name, why): &'a (String, String)| Other { position: None, name, why };
        let route = |(position, name, why): &'a (usize, String, String)| Other {
            position: Some(*position),
            name,
            why,
        };
        let won = |(position, name): &'a (usize, String)| RouteAt { position: *position, name };
        Self {
            listener: &explanation.listener,
            failures: &explanation.failures,
            route_configuration: explanation.route_configuration.as_deref(),
            virtual_host: explanation.virtual_host.as_deref(),
            other_hosts: explanation.other_hosts.iter().map(host).collect(),
            route: explanation.route.as_ref().map(won),
            other_routes: explanation.other_routes.iter().map(route).collect(),
            forward: explanation.forward.as_ref().map(Forward::new),
            cluster: explanation.cluster.as_ref().map(Cluster::new),
        }
    }
}

impl<'a> Forward<'a> {
    fn new(forward: &'a ForwardExplanation) -> Self {
        let ms = |limit: Option<Duration>| limit.map(|limit| limit.as_millis());
        let retry = |retry: &'a RetryExplanation| Retry {
            retry_on: &retry.retry_on,
            statuses: &retry.statuses,
            num_retries: retry.num_retries,
            base_interval_ms: retry.back_off.0.as_millis(),
            max_interval_ms: retry.back_off.1.as_millis(),
        };
        let mirror =
            |it: &'a MirrorExplanation| Mirror { cluster: &it.cluster, percent: it.percent };
        Self {
            timeout_ms: ms(forward.timeouts.total),
            per_try_timeout_ms: ms(forward.timeouts.per_try),
            per_try_idle_timeout_ms: ms(forward.timeouts.per_try_idle),
            idle_timeout_ms: ms(forward.timeouts.idle),
            max_stream_duration_ms: ms(forward.timeouts.stream),
            retry: forward.retry.as_ref().map(retry),
            mirrors: forward.mirrors.iter().map(mirror).collect(),
        }
    }
}

impl<'a> Cluster<'a> {
    fn new(cluster: &'a ClusterExplanation) -> Self {
        Self {
            name: &cluster.name,
            exists: cluster.exists,
            weight: cluster.weight.map(|(weight, _)| weight),
            total_weight: cluster.weight.map(|(_, total)| total),
            usable_endpoints: &cluster.usable,
            total_endpoints: cluster.total,
            failures: &cluster.failures,
        }
    }
}
