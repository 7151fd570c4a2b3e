use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use mesh_core::Dialect;
use mesh_core::cluster::{ClusterState, EndpointState};
use mesh_pb::orca::{OrcaLoadReport, OrcaLoadReportRequest};
use mesh_xds_client::session::Backoff;
use prost::Message as _;
use tokio::time::Instant;

use crate::body::Body;
use crate::client::load_report;
use crate::mesh::Io;

/// Before each message: a flag and its length.
const PREFIX_BYTES: usize = 5;

/// A report names some metrics; one larger than this is no report.
const MAX_REPORT_BYTES: usize = 64 << 10;

/// gRPC's status 12.
const UNIMPLEMENTED: &str = "12";

/// How a stream of reports ended.
enum End {
    /// The server does not tell its load in this way: to ask again is of no use.
    Unknown,
    /// Whether there had been a report.
    Over(bool),
}

/// Asks one endpoint for its load, again and again, until it is dropped.
pub(super) async fn run(
    cluster: Arc<ClusterState<Io>>,
    endpoint: Arc<EndpointState<Io>>,
    period: Duration,
) {
    let mut backoff = Backoff::new(Backoff::BASE, Backoff::CAP);
    loop {
        let began = Instant::now();
        match stream(&cluster, &endpoint, period).await {
            End::Unknown => {
                let (cluster, endpoint) = (cluster.name(), endpoint.address());
                tracing::warn!(cluster, %endpoint, "it does not tell its load out of band");
                return;
            }
            End::Over(true) => backoff.reset(),
            End::Over(false) => {}
        }
        tokio::time::sleep(backoff.next_wait(began.elapsed(), fastrand::f64())).await;
    }
}

/// One call of `xds.service.orca.v3.OpenRcaService.StreamCoreMetrics`.
async fn stream(cluster: &ClusterState<Io>, endpoint: &EndpointState<Io>, period: Duration) -> End {
    let Some(request) = request(cluster.name(), period) else { return End::Unknown };
    let connections = endpoint.attached().connections(Dialect::Grpc);
    let response = match connections.send(request, None).await {
        Ok(response) => response,
        Err(error) => {
            let (cluster, endpoint) = (cluster.name(), endpoint.address());
            tracing::debug!(cluster, %endpoint, %error, "no load reports");
            return End::Over(false);
        }
    };
    let (head, mut body) = response.into_parts();
    if head.status == StatusCode::NOT_FOUND || is_unimplemented(&head.headers) {
        return End::Unknown;
    }
    let (mut unread, mut told) = (BytesMut::new(), false);
    while let Some(Ok(frame)) = body.frame().await {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) if frame.trailers_ref().is_some_and(is_unimplemented) => {
                return End::Unknown;
            }
            Err(_) => continue,
        };
        unread.extend_from_slice(&data);
        loop {
            match next(&mut unread) {
                Ok(Some(report)) => {
                    let report = load_report(report);
                    cluster.report_load_out_of_band(endpoint, &report, crate::client::now());
                    told = true;
                }
                Ok(None) => break,
                Err(()) => return End::Over(told),
            }
        }
    }
    End::Over(told)
}

/// The next whole report of those bytes; an error when they are none.
fn next(unread: &mut BytesMut) -> Result<Option<OrcaLoadReport>, ()> {
    let Some(prefix) = unread.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let [flag, length @ ..] = *prefix;
    let length = u32::from_be_bytes(length) as usize;
    // Nothing compressed was asked for.
    if flag != 0 || length > MAX_REPORT_BYTES {
        return Err(());
    }
    if unread.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    unread.advance(PREFIX_BYTES);
    OrcaLoadReport::decode(unread.split_to(length)).map(Some).map_err(|_| ())
}

fn is_unimplemented(headers: &HeaderMap) -> bool {
    headers.get("grpc-status").is_some_and(|status| status == UNIMPLEMENTED)
}

/// `None` where the cluster's name can be no authority.
fn request(cluster: &str, period: Duration) -> Option<Request<Body>> {
    let report_interval = prost_types::Duration::try_from(period).ok();
    let message = OrcaLoadReportRequest { report_interval, request_cost_names: Vec::new() };
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(message.encoded_len() as u32);
    message.encode(&mut body).expect("a buffer that grows has room");
    let request = Request::post("/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics")
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(HOST, HeaderValue::from_str(cluster).ok()?);
    request.body(Body::full(body.freeze())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(report: &OrcaLoadReport) -> Vec<u8> {
        let message = report.encode_to_vec();
        [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
    }

    #[test]
    fn reports_are_read_however_they_are_cut() {
        let told = OrcaLoadReport { cpu_utilization: 0.5, ..OrcaLoadReport::default() };
        let bytes = [framed(&told), framed(&OrcaLoadReport::default()), framed(&told)].concat();
        for size in 1..=bytes.len() {
            let (mut unread, mut read) = (BytesMut::new(), Vec::new());
            for part in bytes.chunks(size) {
                unread.extend_from_slice(part);
                while let Some(report) = next(&mut unread).unwrap() {
                    read.push(report.cpu_utilization);
                }
            }
            assert_eq!(read, [0.5, 0.0, 0.5]);
        }
    }

    #[test]
    fn what_is_no_report_ends_the_stream() {
        for bytes in [&[1, 0, 0, 0, 0][..], &[0, 0, 1, 0, 1], &[0, 0, 0, 0, 1, 0xff]] {
            assert_eq!(next(&mut BytesMut::from(bytes)), Err(()));
        }
    }
}
