//! LDS: a target's listener, which only points at its routes.

use mesh_pb::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, config_source::ConfigSourceSpecifier,
};
use mesh_pb::envoy::config::listener::v3::{ApiListener, Listener};
use mesh_pb::envoy::extensions::filters::http::cors::v3::Cors;
use mesh_pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use mesh_pb::envoy::extensions::filters::http::router::v3::Router;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;
use prost::Name;

use super::any;
use super::name::ClusterName;
use super::target::Target;
use super::traffic::{CORS, FAULT};
use crate::model::Model;
use crate::node::{Mode, Node};

pub(super) fn listener(model: &Model, node: &Node, name: &str) -> Option<Listener> {
    let target = Target::dialled(model, node, name)?;
    let routes = ClusterName { port: target.port, subset: "", host: &target.host };
    let manager = manager(routes.to_string(), routes.to_string(), node.mode);
    Some(Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener {
            api_listener: Some(any(type_url::HTTP_CONNECTION_MANAGER, &manager)),
        }),
        ..Default::default()
    })
}

/// An HTTP connection manager that only points at its routes.
pub(super) fn manager(
    stat_prefix: String,
    routes: String,
    mode: Mode,
) -> hcm::HttpConnectionManager {
    hcm::HttpConnectionManager {
        stat_prefix,
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(ads()),
            route_config_name: routes,
        })),
        http_filters: filters(mode),
        ..Default::default()
    }
}

/// What the first two do is said by routes. gRPC's own clients refuse a filter that they do not
/// have.
fn filters(mode: Mode) -> Vec<hcm::HttpFilter> {
    let cors = filter(CORS, any(&Cors::type_url(), &Cors::default()));
    let others = [
        filter(FAULT, any(&HttpFault::type_url(), &HttpFault::default())),
        filter(ROUTER_NAME, any(type_url::ROUTER, &Router::default())),
    ];
    Some(cors).filter(|_| mode != Mode::Grpc).into_iter().chain(others).collect()
}

fn filter(name: &str, config: Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

/// "From where this came from", which is how all resources here refer to each other.
pub(super) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}

/// Envoy's well-known name of the filter.
const ROUTER_NAME: &str = "envoy.filters.http.router";
