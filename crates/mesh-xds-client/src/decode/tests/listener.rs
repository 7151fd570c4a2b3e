use hcm::http_connection_manager as manager;
use mesh_core::ResourceType::Listener;
use mesh_core::resource::RouteSpecifier;
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::config::listener::v3 as pb;
use mesh_pb::envoy::config::route::v3::RouteConfiguration;
use mesh_pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use mesh_pb::envoy::extensions::filters::http::router::v3::Router;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::google::protobuf::{Any, BoolValue};

use super::super::Value;
use super::{decode, findings, refused, seconds, unknown};
use crate::sample::{ads, any};

pub(super) fn filter(name: &str, config: Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..hcm::HttpFilter::default()
    }
}

pub(super) fn router() -> hcm::HttpFilter {
    filter("router", any(&Router::default()))
}

fn rds(source: Option<core::ConfigSource>, name: &str) -> Option<manager::RouteSpecifier> {
    let rds = hcm::Rds { config_source: source, route_config_name: name.to_owned() };
    Some(manager::RouteSpecifier::Rds(rds))
}

pub(super) fn good() -> hcm::HttpConnectionManager {
    hcm::HttpConnectionManager {
        http_filters: vec![router()],
        route_specifier: rds(ads(), "routes"),
        ..hcm::HttpConnectionManager::default()
    }
}

pub(super) fn listener(manager: &hcm::HttpConnectionManager) -> pb::Listener {
    pb::Listener {
        api_listener: Some(pb::ApiListener { api_listener: Some(any(manager)) }),
        ..pb::Listener::default()
    }
}

#[track_caller]
pub(super) fn refuses(
    change: impl FnOnce(&mut hcm::HttpConnectionManager),
    field: &str,
    text: &str,
) {
    let mut manager = good();
    change(&mut manager);
    let field = format!("api_listener.api_listener{field}");
    refused(Listener, &listener(&manager), &field, text);
}

pub(super) fn made(manager: &hcm::HttpConnectionManager) -> mesh_core::resource::Listener {
    let Value::Listener(made) = decode(Listener, &listener(manager)).unwrap() else {
        panic!("no listener")
    };
    (*made).clone()
}

#[test]
fn api_listener_with_rds_or_inline_routes() {
    let found = made(&good());
    assert!(matches!(&found.api_listener.routes, RouteSpecifier::Rds(name) if &**name == "routes"));
    assert_eq!(&*found.name, "x");
    let mut manager = good();
    manager.route_specifier = Some(manager::RouteSpecifier::RouteConfig(RouteConfiguration {
        name: "inline".to_owned(),
        ..RouteConfiguration::default()
    }));
    let found = made(&manager);
    let RouteSpecifier::Inline(routes) = &found.api_listener.routes else { panic!("not inline") };
    assert_eq!(&*routes.name, "inline");
}

#[test]
fn neither_api_listener_nor_address() {
    let empty = pb::Listener::default();
    refused(Listener, &empty, "api_listener", "is missing, and so is address");
}

#[test]
fn connection_manager_missing_of_another_type_or_unreadable() {
    let with = |any| pb::Listener {
        api_listener: Some(pb::ApiListener { api_listener: any }),
        ..pb::Listener::default()
    };
    const FIELD: &str = "api_listener.api_listener";
    refused(Listener, &with(None), FIELD, "is missing");
    refused(Listener, &with(Some(unknown())), FIELD, "must be an HttpConnectionManager");
    let broken = Any { value: vec![0xff], ..any(&good()) };
    refused(Listener, &with(Some(broken)), FIELD, "cannot be read");
}

#[test]
fn routes_must_come_over_this_stream_and_be_named() {
    refuses(|m| m.route_specifier = rds(None, "r"), ".rds.config_source", "ads or self");
    let other = core::ConfigSource {
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::ApiConfigSource(
            core::ApiConfigSource::default(),
        )),
        ..core::ConfigSource::default()
    };
    refuses(|m| m.route_specifier = rds(Some(other), "r"), ".rds.config_source", "ads or self");
    refuses(|m| m.route_specifier = rds(ads(), ""), ".rds.route_config_name", "is empty");
    refuses(|m| m.route_specifier = None, "", "no route specifier");
    let scoped = manager::RouteSpecifier::ScopedRoutes(hcm::ScopedRoutes::default());
    refuses(|m| m.route_specifier = Some(scoped), ".scoped_routes", "not supported");
}

#[test]
fn filter_lists_that_are_refused() {
    refuses(|m| m.http_filters.clear(), ".http_filters", "is empty");
    refuses(|m| m.http_filters[0].name.clear(), ".http_filters[0].name", "is empty");
    let late = filter("late", any(&HttpFault::default()));
    refuses(|m| m.http_filters.push(late), ".http_filters[0]", "must be the last");
    let twice = vec![filter("a", any(&HttpFault::default())), filter("a", any(&Router::default()))];
    refuses(|m| m.http_filters = twice, ".http_filters[1].name", "occurs twice");
    let alone = vec![filter("fault", any(&HttpFault::default()))];
    refuses(|m| m.http_filters = alone, ".http_filters[0]", "last filter must be the router");
    let required = vec![filter("f", unknown()), router()];
    refuses(|m| m.http_filters = required, ".http_filters[0]", "filter is required");
    let bare = hcm::HttpFilter { name: "bare".to_owned(), ..hcm::HttpFilter::default() };
    refuses(
        |m| m.http_filters.insert(0, bare),
        ".http_filters[0].typed_config",
        "without typed_config",
    );
}

#[test]
fn unknown_optional_filter_is_passed_over_and_reported() {
    let mut manager = good();
    let optional = hcm::HttpFilter { is_optional: true, ..filter("f", unknown()) };
    manager.http_filters.insert(0, optional);
    findings(Listener, &listener(&manager), &["api_listener.api_listener.http_filters[0]"]);
}

#[test]
fn ways_to_find_a_client_that_are_not_known_are_refused() {
    let extension = core::TypedExtensionConfig::default();
    refuses(
        |m| m.original_ip_detection_extensions.push(extension),
        ".original_ip_detection_extensions[0].typed_config",
        "is missing",
    );
}

#[test]
fn max_stream_duration_is_taken_and_checked() {
    let options = |duration| {
        Some(core::HttpProtocolOptions {
            max_stream_duration: duration,
            ..core::HttpProtocolOptions::default()
        })
    };
    let mut manager = good();
    manager.common_http_protocol_options = options(seconds(5));
    manager.stream_idle_timeout = seconds(6);
    let found = made(&manager).api_listener;
    assert_eq!(found.max_stream_duration, Some(std::time::Duration::from_secs(5)));
    assert_eq!(found.stream_idle_timeout, Some(std::time::Duration::from_secs(6)));
    refuses(
        |m| m.stream_idle_timeout = seconds(-1),
        ".stream_idle_timeout",
        "not a valid duration",
    );
    refuses(
        |m| m.common_http_protocol_options = options(seconds(-1)),
        ".common_http_protocol_options.max_stream_duration",
        "not a valid duration",
    );
}

#[test]
fn settings_that_are_not_honoured_are_reported() {
    let manager = hcm::HttpConnectionManager {
        stat_prefix: "p".to_owned(),
        access_log: vec![Default::default()],
        generate_request_id: Some(BoolValue { value: false }),
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            idle_timeout: seconds(1),
            ..core::HttpProtocolOptions::default()
        }),
        ..good()
    };
    let fields = [
        "api_listener.api_listener.access_log",
        "api_listener.api_listener.common_http_protocol_options.idle_timeout",
    ];
    findings(Listener, &listener(&manager), &fields);
}

#[test]
fn inline_routes_are_checked_and_reported_under_the_listener() {
    let mut routes =
        RouteConfiguration { vhds: Some(Default::default()), ..RouteConfiguration::default() };
    let mut manager = good();
    manager.route_specifier = Some(manager::RouteSpecifier::RouteConfig(routes.clone()));
    let field = "api_listener.api_listener.route_config.vhds";
    findings(Listener, &listener(&manager), &[field]);
    routes.virtual_hosts.push(Default::default());
    refuses(
        |m| m.route_specifier = Some(manager::RouteSpecifier::RouteConfig(routes)),
        ".route_config.virtual_hosts[0].domains",
        "is empty",
    );
}
