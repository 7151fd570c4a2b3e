//! How connections to a cluster are made and used: `connectionPool` but for its limits.

use std::collections::HashMap;
use std::time::Duration;

use mesh_pb::envoy::config::cluster::v3::{Cluster, UpstreamConnectionOptions};
use mesh_pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as Common, KeepaliveSettings,
    TcpKeepalive,
};
use mesh_pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use mesh_pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
    explicit_http_config::ProtocolConfig,
};
use mesh_pb::google::protobuf::{Any, UInt32Value};
use mesh_pb::type_url;

use super::{any, duration, uint32};
use crate::kind::{ConnectionPool, H2UpgradePolicy, HttpSettings, KeepAlive, TcpSettings};
use crate::node::Mode;

/// What clients of gRPC's own know of this is the version alone.
pub(super) fn options(
    pool: Option<&ConnectionPool>,
    is_http2: bool,
    mode: Mode,
    made: &mut Cluster,
) {
    let pool = pool.filter(|_| mode != Mode::Grpc);
    let tcp = pool.and_then(|pool| pool.tcp.as_ref());
    let http = pool.and_then(|pool| pool.http.as_ref());
    made.typed_extension_protocol_options = protocol(http, tcp, is_http2);
    let keepalive = tcp.and_then(|tcp| tcp.tcp_keepalive.as_ref());
    made.upstream_connection_options = keepalive.map(|asked| {
        // Envoy counts whole seconds, of which zero is none.
        let seconds = |time: Option<crate::kind::Duration>| {
            let seconds = time.map(|time| time.0.as_secs_f64().ceil().max(1.0) as u32);
            seconds.and_then(uint32)
        };
        let tcp_keepalive = Some(TcpKeepalive {
            keepalive_probes: limit(asked.probes.into()),
            keepalive_time: seconds(asked.time),
            keepalive_interval: seconds(asked.interval),
        });
        UpstreamConnectionOptions { tcp_keepalive, ..Default::default() }
    });
}

/// Without anything HTTP/1.1 is spoken.
fn protocol(
    http: Option<&HttpSettings>,
    tcp: Option<&TcpSettings>,
    is_http2: bool,
) -> HashMap<String, Any> {
    let time = |time: Option<crate::kind::Duration>| time.map(|time| duration(time.0));
    let common = Common {
        idle_timeout: time(http.and_then(|http| http.idle_timeout)),
        max_connection_duration: time(tcp.and_then(|tcp| tcp.max_connection_duration)),
        max_requests_per_connection: http
            .and_then(|http| limit(http.max_requests_per_connection.into())),
        ..Default::default()
    };
    let follows = http.is_some_and(|http| http.use_client_protocol);
    let upgrade = http.map(|http| http.h2_upgrade_policy).unwrap_or_default();
    let is_http2 = is_http2 || upgrade == H2UpgradePolicy::Upgrade;
    if !follows && !is_http2 && common == Common::default() {
        return HashMap::new();
    }
    let of_http1 = Http1ProtocolOptions::default();
    let of_http2 = Http2ProtocolOptions {
        max_concurrent_streams: http.and_then(|http| limit(http.max_concurrent_streams.into())),
        connection_keepalive: http.and_then(|http| http.http2_keep_alive.as_ref()).map(pings),
        ..Default::default()
    };
    let explicit = |config| {
        let protocol_config = Some(config);
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config })
    };
    let version = if follows {
        UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
            http_protocol_options: Some(of_http1),
            http2_protocol_options: Some(of_http2),
            ..Default::default()
        })
    } else if is_http2 {
        explicit(ProtocolConfig::Http2ProtocolOptions(of_http2))
    } else {
        explicit(ProtocolConfig::HttpProtocolOptions(of_http1))
    };
    let options = HttpProtocolOptions {
        common_http_protocol_options: Some(common).filter(|common| *common != Common::default()),
        upstream_protocol_options: Some(version),
        ..Default::default()
    };
    let options = any(type_url::HTTP_PROTOCOL_OPTIONS, &options);
    HashMap::from([(HTTP_PROTOCOL_OPTIONS_KEY.to_owned(), options)])
}

fn pings(asked: &KeepAlive) -> KeepaliveSettings {
    KeepaliveSettings {
        interval: asked.interval.map(|interval| duration(interval.0)),
        timeout: Some(duration(asked.timeout.map_or(PING_TIMEOUT, |timeout| timeout.0))),
        ..Default::default()
    }
}

/// A limit of which zero is none.
fn limit(value: i64) -> Option<UInt32Value> {
    u32::try_from(value).ok().filter(|value| *value > 0).and_then(uint32)
}

/// How long the answer to a ping may take where the rule does not say: as in gRPC, as Envoy asks for
/// some time.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Envoy's well-known key.
pub(super) const HTTP_PROTOCOL_OPTIONS_KEY: &str =
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
