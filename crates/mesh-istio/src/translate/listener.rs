//! LDS: a target's listener, which only points at its routes.

use mesh_pb::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, config_source::ConfigSourceSpecifier,
};
use mesh_pb::envoy::config::listener::v3::{ApiListener, Listener};
use mesh_pb::envoy::extensions::filters::http::router::v3::Router;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::type_url;

use super::any;
use super::name::ClusterName;
use super::target::Target;
use crate::model::Model;
use crate::node::Node;

pub(super) fn listener(model: &Model, node: &Node, name: &str) -> Option<Listener> {
    let target = Target::dialled(model, node, name)?;
    let routes = ClusterName { port: target.port, subset: "", host: &target.host };
    let manager = manager(routes.to_string(), routes.to_string());
    Some(Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener {
            api_listener: Some(any(type_url::HTTP_CONNECTION_MANAGER, &manager)),
        }),
        ..Default::default()
    })
}

/// An HTTP connection manager that only points at its routes.
pub(super) fn manager(stat_prefix: String, routes: String) -> hcm::HttpConnectionManager {
    hcm::HttpConnectionManager {
        stat_prefix,
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(ads()),
            route_config_name: routes,
        })),
        http_filters: vec![hcm::HttpFilter {
            name: ROUTER_NAME.to_owned(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any(
                type_url::ROUTER,
                &Router::default(),
            ))),
            ..Default::default()
        }],
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
