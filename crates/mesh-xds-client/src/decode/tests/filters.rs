use std::collections::HashMap;

use mesh_core::ResourceType::{Listener, RouteConfiguration as Routes};
use mesh_core::resource::{
    CanonicalOptions, FilterConfig, FilterOverride, HttpFilterKind, PathWithEscapedSlashesAction,
    StripPort,
};
use mesh_pb::envoy::config::common::mutation_rules::v3 as rules;
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::config::listener::v3 as pb;
use mesh_pb::envoy::config::route::v3::{FilterConfig as Wrapper, RouteConfiguration};
use mesh_pb::envoy::extensions::filters::http::cors::v3::{Cors, CorsPolicy};
use mesh_pb::envoy::extensions::filters::http::header_mutation::v3 as mutation;
use mesh_pb::envoy::extensions::filters::http::router::v3::Router;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::google::protobuf::{Any, BoolValue};
use prost::{Message, Name};

use super::{decode, findings, refused, unknown};
use crate::decode::Value;

fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn filter(name: &str, config: Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..hcm::HttpFilter::default()
    }
}

fn listener(
    filters: Vec<hcm::HttpFilter>,
    set: impl FnOnce(&mut hcm::HttpConnectionManager),
) -> pb::Listener {
    let routes = hcm::http_connection_manager::RouteSpecifier::RouteConfig(Default::default());
    let mut manager = hcm::HttpConnectionManager {
        stat_prefix: "p".to_owned(),
        http_filters: filters,
        route_specifier: Some(routes),
        ..hcm::HttpConnectionManager::default()
    };
    manager.http_filters.push(filter("router", any(&Router::default())));
    set(&mut manager);
    let api_listener = core_api(any(&manager));
    pb::Listener { name: "x".to_owned(), api_listener, ..pb::Listener::default() }
}

fn core_api(manager: Any) -> Option<pb::ApiListener> {
    Some(pb::ApiListener { api_listener: Some(manager) })
}

fn kinds(listener: &pb::Listener) -> Vec<(HttpFilterKind, bool)> {
    let Value::Listener(made) = decode(Listener, listener).unwrap() else { panic!("no listener") };
    made.api_listener.filters.iter().map(|filter| (filter.kind.clone(), filter.disabled)).collect()
}

fn mutations(action: rules::header_mutation::Action) -> mutation::Mutations {
    let change = rules::HeaderMutation { action: Some(action) };
    mutation::Mutations { request_mutations: vec![change], ..mutation::Mutations::default() }
}

fn remove(name: &str) -> mutation::Mutations {
    mutations(rules::header_mutation::Action::Remove(name.to_owned()))
}

#[test]
fn known_filters_are_read() {
    let own = mutation::HeaderMutation {
        mutations: Some(remove("x-a")),
        most_specific_header_mutations_wins: true,
    };
    let off = hcm::HttpFilter { disabled: true, ..filter("hm", any(&own)) };
    let found = kinds(&listener(vec![filter("cors", any(&Cors {})), off], |_| {}));
    assert!(matches!(found[0], (HttpFilterKind::Cors, false)), "{found:?}");
    let (HttpFilterKind::HeaderMutation(made), true) = &found[1] else { panic!("{found:?}") };
    assert!(made.most_specific_header_mutations_wins && made.request.len() == 1);
    let bad = mutation::HeaderMutation { mutations: Some(remove(":path")), ..own };
    let field = "api_listener.api_listener.http_filters[0].typed_config.mutations\
                 .request_mutations[0].remove";
    let bad = listener(vec![filter("hm", any(&bad))], |_| {});
    refused(Listener, &bad, field, "may not be removed");
}

#[test]
fn options_of_the_manager_are_read() {
    use hcm::http_connection_manager::{PathWithEscapedSlashesAction as Action, StripPortMode};
    let made = |set: fn(&mut hcm::HttpConnectionManager)| -> CanonicalOptions {
        match decode(Listener, &listener(Vec::new(), set)).unwrap() {
            Value::Listener(made) => made.api_listener.canonical,
            other => panic!("{other:?}"),
        }
    };
    assert!(made(|_| {}).is_idle());
    let all = made(|manager| {
        manager.normalize_path = Some(BoolValue { value: true });
        manager.merge_slashes = true;
        manager.path_with_escaped_slashes_action = Action::UnescapeAndRedirect.into();
        manager.strip_matching_host_port = true;
        manager.strip_trailing_host_dot = true;
    });
    assert!(all.path.normalize_path && all.path.merge_slashes && all.strip_trailing_host_dot);
    let action = all.path.path_with_escaped_slashes_action;
    assert_eq!(action, PathWithEscapedSlashesAction::UnescapeAndRedirect);
    assert_eq!(all.strip_port, StripPort::Matching);
    let both = listener(Vec::new(), |manager| {
        manager.strip_matching_host_port = true;
        manager.strip_port_mode = Some(StripPortMode::StripAnyHostPort(true));
    });
    let field = "api_listener.api_listener.strip_matching_host_port";
    refused(Listener, &both, field, "together");
    let strange = listener(Vec::new(), |manager| manager.path_with_escaped_slashes_action = 9);
    let field = "api_listener.api_listener.path_with_escaped_slashes_action";
    refused(Listener, &strange, field, "unknown value 9");
}

fn routes(config: Any) -> RouteConfiguration {
    let typed_per_filter_config = HashMap::from([("f".to_owned(), config)]);
    RouteConfiguration { typed_per_filter_config, ..RouteConfiguration::default() }
}

fn wrapper(config: Option<Any>) -> Wrapper {
    Wrapper { config, ..Wrapper::default() }
}

#[test]
fn overrides_are_read_with_and_without_their_wrapper() {
    let of = |config: Any| match decode(Routes, &routes(config)).unwrap() {
        Value::RouteConfiguration(made) => made.filters.get("f").cloned(),
        other => panic!("{other:?}"),
    };
    let cors = || any(&CorsPolicy::default());
    let plain = of(cors());
    assert!(matches!(plain, Some(FilterOverride::Config(FilterConfig::Cors(_)))), "{plain:?}");
    let wrapped = of(any(&wrapper(Some(cors()))));
    assert!(matches!(wrapped, Some(FilterOverride::Config(FilterConfig::Cors(_)))), "{wrapped:?}");
    let disabled = of(any(&Wrapper { disabled: true, ..wrapper(None) }));
    assert!(matches!(disabled, Some(FilterOverride::Disabled)), "{disabled:?}");
    let enabled = of(any(&wrapper(Some(Any::default()))));
    assert!(matches!(enabled, Some(FilterOverride::Enabled)), "{enabled:?}");
}

#[test]
fn overrides_of_unknown_types_are_refused_unless_they_are_optional() {
    let field = "typed_per_filter_config[\"f\"]";
    refused(Routes, &routes(unknown()), field, "it is required");
    let inside = format!("{field}.config");
    refused(Routes, &routes(any(&wrapper(Some(unknown())))), &inside, "it is required");
    refused(Routes, &routes(any(&wrapper(None))), &inside, "is missing");
    let optional = Wrapper { is_optional: true, ..wrapper(Some(unknown())) };
    findings(Routes, &routes(any(&optional)), &[&inside]);
}

#[test]
fn query_mutations_are_checked() {
    use mesh_pb::google::protobuf::Value as Any;
    use mesh_pb::google::protobuf::value::Kind;
    let of = |change: core::KeyValueMutation| {
        let query_parameter_mutations = vec![change];
        let mutations = mutation::Mutations { query_parameter_mutations, ..Default::default() };
        routes(any(&mutation::HeaderMutationPerRoute { mutations: Some(mutations) }))
    };
    let append = |key: &str, kind| {
        let value = Some(Any { kind: Some(kind) });
        let record = core::KeyValuePair { key: key.to_owned(), value };
        let append = core::KeyValueAppend { record: Some(record), ..Default::default() };
        core::KeyValueMutation { append: Some(append), ..Default::default() }
    };
    let text = || Kind::StringValue("v".to_owned());
    assert!(decode(Routes, &of(append("k", text()))).is_ok());
    let field = "typed_per_filter_config[\"f\"].mutations.query_parameter_mutations[0]";
    let at = |rest: &str| format!("{field}{rest}");
    refused(Routes, &of(Default::default()), &at(".remove"), "is empty");
    refused(Routes, &of(append("", text())), &at(".append.record.key"), "is empty");
    let number = append("k", Kind::NumberValue(1.0));
    refused(Routes, &of(number), &at(".append.record.value"), "must be a string");
    let both = core::KeyValueMutation { remove: "k".to_owned(), ..append("k", text()) };
    refused(Routes, &of(both), field, "only one of");
}
