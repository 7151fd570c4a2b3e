use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::Error;
use crate::output::{Output, Verdict};

/// The name under which gRPC servers ask for their Listener, as Istio's agent writes it.
const SERVER_LISTENER_TEMPLATE: &str = "xds.istio.io/grpc/lds/inbound/%s";

/// Arguments of `meshctl bootstrap`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The xDS server: HOST:PORT, or another gRPC target.
    #[arg(long, value_name = "ADDR", value_parser = target)]
    xds: String,

    /// Address of the certificate authority.
    #[arg(long, value_name = "ADDR")]
    ca: Option<String>,

    /// Name of the workload.
    #[arg(long, value_parser = name)]
    name: String,

    /// Namespace of the workload.
    #[arg(long, value_name = "NS", default_value = "default", value_parser = name)]
    namespace: String,

    /// Service account of the workload.
    #[arg(long, value_name = "SA", default_value = "default", value_parser = name)]
    service_account: String,

    /// A label of the workload; may be repeated.
    #[arg(long = "label", value_name = "K=V", value_parser = label)]
    labels: Vec<(String, String)>,

    /// Address of the workload.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    ip: IpAddr,

    /// Which kind of client reads the bootstrap.
    #[arg(long, value_enum, default_value_t = Mode::Native)]
    mode: Mode,

    /// Write here instead of to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// This mesh's own library, asking by target.
    Native,
    /// gRPC's xDS client, as Istio generates configuration for it.
    IstioGrpc,
    /// This mesh's own library, asking as a sidecar does.
    Envoy,
}

/// The bootstrap file of gRPC (gRFC A27), as far as we write it.
#[derive(Debug, Serialize)]
struct Bootstrap<'a> {
    xds_servers: [XdsServer<'a>; 1],
    node: Node<'a>,
    server_listener_resource_name_template: &'static str,
}

#[derive(Debug, Serialize)]
struct XdsServer<'a> {
    server_uri: &'a str,
    channel_creds: [ChannelCredentials; 1],
    server_features: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct ChannelCredentials {
    r#type: &'static str,
}

#[derive(Debug, Serialize)]
struct Node<'a> {
    id: String,
    metadata: Metadata<'a>,
}

/// The part of Istio's node metadata that changes what the control plane sends.
#[derive(Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
struct Metadata<'a> {
    namespace: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    service_account: &'a str,
    workload_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    generator: Option<&'static str>,
}

pub(crate) fn run(output: Output, arguments: &Arguments) -> Result<Verdict, Error> {
    if arguments.ca.is_some() {
        return Err(Error::not_yet_implemented("--ca"));
    }
    let bootstrap = bootstrap(arguments);
    let Some(path) = &arguments.out else {
        return match output.is_json() {
            true => output.json(&bootstrap),
            false => output.line(&pretty(&bootstrap)?),
        }
        .map(|()| Verdict::Right);
    };
    std::fs::write(path, pretty(&bootstrap)? + "\n").map_err(|error| {
        Error::failed(format!("cannot write {}", path.display())).because(error)
    })?;
    Ok(Verdict::Right)
}

fn bootstrap(arguments: &Arguments) -> Bootstrap<'_> {
    let Arguments { name, namespace, ip, mode, .. } = arguments;
    let mut server_features = vec!["xds_v3"];
    if *mode == Mode::Envoy {
        server_features.push("xds.envoy");
    }
    Bootstrap {
        xds_servers: [XdsServer {
            server_uri: &arguments.xds,
            channel_creds: [ChannelCredentials { r#type: "insecure" }],
            server_features,
        }],
        node: Node {
            id: format!("sidecar~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local"),
            metadata: Metadata {
                namespace,
                labels: arguments.labels.iter().map(|(k, v)| (&**k, &**v)).collect(),
                service_account: &arguments.service_account,
                workload_name: name,
                generator: (*mode == Mode::IstioGrpc).then_some("grpc"),
            },
        },
        server_listener_resource_name_template: SERVER_LISTENER_TEMPLATE,
    }
}

fn pretty(bootstrap: &Bootstrap<'_>) -> Result<String, Error> {
    serde_json::to_string_pretty(bootstrap)
        .map_err(|error| Error::failed("cannot write the bootstrap as JSON").because(error))
}

fn target(text: &str) -> Result<String, String> {
    // gRPC itself reads `server_uri`, and knows more schemes than we do; what it would take for
    // the name of a host with the default port is most likely a forgotten port.
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match has_port || text.contains(":/") || text.starts_with("unix:") {
        true => Ok(text.to_owned()),
        false => Err("an xDS server is HOST:PORT or a gRPC target such as unix:///PATH".to_owned()),
    }
}

/// A name that Kubernetes would take (RFC 1123): it becomes part of the node's id, whose parts are
/// separated by `~` and `.`.
fn name(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
    {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 63 of a-z, 0-9 and dashes between them".to_owned()),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is written K=V".to_owned()),
    }
}
