//! The HTTP version spoken to a cluster.

use std::time::Duration;

use mesh_core::resource::{Cluster, ConnectionOptions, TcpKeepalive, UpstreamProtocol};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::envoy::extensions::upstreams::http::v3 as http;
use mesh_pb::envoy::extensions::upstreams::http::v3::http_protocol_options as options;
use mesh_pb::google::protobuf::UInt32Value;
use mesh_pb::type_url;
use prost::Message;

use super::at::{At, Invalid, is_set, not_honoured};
use super::http_options::{self, limit};
use super::tls;

/// The key of HttpProtocolOptions among `typed_extension_protocol_options`.
const HTTP_OPTIONS_KEY: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const UPSTREAM_CODEC: &str =
    "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";

type Made = (UpstreamProtocol, ConnectionOptions);

/// The HTTP version of a cluster, and how its connections are used.
#[allow(deprecated, reason = "older control planes ask for HTTP/2 this way")]
pub(super) fn protocol(at: At<'_>, proto: &pb::Cluster) -> Result<Made, Invalid> {
    const FIELD: &str = "typed_extension_protocol_options";
    let mut keys: Vec<&str> =
        proto.typed_extension_protocol_options.keys().map(String::as_str).collect();
    // A map has no order; findings must not change from one decoding to the next.
    keys.sort_unstable();
    for key in keys.into_iter().filter(|key| *key != HTTP_OPTIONS_KEY) {
        at.key(FIELD, key).finding("is not honoured");
    }
    let mut made = ConnectionOptions::default();
    made.max_requests = proto.max_requests_per_connection.as_ref().and_then(limit);
    made.tcp_keepalive = tcp_keepalive(at, proto);
    made.close_on_health_failure = proto.close_connections_on_host_health_failure;
    if let Some(policy) = &proto.preconnect_policy {
        made.preconnect = http_options::preconnect(at.field("preconnect_policy"), policy)?;
    }
    if let Some(options) = &proto.common_http_protocol_options {
        http_options::common(at.field("common_http_protocol_options"), options, &mut made)?;
    }
    if let Some(any) = proto.typed_extension_protocol_options.get(HTTP_OPTIONS_KEY) {
        let at = at.key(FIELD, HTTP_OPTIONS_KEY);
        if any.type_url != type_url::HTTP_PROTOCOL_OPTIONS {
            return Err(at.invalid(format!("is of type {:?}", any.type_url)));
        }
        let options = http::HttpProtocolOptions::decode(any.value.as_slice())
            .map_err(|error| at.invalid(format!("cannot be read: {error}")))?;
        return Ok((http_options(at, &options, &mut made)?, made));
    }
    if let Some(options) = &proto.http2_protocol_options {
        http2(at.field("http2_protocol_options"), options, &mut made)?;
        return Ok((UpstreamProtocol::Http2, made));
    }
    not_honoured!(at, proto, [http_protocol_options, protocol_selection]);
    Ok((UpstreamProtocol::Http1, made))
}

/// What a cluster says of names in TLS beside its transport socket.
#[allow(deprecated, reason = "older control planes say it in the cluster itself")]
pub(super) fn names_of_hosts(at: At<'_>, proto: &pb::Cluster, made: &mut Cluster) {
    const FIELD: &str = "upstream_http_protocol_options";
    if let Some(options) = &proto.upstream_http_protocol_options {
        tls::names_of_hosts(at.field(FIELD), options, made);
    }
    let any = proto.typed_extension_protocol_options.get(HTTP_OPTIONS_KEY);
    // What cannot be read has been refused.
    let options = any.and_then(|any| http::HttpProtocolOptions::decode(any.value.as_slice()).ok());
    if let Some(options) = options.and_then(|options| options.upstream_http_protocol_options) {
        let at = at.key("typed_extension_protocol_options", HTTP_OPTIONS_KEY);
        tls::names_of_hosts(at.field(FIELD), &options, made);
    }
}

fn http_options(
    at: At<'_>,
    proto: &http::HttpProtocolOptions,
    made: &mut ConnectionOptions,
) -> Result<UpstreamProtocol, Invalid> {
    use options::UpstreamProtocolOptions as Proto;
    check_filters(at, &proto.http_filters)?;
    if let Some(options) = &proto.common_http_protocol_options {
        http_options::common(at.field("common_http_protocol_options"), options, made)?;
    }
    not_honoured!(
        at,
        proto,
        [
            header_validation_config,
            outlier_detection,
            request_mirror_policies,
            hash_policy,
            retry_policy,
        ]
    );
    match &proto.upstream_protocol_options {
        Some(Proto::ExplicitHttpConfig(config)) => {
            explicit(at.field("explicit_http_config"), config, made)
        }
        Some(Proto::UseDownstreamProtocolConfig(config)) => {
            let at = at.field("use_downstream_protocol_config");
            if let Some(options) = &config.http2_protocol_options {
                http2(at.field("http2_protocol_options"), options, made)?;
            }
            of_http1(at, config.http_protocol_options.as_ref());
            not_honoured!(at, config, [http3_protocol_options]);
            Ok(UpstreamProtocol::Downstream)
        }
        Some(Proto::AutoConfig(config)) => {
            let at = at.field("auto_config");
            if let Some(options) = &config.http2_protocol_options {
                http2(at.field("http2_protocol_options"), options, made)?;
            }
            of_http1(at, config.http_protocol_options.as_ref());
            not_honoured!(at, config, [http3_protocol_options, alternate_protocols_cache_options]);
            Ok(UpstreamProtocol::Auto)
        }
        None => Ok(UpstreamProtocol::Http1),
    }
}

fn explicit(
    at: At<'_>,
    proto: &options::ExplicitHttpConfig,
    made: &mut ConnectionOptions,
) -> Result<UpstreamProtocol, Invalid> {
    use options::explicit_http_config::ProtocolConfig as Proto;
    match &proto.protocol_config {
        Some(Proto::HttpProtocolOptions(options)) => {
            of_http1(at, Some(options));
            Ok(UpstreamProtocol::Http1)
        }
        Some(Proto::Http2ProtocolOptions(options)) => {
            http2(at.field("http2_protocol_options"), options, made)?;
            Ok(UpstreamProtocol::Http2)
        }
        Some(Proto::Http3ProtocolOptions(_)) => {
            Err(at.field("http3_protocol_options").invalid("is not supported"))
        }
        None => Err(at.invalid("has no protocol")),
    }
}

fn of_http1(at: At<'_>, proto: Option<&core::Http1ProtocolOptions>) {
    if proto.is_some_and(is_set) {
        at.field("http_protocol_options").finding("its settings are not honoured");
    }
}

fn http2(
    at: At<'_>,
    proto: &core::Http2ProtocolOptions,
    made: &mut ConnectionOptions,
) -> Result<(), Invalid> {
    made.http2 = http_options::http2(at, proto)?;
    Ok(())
}

/// When the system asks a silent peer whether it is there.
fn tcp_keepalive(at: At<'_>, proto: &pb::Cluster) -> Option<TcpKeepalive> {
    let options = proto.upstream_connection_options.as_ref()?;
    let at = at.field("upstream_connection_options");
    not_honoured!(
        at,
        options,
        [set_local_interface_name_on_upstream_connections, happy_eyeballs_config]
    );
    let proto = options.tcp_keepalive.as_ref()?;
    let seconds =
        |value: Option<UInt32Value>| value.map(|value| Duration::from_secs(value.value.into()));
    let mut made = TcpKeepalive::default();
    made.probes = proto.keepalive_probes.map(|value| value.value);
    made.time = seconds(proto.keepalive_time);
    made.interval = seconds(proto.keepalive_interval);
    Some(made)
}

/// A filter on the way to the endpoint may guard something, as on the listener.
fn check_filters(at: At<'_>, filters: &[hcm::HttpFilter]) -> Result<(), Invalid> {
    use hcm::http_filter::ConfigType;
    for (index, filter) in filters.iter().enumerate() {
        let at = at.index("http_filters", index);
        match &filter.config_type {
            Some(ConfigType::TypedConfig(any)) if any.type_url == UPSTREAM_CODEC => {}
            _ if filter.is_optional => at.finding("is not honoured"),
            _ => return Err(at.invalid("is not supported, and the filter is required")),
        }
    }
    Ok(())
}
