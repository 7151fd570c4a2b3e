//! Which commands Envoy 1.40 knows, and what each may be followed by.

use super::command::Command;
use super::format::FormatError;

/// What a command may be followed by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Parameters,
    ParametersAndLength,
    MaybeParameters,
    MaybeParametersAndLength,
}

/// Refuses an unknown command, or one with what it does not take.
pub(super) fn check(name: &str, parameters: &str, length: bool) -> Result<(), FormatError> {
    let takes = takes(name).ok_or_else(|| FormatError::new(format!("unknown command {name}")))?;
    let text = match takes {
        Takes::Nothing if !parameters.is_empty() || length => "takes no parameters or length",
        Takes::Parameters | Takes::ParametersAndLength if parameters.is_empty() => {
            "needs parameters"
        }
        Takes::Parameters | Takes::MaybeParameters if length => "takes no length",
        _ => return Ok(()),
    };
    Err(FormatError::new(format!("{name} {text}")))
}

fn takes(name: &str) -> Option<Takes> {
    Some(match name {
        "REQ"
        | "RESP"
        | "TRAILER"
        | "REQUEST_HEADER"
        | "RESPONSE_HEADER"
        | "RESPONSE_TRAILER"
        | "STREAM_INFO_REQ"
        | "QUERY_PARAM"
        | "METADATA"
        | "DYNAMIC_METADATA"
        | "FILTER_STATE"
        | "UPSTREAM_FILTER_STATE"
        | "ENVIRONMENT"
        | "COALESCE" => Takes::ParametersAndLength,
        "CLUSTER_METADATA" | "UPSTREAM_METADATA" | "COMMON_DURATION" | "PER_REQUEST_STATE"
        | "XFCC_VALUE" => Takes::Parameters,
        "PATH" | "QUERY_PARAMS" => Takes::MaybeParametersAndLength,
        "START_TIME"
        | "START_TIME_LOCAL"
        | "EMIT_TIME"
        | "EMIT_TIME_LOCAL"
        | "GRPC_STATUS"
        | "RESPONSE_CODE_DETAILS"
        | "REQUESTED_SERVER_NAME" => Takes::MaybeParameters,
        name if name.ends_with("_PEER_CERT_V_START") || name.ends_with("_PEER_CERT_V_END") => {
            TLS.contains(&name).then_some(Takes::MaybeParameters)?
        }
        name if ADDRESSES.contains(&name) => {
            let ip = name.ends_with("_ADDRESS_WITHOUT_PORT");
            if ip { Takes::MaybeParameters } else { Takes::Nothing }
        }
        name if BARE.contains(&name) || ZERO.contains(&name) || TLS.contains(&name) => {
            Takes::Nothing
        }
        _ => return None,
    })
}

pub(super) const ADDRESSES: &[&str] = &[
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_LOCAL_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "UPSTREAM_HOST",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_LOCAL_PORT",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_HOST_NAME",
];

/// Commands without parameters that are neither counts nor about TLS.
const BARE: &[&str] = &[
    "ACCESS_LOG_TYPE",
    "CONNECTION_ID",
    "CONNECTION_TERMINATION_DETAILS",
    "CUSTOM_FLAGS",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID",
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
    "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "FILTER_CHAIN_NAME",
    "GRPC_STATUS_NUMBER",
    "HOSTNAME",
    "LOCAL_REPLY_BODY",
    "PROTOCOL",
    "REQUEST_TX_DURATION",
    "RESPONSE_CODE",
    "RESPONSE_DURATION",
    "RESPONSE_FLAGS",
    "RESPONSE_FLAGS_LONG",
    "RESPONSE_TX_DURATION",
    "ROUNDTRIP_DURATION",
    "ROUTE_NAME",
    "SPAN_ID",
    "STREAM_ID",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "TRACE_ID",
    "UNIQUE_ID",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_HOST_NAMES_ATTEMPTED",
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "UPSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_PROTOCOL",
    "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "VIRTUAL_CLUSTER_NAME",
];

/// Counts and times, which are nothing while headers are made.
const ZERO: &[&str] = &[
    "BYTES_RECEIVED",
    "BYTES_RETRANSMITTED",
    "BYTES_SENT",
    "DOWNSTREAM_CX_RTT",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "DOWNSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_HEADER_BYTES_SENT",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED",
    "DOWNSTREAM_WIRE_BYTES_SENT",
    "DURATION",
    "PACKETS_RETRANSMITTED",
    "REQUEST_DURATION",
    "REQUEST_HEADERS_BYTES",
    "RESPONSE_HEADERS_BYTES",
    "RESPONSE_TRAILERS_BYTES",
    "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "UPSTREAM_HEADER_BYTES_RECEIVED",
    "UPSTREAM_HEADER_BYTES_SENT",
    "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_WIRE_BYTES_SENT",
    "COMMON_DURATION",
    "ENVIRONMENT",
];

const TLS: &[&str] = &[
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_ISSUER_SERIAL",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_GROUP",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TLS_VERSION",
    "UPSTREAM_LOCAL_DNS_SAN",
    "UPSTREAM_LOCAL_IP_SAN",
    "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_IP_SAN",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_SERVER_NAME",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_GROUP",
    "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION",
];

/// What a command without a meaning here writes: what Envoy writes when it knows nothing.
pub(super) fn constant(name: &str) -> Command {
    Command::Constant(match name {
        "ACCESS_LOG_TYPE" => "NotSet",
        "DOWNSTREAM_DETECTED_CLOSE_TYPE" => "Normal",
        "ENVIRONMENT" => "-",
        "COMMON_DURATION" => "",
        name if ZERO.contains(&name) => "0",
        _ => "",
    })
}

/// Options of commands that tell nothing here.
pub(super) fn check_option(name: &str, parameters: &str) -> Result<(), FormatError> {
    match name {
        "GRPC_STATUS" => match parameters {
            "" | "CAMEL_STRING" | "SNAKE_STRING" | "NUMBER" => Ok(()),
            other => Err(FormatError::option(name, other, "CAMEL_STRING, SNAKE_STRING or NUMBER")),
        },
        "COMMON_DURATION" => match parameters.split(':').collect::<Vec<_>>().as_slice() {
            [_, _] | [_, _, "ms" | "us" | "ns"] => Ok(()),
            _ => Err(FormatError::new("COMMON_DURATION needs START:END or START:END:ms|us|ns")),
        },
        "FILTER_STATE" | "UPSTREAM_FILTER_STATE" => {
            match parameters.split(':').collect::<Vec<_>>().as_slice() {
                [key] | [key, "PLAIN" | "TYPED"] | [key, "FIELD", _] if !key.is_empty() => Ok(()),
                _ => {
                    Err(FormatError::new(format!("{name} needs KEY, KEY:PLAIN or KEY:FIELD:NAME")))
                }
            }
        }
        "XFCC_VALUE" => match parameters {
            "uri" | "dns" => Ok(()),
            other => Err(FormatError::option(name, other, "uri or dns")),
        },
        _ => Ok(()),
    }
}
