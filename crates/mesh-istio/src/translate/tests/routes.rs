//! VirtualService to routes.

use super::*;

#[test]
fn without_a_rule_everything_goes_to_the_service_on_istios_defaults() {
    let routes = routes(&model(""), &here());
    let action = action(&routes[0]);
    assert_eq!((routes.len(), routes[0].name.as_str()), (1, "default"));
    assert_eq!(cluster_of(&routes[0]), REVIEWS);
    let zero = Some(pb::Duration::default());
    assert_eq!(action.timeout, zero);
    assert_eq!(action.max_stream_duration.unwrap().max_stream_duration, zero);
    let retry = action.retry_policy.as_ref().unwrap();
    assert_eq!(retry.num_retries.unwrap().value, 2);
    assert!(retry.retry_on.starts_with("connect-failure,refused-stream,unavailable,cancelled"));
    assert_eq!(retry.host_selection_retry_max_attempts, 5);
}

#[test]
fn domains_are_what_clients_of_the_namespace_may_call_it() {
    let model = model("");
    let domains = |namespace: &str| {
        let node = Node::new("x", namespace);
        let config = model.route_configuration(&node, REVIEWS).unwrap();
        assert_eq!(config.virtual_hosts[0].name, "reviews.default.svc.cluster.local:9080");
        config.virtual_hosts[0].domains.clone()
    };
    let names = |domains: &[String]| -> Vec<String> {
        domains.iter().filter(|d| !d.contains(':')).cloned().collect()
    };
    let full = "reviews.default.svc.cluster.local";
    let dotted = format!("{full}.");
    let own = domains("default");
    assert_eq!(
        names(&own),
        [full, &dotted, "reviews", "reviews.default", "reviews.default.svc", "10.0.0.1"]
    );
    assert_eq!(own.len(), 2 * names(&own).len());
    assert!(own.contains(&"reviews:9080".to_owned()));
    assert!(!names(&domains("other")).contains(&"reviews".to_owned()));
}

#[test]
fn weights_become_weighted_clusters_and_zero_takes_no_part() {
    let model = model(&rule(
        r"
  hosts: [reviews]
  http:
  - route:
    - {destination: {host: reviews, subset: v1}, weight: 90, headers: {response: {set: {x: '1'}}}}
    - {destination: {host: reviews, subset: v2}, weight: 10}
    - {destination: {host: ratings, port: {number: 80}}, weight: 0}
",
    ));
    let routes = routes(&model, &here());
    let Some(ClusterSpecifier::WeightedClusters(weighted)) = &action(&routes[0]).cluster_specifier
    else {
        panic!()
    };
    let clusters: Vec<_> =
        weighted.clusters.iter().map(|c| (c.name.as_str(), c.weight.unwrap().value)).collect();
    assert_eq!(clusters, [(V1, 90), (V2, 10)]);
    assert_eq!(weighted.clusters[0].response_headers_to_add.len(), 1);
}

#[test]
fn each_match_is_a_route_and_one_that_takes_all_is_the_last() {
    let model = model(&rule(
        r"
  hosts: [reviews]
  http:
  - name: jason
    match:
    - {name: header, headers: {end-user: {exact: jason}}}
    - {uri: {prefix: /j}, ignoreUriCase: true}
    - {uri: {exact: /elsewhere}, port: 80}
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
  - match: [{uri: {prefix: /never}}]
    route: [{destination: {host: ratings, port: {number: 80}}}]
",
    ));
    let routes = routes(&model, &here());
    let names: Vec<_> = routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["jason.header", "jason", "default"]);
    assert_eq!(routes.iter().map(cluster_of).collect::<Vec<_>>(), [V2, V2, V1]);
    let second = routes[1].r#match.as_ref().unwrap();
    assert_eq!(second.path_specifier, Some(PathSpecifier::Prefix("/j".to_owned())));
    assert!(!second.case_sensitive.unwrap().value);
    let config = &routes[0].metadata.as_ref().unwrap().filter_metadata["istio"].fields["config"];
    let path = "/apis/networking.istio.io/v1/namespaces/default/virtual-service/rule";
    assert_eq!(config, &metadata::string(path));
}

#[test]
fn header_rules_tell_absence_from_difference() {
    let model = model(&rule(
        r#"
  hosts: [reviews]
  http:
  - match:
    - headers: {a: {regex: "[0-9]+"}, b: {regex: "*"}, c: {}}
      withoutHeaders: {d: {exact: x}, e: {}}
      method: {exact: GET}
      queryParams: {q: {prefix: p}, any: {}}
    route: [{destination: {host: reviews}}]
"#,
    ));
    let routes = routes(&model, &here());
    let found = routes[0].r#match.as_ref().unwrap();
    let shape: Vec<_> = found
        .headers
        .iter()
        .map(|h| {
            use xds::header_matcher::HeaderMatchSpecifier::PresentMatch;
            let present = h.header_match_specifier == Some(PresentMatch(true));
            (h.name.as_str(), present, h.invert_match, h.treat_missing_header_as_empty)
        })
        .collect();
    assert_eq!(
        shape,
        [
            ("a", false, false, false),
            ("b", true, false, false),
            ("c", true, false, false),
            ("d", false, true, true),
            ("e", true, true, false),
            (":method", false, false, false),
        ]
    );
    assert_eq!(found.query_parameters.len(), 2);
}

#[test]
fn header_changes_and_the_authority() {
    let model = model(&rule(
        r"
  hosts: [reviews]
  http:
  - headers: {request: {set: {a: '1', ':path': /no}, add: {b: '2'}, remove: [c, host]}}
    route:
    - destination: {host: reviews}
      headers: {request: {set: {Host: other.test, d: '3'}}, response: {remove: [e]}}
",
    ));
    let route = routes(&model, &here()).remove(0);
    let added: Vec<_> = route
        .request_headers_to_add
        .iter()
        .map(|h| (h.header.as_ref().unwrap().key.as_str(), h.append_action))
        .collect();
    assert_eq!(added, [("a", 2), ("b", 0), ("d", 2)]);
    assert_eq!(route.request_headers_to_remove, ["c"]);
    assert_eq!(route.response_headers_to_remove, ["e"]);
    assert_eq!(
        action(&route).host_rewrite_specifier,
        Some(HostRewriteSpecifier::HostRewriteLiteral("other.test".to_owned()))
    );
}

#[test]
#[allow(deprecated, reason = "the older field is the one that counts beside `timeout`")]
fn timeouts_reach_each_kind_of_client_where_it_looks() {
    let model = model(&rule(
        "  hosts: [reviews]\n  http: [{timeout: 1.5s, route: [{destination: {host: reviews}}]}]\n",
    ));
    let timeout = Some(pb::Duration { seconds: 1, nanos: 500_000_000 });
    let native = routes(&model, &here()).remove(0);
    assert_eq!(action(&native).timeout, timeout);
    assert_eq!(action(&native).max_stream_duration, None);
    assert_eq!(action(&native).max_grpc_timeout, timeout);
    let grpc = routes(&model, &here().with_mode(Mode::Grpc)).remove(0);
    let stream = action(&grpc).max_stream_duration.unwrap();
    assert_eq!((stream.max_stream_duration, stream.grpc_timeout_header_max), (timeout, None));
}

#[test]
fn retries_say_what_is_set_and_keep_the_rest() {
    let retry = |retries: &str| {
        let text = format!(
            "  hosts: [reviews]\n  http: [{{retries: {retries}, route: [{{destination: {{host: \
             reviews}}}}]}}]\n"
        );
        action(&routes(&model(&rule(&text)), &here())[0]).retry_policy.clone()
    };
    assert_eq!(retry("{attempts: 0}"), None);
    let policy = retry("{attempts: 3, perTryTimeout: 250ms, retryOn: '5xx,429', backoff: 1s}");
    let policy = policy.unwrap();
    assert_eq!(policy.num_retries.unwrap().value, 3);
    assert_eq!(policy.retry_on, "5xx,retriable-status-codes");
    assert_eq!(policy.retriable_status_codes, [429]);
    assert_eq!(policy.per_try_timeout, Some(pb::Duration { seconds: 0, nanos: 250_000_000 }));
    assert_eq!(policy.retry_back_off.unwrap().base_interval.unwrap().seconds, 1);
    assert_eq!(policy.retry_host_predicate.len(), 1);
    let same = retry("{attempts: 1, retryIgnorePreviousHosts: false}").unwrap();
    assert!(same.retry_host_predicate.is_empty());
}

#[test]
fn the_source_decides_which_matches_concern_a_client() {
    let model = model(&rule(
        r"
  hosts: [reviews]
  http:
  - match: [{sourceLabels: {version: basic}}]
    route: [{destination: {host: reviews, subset: v1}}]
  - match: [{sourceNamespace: other}]
    route: [{destination: {host: ratings, port: {number: 9080}}}]
  - route: [{destination: {host: reviews, subset: v2}}]
",
    ));
    let basic = Labels::from([("version".to_owned(), "basic".to_owned())]);
    assert_eq!(cluster_of(&routes(&model, &here().with_labels(basic))[0]), V1);
    assert_eq!(cluster_of(&routes(&model, &here())[0]), V2);
    let other = routes(&model, &Node::new("x", "other"));
    assert_eq!(cluster_of(&other[0]), "outbound|9080||ratings.default.svc.cluster.local");
}

#[test]
fn the_port_of_a_destination_is_its_own_or_the_only_or_the_dialled_one() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: single}\n\
                   spec: {ports: [{port: 7000}]}\n---\n";
    let to = |destination: &str| {
        let text =
            format!("  hosts: [reviews]\n  http: [{{route: [{{destination: {destination}}}]}}]\n");
        let model = model(&format!("{service}{}", rule(&text)));
        cluster_of(&routes(&model, &here())[0]).to_owned()
    };
    let named =
        |port: u16, host: &str| format!("outbound|{port}||{host}.default.svc.cluster.local");
    assert_eq!(to("{host: ratings, port: {number: 80}}"), named(80, "ratings"));
    assert_eq!(to("{host: single}"), named(7000, "single"));
    assert_eq!(to("{host: ratings}"), named(9080, "ratings"));
    // A dot makes a name final, as in Istio.
    assert_eq!(to("{host: ratings.default}"), "outbound|9080||ratings.default");
}

#[test]
fn of_several_rules_the_most_specific_then_private_then_oldest_holds() {
    let one = |name: &str, namespace: &str, created: &str, export: &str, hosts: &str, to: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, \
             namespace: {namespace}, creationTimestamp: '{created}'}}\nspec: {{hosts: [{hosts}], \
             exportTo: [{export}], http: [{{name: {name}, \
             route: [{{destination: {{host: {to}}}}}]}}]}}\n---\n"
        )
    };
    let host = "reviews.default.svc.cluster.local";
    let text = [
        one("wild", "default", "2001-01-01T00:00:00Z", "'*'", "'*.svc.cluster.local'", host),
        one("young", "default", "2020-01-01T00:00:00Z", "'*'", host, host),
        one("old", "default", "2010-01-01T00:00:00Z", "'*'", host, host),
        one("private", "p", "2021-01-01T00:00:00Z", "'.'", host, host),
        one("hidden", "q", "2000-01-01T00:00:00Z", "'.'", host, host),
    ];
    let model = model(&text.concat());
    assert_eq!(routes(&model, &here())[0].name, "old");
    assert_eq!(routes(&model, &Node::new("x", "p"))[0].name, "private");
    let ratings = "outbound|80||ratings.default.svc.cluster.local";
    let config = model.route_configuration(&here(), ratings).unwrap();
    assert_eq!(config.virtual_hosts[0].routes[0].name, "wild");
}

#[test]
fn a_rule_for_gateways_alone_does_not_hold_in_the_mesh() {
    let bound = |gateways: &str| {
        let text = format!(
            "  hosts: [reviews]\n  gateways: [{gateways}]\n  http: [{{name: bound, route: \
             [{{destination: {{host: reviews}}}}]}}]\n"
        );
        routes(&model(&rule(&text)), &here())[0].name.clone()
    };
    assert_eq!(bound("edge"), "default");
    assert_eq!(bound("edge, mesh"), "bound");
}

#[test]
fn a_host_that_only_a_rule_knows_is_served_on_port_80() {
    let model =
        model(&rule("  hosts: [api.test]\n  http: [{route: [{destination: {host: ratings}}]}]\n"));
    assert!(model.listener(&here(), "api.test:80").is_some());
    assert!(model.listener(&here(), "api.test:81").is_none());
    let config = model.route_configuration(&here(), "outbound|80||api.test").unwrap();
    let route = &config.virtual_hosts[0].routes[0];
    assert_eq!(cluster_of(route), "outbound|80||ratings.default.svc.cluster.local");
}

#[test]
fn a_route_may_answer_by_itself() {
    let model = model(&rule(
        r"
  hosts: [reviews]
  http:
  - match: [{uri: {exact: /gone}}]
    directResponse: {status: 410, body: {string: no more}}
    headers: {response: {set: {x: z}}}
  - match: [{uri: {exact: /bytes}}]
    directResponse: {status: 200, body: {bytes: AAEC}}
  - match: [{uri: {prefix: /old}}]
    redirect: {prefixRewrite: /new, authority: a.test, redirectCode: 308, derivePort: FROM_REQUEST_PORT}
  - redirect: {uri: /elsewhere, scheme: https, port: 443}
  - route: [{destination: {host: reviews}}]
",
    ));
    let routes = routes(&model, &here());
    assert_eq!(routes.len(), 4, "what follows a redirect of everything is never reached");
    assert_eq!(routes[0].response_headers_to_add.len(), 1);
    let body = |route: &xds::Route| match &route.action {
        Some(Action::DirectResponse(answer)) => (answer.status, answer.body.clone().unwrap()),
        other => panic!("{other:?}"),
    };
    use mesh_pb::envoy::config::core::v3::data_source::Specifier;
    let (status, gone) = body(&routes[0]);
    assert_eq!((status, gone.specifier), (410, Some(Specifier::InlineString("no more".into()))));
    assert_eq!(body(&routes[1]).1.specifier, Some(Specifier::InlineBytes(vec![0, 1, 2])));
    let redirect = |route: &xds::Route| match &route.action {
        Some(Action::Redirect(redirect)) => redirect.clone(),
        other => panic!("{other:?}"),
    };
    use xds::redirect_action::{PathRewriteSpecifier, RedirectResponseCode};
    let old = redirect(&routes[2]);
    assert_eq!((old.host_redirect.as_str(), old.port_redirect), ("a.test", 9080));
    assert_eq!(old.response_code(), RedirectResponseCode::PermanentRedirect);
    let prefix = PathRewriteSpecifier::PrefixRewrite("/new".to_owned());
    assert_eq!(old.path_rewrite_specifier, Some(prefix));
    let all = redirect(&routes[3]);
    assert_eq!(all.port_redirect, 0, "a scheme's own port is left out");
    let path = PathRewriteSpecifier::PathRedirect("/elsewhere".to_owned());
    assert_eq!(all.path_rewrite_specifier, Some(path));
}

#[test]
fn no_request_has_a_claim() {
    let model = model(&rule(
        r#"
  hosts: [reviews]
  http:
  - match: [{headers: {"@request.auth.claims.group": {exact: admin}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{withoutHeaders: {"@request.auth.claims.group": {exact: admin}}, uri: {prefix: /a}}]
    route: [{destination: {host: reviews, subset: v1}}]
"#,
    ));
    let routes = routes(&model, &here());
    assert_eq!(routes.iter().map(cluster_of).collect::<Vec<_>>(), [V1]);
    assert!(routes[0].r#match.as_ref().unwrap().headers.is_empty());
}
