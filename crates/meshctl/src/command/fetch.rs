use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anstyle::Style;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use serde::Serialize;

use super::mesh;
use super::request::{BodyArguments, RequestArguments};
use crate::answer::{Answer, Failure};
use crate::call::{Caller, Keep};
use crate::error::Error;
use crate::output::{Output, Verdict};
use crate::version::protocol;

/// Arguments of `meshctl fetch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    request: RequestArguments,

    #[command(flatten)]
    body: BodyArguments,
}

pub(crate) async fn run(output: Output, arguments: Arguments) -> Result<Verdict, Error> {
    let mesh = mesh::join(None)?;
    let caller = Caller::new(&mesh, &arguments.request, &arguments.body, Keep::Body).await?;
    let start = Instant::now();
    let answer = caller.call().await;
    let duration = start.elapsed();
    match output.is_json() {
        true => output.json(&Fetched::new(&answer, duration))?,
        false => show(output, &answer, duration)?,
    }
    Ok(if answer.failure.is_none() { Verdict::Right } else { Verdict::Wrong })
}

/// The object `fetch --json` prints.
#[derive(Debug, Serialize)]
struct Fetched<'a> {
    status: u16,
    headers: Vec<(&'a str, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    protocol: Option<&'static str>,
    route: Option<&'a str>,
    cluster: Option<&'a str>,
    endpoint: Option<SocketAddr>,
    attempts: u32,
    flags: String,
    details: &'a str,
    duration_us: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_message: Option<&'a str>,
    error: Option<&'a Failure>,
}

impl<'a> Fetched<'a> {
    fn new(answer: &'a Answer, duration: Duration) -> Self {
        let body = std::str::from_utf8(&answer.body).ok();
        let way = &answer.way;
        Self {
            status: answer.status.as_u16(),
            headers: headers(&answer.headers),
            body,
            body_base64: body.is_none().then(|| BASE64.encode(&answer.body)),
            protocol: answer.version.map(protocol),
            route: way.route.as_deref(),
            cluster: way.cluster.as_deref(),
            endpoint: way.endpoint,
            attempts: way.attempts,
            flags: way.flags.to_string(),
            details: way.details.as_deref().unwrap_or("-"),
            duration_us: duration.as_micros(),
            grpc_status: answer.grpc.as_ref().map(|end| end.status),
            grpc_message: answer.grpc.as_ref().map(|end| &*end.message),
            error: answer.failure.as_ref(),
        }
    }
}

/// The answer for people: head and body as they came, then how it came.
fn show(output: Output, answer: &Answer, duration: Duration) -> Result<(), Error> {
    let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
    let way = &answer.way;
    match answer.version.map(protocol) {
        Some(protocol) => {
            output.line(&format!("{bold}{protocol} {}{bold:#}", answer.status))?;
            for (name, value) in headers(&answer.headers) {
                output.line(&format!("{dim}{name}:{dim:#} {value}"))?;
            }
        }
        None => output.line(&format!("{bold}no answer{bold:#}"))?,
    }
    if let Some(end) = &answer.grpc {
        // What the mesh itself says of it comes below.
        let is_told = answer.failure.as_ref().is_some_and(|it| it.text.contains(&end.message));
        let message = if is_told { "" } else { &end.message };
        output.line(format!("{bold}grpc-status {}{bold:#} {message}", end.status).trim_end())?;
    }
    if !answer.body.is_empty() {
        output.line(&format!("\n{}", String::from_utf8_lossy(&answer.body).trim_end()))?;
    }
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let endpoint = way.endpoint.map_or_else(|| "-".to_owned(), |address| address.to_string());
    output.line(&format!(
        "\n{dim}route {} · cluster {} · endpoint {endpoint} · attempts {} · {duration:.1?}{dim:#}",
        or_none(&way.route),
        or_none(&way.cluster),
        way.attempts,
    ))?;
    if let Some(Failure { kind, text }) = &answer.failure {
        Error::failed(format!("{kind}: {text}")).print();
    }
    Ok(())
}

fn headers(headers: &HeaderMap) -> Vec<(&str, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect()
}
