//! DestinationRule and services to clusters and endpoints.

use mesh_pb::envoy::config::core::v3::{address, socket_address::PortSpecifier};
use mesh_pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use mesh_pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;

use super::*;

pub(super) fn destination_rule(namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: more, \
         namespace: {namespace}}}\nspec: {spec}\n---\n"
    )
}

fn balancer(model: &Model, node: &Node, name: &str) -> LbPolicy {
    model.cluster(node, name).unwrap().lb_policy()
}

/// Region, zone, address, port, weight.
type Placed = (String, String, String, u32, u32);

fn placed(model: &Model, name: &str) -> Vec<Placed> {
    let assignment = model.load_assignment(&here(), name).unwrap();
    assert_eq!(assignment.cluster_name, name);
    let mut found = Vec::new();
    for group in assignment.endpoints {
        let locality = group.locality.unwrap();
        let sum: u32 =
            group.lb_endpoints.iter().map(|e| e.load_balancing_weight.unwrap().value).sum();
        assert_eq!(group.load_balancing_weight.unwrap().value, sum);
        for endpoint in group.lb_endpoints {
            let Some(HostIdentifier::Endpoint(host)) = endpoint.host_identifier else { panic!() };
            let Some(address::Address::SocketAddress(socket)) = host.address.unwrap().address
            else {
                panic!()
            };
            let Some(PortSpecifier::PortValue(port)) = socket.port_specifier else { panic!() };
            let weight = endpoint.load_balancing_weight.unwrap().value;
            let (region, zone) = (locality.region.clone(), locality.zone.clone());
            found.push((region, zone, socket.address, port, weight));
        }
    }
    found
}

fn at(locality: (&str, &str), address: &str, port: u32, weight: u32) -> Placed {
    (locality.0.to_owned(), locality.1.to_owned(), address.to_owned(), port, weight)
}

#[test]
fn endpoints_have_ports_weights_and_localities_and_stay_in_the_namespace() {
    let model = model("");
    let first = at(("eu", "a"), "127.0.0.11", 8080, 1);
    let second = at(("eu", "a"), "127.0.0.12", 8080, 3);
    let third = at(("", ""), "127.0.0.13", 9999, 1);
    assert_eq!(placed(&model, REVIEWS), [third.clone(), first.clone(), second.clone()]);
    assert_eq!(placed(&model, V1), [first, second]);
    assert_eq!(placed(&model, V2), [third]);
}

#[test]
fn a_named_target_port_is_looked_up_in_the_workload() {
    let model = model("");
    let web = placed(&model, "outbound|80||ratings.default.svc.cluster.local");
    assert_eq!(web, [at(("", ""), "127.0.0.21", 8000, 1)]);
    let grpc = placed(&model, "outbound|9080||ratings.default.svc.cluster.local");
    assert_eq!(grpc, [at(("", ""), "127.0.0.21", 9080, 1)]);
}

#[test]
fn inline_endpoints_map_ports_by_name_and_a_double_counts_once() {
    let model = model(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: ext}\n\
         spec:\n  hosts: [ext.test]\n  resolution: STATIC\n\
         \x20 ports: [{number: 80, name: http, targetPort: 81}, {number: 90, name: tcp}]\n\
         \x20 endpoints:\n  - {address: 1.1.1.1}\n  - {address: 1.1.1.2, ports: {http: 82}}\n\
         \x20 - {address: 1.1.1.1, locality: eu}\n",
    );
    let expected = [at(("", ""), "1.1.1.1", 81, 1), at(("", ""), "1.1.1.2", 82, 1)];
    assert_eq!(placed(&model, "outbound|80||ext.test"), expected);
    assert_eq!(placed(&model, "outbound|90||ext.test")[1], at(("", ""), "1.1.1.2", 90, 1));
}

#[test]
fn endpoint_metadata_names_the_workload() {
    let model = model("");
    let assignment = model.load_assignment(&here(), V2).unwrap();
    let metadata = assignment.endpoints[0].lb_endpoints[0].metadata.as_ref().unwrap();
    let workload = &metadata.filter_metadata["istio"].fields["workload"];
    assert_eq!(workload, &metadata::string("reviews-3;default;reviews;v2;"));
    let tls = &metadata.filter_metadata["envoy.transport_socket_match"].fields["tlsMode"];
    assert_eq!(tls, &metadata::string("istio"));
}

#[test]
fn a_cluster_without_endpoints_is_there_and_empty() {
    let model =
        model("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 1}]}\n");
    assert!(placed(&model, "outbound|1||x.default.svc.cluster.local").is_empty());
    for name in
        ["outbound|2||x.default.svc.cluster.local", "outbound|1|v1|x.default.svc.cluster.local"]
    {
        assert!(model.cluster(&here(), name).is_none());
        assert!(model.load_assignment(&here(), name).is_none());
    }
}

#[test]
fn defaults_are_those_of_istio_for_the_kind_of_client() {
    let model = model("");
    let native = model.cluster(&here(), REVIEWS).unwrap();
    assert_eq!(native.lb_policy(), LbPolicy::LeastRequest);
    assert_eq!(native.connect_timeout.unwrap().seconds, 10);
    let limits = &native.circuit_breakers.unwrap().thresholds[0];
    assert_eq!(limits.max_requests.unwrap().value, u32::MAX);
    assert_eq!(limits.max_retries.unwrap().value, u32::MAX);
    assert!(native.typed_extension_protocol_options.is_empty());
    let grpc_node = here().with_mode(Mode::Grpc);
    let grpc = model.cluster(&grpc_node, REVIEWS).unwrap();
    assert_eq!((grpc.lb_policy(), grpc.circuit_breakers), (LbPolicy::RoundRobin, None));
    assert_eq!(balancer(&model, &grpc_node, V2), LbPolicy::Random);
}

#[test]
fn ports_named_for_it_speak_http2() {
    let speaks = |port: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: x}}\nspec: {{ports: [{port}]}}\n"
        );
        let cluster = model(&text).cluster(&here(), "outbound|1||x.default.svc.cluster.local");
        !cluster.unwrap().typed_extension_protocol_options.is_empty()
    };
    for port in [
        "{port: 1, name: grpc}",
        "{port: 1, name: http2-web}",
        "{port: 1, name: grpc-web}",
        "{port: 1, appProtocol: GRPC}",
        "{port: 1, appProtocol: kubernetes.io/h2c}",
    ] {
        assert!(speaks(port), "{port}");
    }
    for port in
        ["{port: 1}", "{port: 1, name: grpcish}", "{port: 1, name: grpc, appProtocol: http}"]
    {
        assert!(!speaks(port), "{port}");
    }
}

#[test]
fn limits_merge_by_block_and_port_settings_replace_all() {
    let model = model(&destination_rule(
        "default",
        r"
  host: ratings
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    connectionPool: {tcp: {maxConnections: 7, connectTimeout: 2s}, http: {http2MaxRequests: 11}}
    portLevelSettings:
    - {port: {number: 80}, connectionPool: {http: {http1MaxPendingRequests: 5, maxRetries: 4}}}
  subsets:
  - {name: a, labels: {x: z}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}}
",
    ));
    let read = |port: u16, subset: &str| {
        let name = format!("outbound|{port}|{subset}|ratings.default.svc.cluster.local");
        let cluster = model.cluster(&here(), &name).unwrap();
        let limits = cluster.circuit_breakers.clone().unwrap().thresholds.remove(0);
        let value = |v: Option<pb::UInt32Value>| v.unwrap().value;
        (
            cluster.lb_policy(),
            cluster.connect_timeout.unwrap().seconds,
            value(limits.max_connections),
            value(limits.max_requests),
            value(limits.max_pending_requests),
        )
    };
    let none = u32::MAX;
    assert_eq!(read(9080, ""), (LbPolicy::RoundRobin, 2, 7, 11, none));
    assert_eq!(read(9080, "a"), (LbPolicy::RoundRobin, 10, 1, none, none));
    assert_eq!(read(80, ""), (LbPolicy::LeastRequest, 10, none, none, 5));
}

#[test]
fn rules_are_looked_for_at_the_client_then_the_service_then_the_root() {
    let host = "reviews.default.svc.cluster.local";
    let rule = |namespace: &str, host: &str, balancer: &str| {
        let spec =
            format!("{{host: '{host}', trafficPolicy: {{loadBalancer: {{simple: {balancer}}}}}}}");
        destination_rule(namespace, &spec)
    };
    let root = rule("istio-system", "*.cluster.local", "ROUND_ROBIN");
    let client = rule("client", host, "RANDOM");
    let ratings = "outbound|80||ratings.default.svc.cluster.local";
    let model = model(&format!("{root}{client}"));
    assert_eq!(balancer(&model, &here(), ratings), LbPolicy::RoundRobin);
    assert_eq!(balancer(&model, &Node::new("x", "client"), REVIEWS), LbPolicy::Random);
    // The service's own rule hides the root's, though it says nothing of balancing.
    assert_eq!(balancer(&model, &here(), REVIEWS), LbPolicy::LeastRequest);
    let root = Node::new("x", "istio-system");
    assert_eq!(balancer(&model, &root, ratings), LbPolicy::RoundRobin);
}

#[test]
fn cluster_metadata_names_service_rule_and_subset() {
    let model = model("");
    let metadata = model.cluster(&here(), V1).unwrap().metadata.unwrap();
    let fields = &metadata.filter_metadata["istio"].fields;
    assert_eq!(fields["subset"], metadata::string("v1"));
    let path = "/apis/networking.istio.io/v1/namespaces/default/destination-rule/reviews";
    assert_eq!(fields["config"], metadata::string(path));
    let service = metadata::object([
        ("host", metadata::string("reviews.default.svc.cluster.local")),
        ("name", metadata::string("reviews")),
        ("namespace", metadata::string("default")),
    ]);
    assert_eq!(fields["services"], metadata::list(vec![service]));
}

fn tls_rule(settings: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: tls}}\n\
         spec:\n  host: reviews\n  trafficPolicy: {{tls: {settings}}}\n"
    )
}

fn tls_of(more: &str, node: &Node) -> Option<tls::UpstreamTlsContext> {
    tls_of_cluster(&model(more), node, REVIEWS)
}

fn tls_of_cluster(model: &Model, node: &Node, name: &str) -> Option<tls::UpstreamTlsContext> {
    use mesh_pb::envoy::config::core::v3::transport_socket::ConfigType;
    let socket = model.cluster(node, name).unwrap().transport_socket?;
    let ConfigType::TypedConfig(any) = socket.config_type.unwrap();
    Some(prost::Message::decode(&*any.value).unwrap())
}

fn validation(context: &tls::UpstreamTlsContext) -> &tls::CertificateValidationContext {
    use tls::common_tls_context::ValidationContextType as Type;
    match context.common_tls_context.as_ref().unwrap().validation_context_type.as_ref().unwrap() {
        Type::ValidationContext(found) => found,
        Type::CombinedValidationContext(found) => {
            found.default_validation_context.as_ref().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[allow(deprecated, reason = "the list that gRPC reads")]
fn names(context: &tls::UpstreamTlsContext) -> Vec<String> {
    let all = validation(context).match_subject_alt_names.iter();
    all.map(|name| match name.match_pattern.as_ref().unwrap() {
        MatchPattern::Exact(name) => name.clone(),
        other => panic!("{other:?}"),
    })
    .collect()
}

#[test]
fn mutual_tls_of_the_mesh_is_by_the_clients_certificates_and_the_services_accounts() {
    let account = "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
                   metadata: {name: reviews-9}\nspec: {address: 127.0.0.19, \
                   labels: {app: reviews}, serviceAccount: bookinfo-reviews}\n---\n";
    let mutual = format!("{account}{}", tls_rule("{mode: ISTIO_MUTUAL}"));
    let context = tls_of(&mutual, &here()).unwrap();
    let common = context.common_tls_context.as_ref().unwrap();
    let own = common.tls_certificate_provider_instance.as_ref().unwrap();
    assert_eq!((&*own.instance_name, &*own.certificate_name), ("default", "default"));
    let roots = validation(&context).ca_certificate_provider_instance.as_ref().unwrap();
    assert_eq!((&*roots.instance_name, &*roots.certificate_name), ("default", "ROOTCA"));
    assert_eq!(names(&context), ["spiffe://cluster.local/ns/default/sa/bookinfo-reviews"]);
    assert_eq!(context.sni, "outbound_.9080_._.reviews.default.svc.cluster.local");
    let grpc = here().with_mode(Mode::Grpc);
    assert_eq!(tls_of(&mutual, &grpc).unwrap().sni, "");
    // What the rule says counts.
    let told = tls_rule("{mode: ISTIO_MUTUAL, subjectAltNames: [spiffe://a/b], sni: x.test}");
    let context = tls_of(&format!("{account}{told}"), &here()).unwrap();
    assert_eq!((names(&context), &*context.sni), (vec!["spiffe://a/b".to_owned()], "x.test"));
    // Envoy is told to ask for both as secrets.
    let context = tls_of(&mutual, &here().with_mode(Mode::Envoy)).unwrap();
    let common = context.common_tls_context.as_ref().unwrap();
    assert_eq!(common.tls_certificate_sds_secret_configs[0].name, "default");
    let typed = &validation(&context).match_typed_subject_alt_names;
    assert_eq!(typed[0].san_type(), tls::subject_alt_name_matcher::SanType::Uri);
}

#[test]
fn tls_by_files_is_for_whom_the_rule_names_else_for_the_host() {
    let simple = tls_of(&tls_rule("{mode: SIMPLE}"), &here()).unwrap();
    assert!(validation(&simple).system_root_certs.is_some());
    assert_eq!(simple.sni, "reviews.default.svc.cluster.local");
    assert!(simple.auto_sni_san_validation, "nobody else's certificate will do");
    let named = "{mode: SIMPLE, caCertificates: /ca.pem, subjectAltNames: [a.test], sni: b.test}";
    let named = tls_of(&tls_rule(named), &here()).unwrap();
    assert!(validation(&named).trusted_ca.is_some() && !named.auto_sni_san_validation);
    assert_eq!((names(&named), &*named.sni), (vec!["a.test".to_owned()], "b.test"));
    let mutual = "{mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem}";
    let mutual = tls_of(&tls_rule(mutual), &here()).unwrap();
    assert_eq!(mutual.common_tls_context.unwrap().tls_certificates.len(), 1);
}

#[test]
fn tls_to_hosts_of_any_name_is_for_the_endpoints_name() {
    let any = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: any}\n\
               spec: {hosts: ['*.any.test'], ports: [{number: 443, name: http, protocol: HTTP}], \
               resolution: STATIC, endpoints: [{address: 127.0.0.20}]}\n---\n\
               apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
               metadata: {name: any}\nspec: {host: '*.any.test', \
               trafficPolicy: {tls: {mode: SIMPLE}}}\n";
    let name = "outbound|443||*.any.test";
    let context = tls_of_cluster(&model(any), &here(), name).unwrap();
    assert_eq!(context.sni, "");
    assert!(context.auto_host_sni && context.auto_sni_san_validation);
}

#[test]
fn tls_is_never_left_out() {
    assert!(tls_of(&tls_rule("{mode: DISABLE}"), &here()).is_none());
    for mode in [Mode::Native, Mode::Envoy, Mode::Grpc] {
        for settings in [
            "{mode: SIMPLE}",
            "{mode: ISTIO_MUTUAL}",
            "{mode: MUTUAL, credentialName: secret}",
            "{mode: SIMPLE, insecureSkipVerify: true}",
        ] {
            let node = here().with_mode(mode);
            assert!(tls_of(&tls_rule(settings), &node).is_some(), "{mode:?} {settings}");
        }
    }
}
