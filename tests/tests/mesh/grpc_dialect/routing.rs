//! Which route, and which cluster, a call takes.

use mesh_core::Dialect;
use mesh_tests::written::typed;
use serde_json::{Value, json};

use super::{NONE, Two, ask, grpc, to, tried};

/// A condition on a route; a call that meets it, and one that does not.
type Condition<'a> =
    (Value, (&'a str, &'a [(&'a str, &'a str)]), (&'a str, &'a [(&'a str, &'a str)]));

fn conditions() -> Vec<Condition<'static>> {
    let template = typed(
        "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
        &json!({"path_template": "/{service}/Get"}),
    );
    let header = |fields: Value| {
        let mut header = json!({"name": "x-stage"});
        for (field, value) in fields.as_object().unwrap() {
            header[field] = value.clone();
        }
        json!({"prefix": "/", "headers": [header]})
    };
    let text = |kind: &str, value: &str| header(json!({"string_match": {kind: value}}));
    let (new, old): (&[_], &[_]) = (&[("x-stage", "new-2")], &[("x-stage", "old")]);
    let share = |numerator: u32| {
        let fraction = json!({"default_value": {"numerator": numerator}});
        json!({"prefix": "/", "runtime_fraction": fraction})
    };
    let mut table = vec![
        (json!({"path": "/a.B/C"}), ("/a.B/C", NONE), ("/a.B/D", NONE)),
        (
            json!({"safe_regex": {"regex": "/shop\\..*/Get[A-Z].*"}}),
            ("/shop.Cart/GetAll", NONE),
            ("/shop.Cart/Get", NONE),
        ),
        (
            json!({"path_separated_prefix": "/shop.Cart"}),
            ("/shop.Cart/Get", NONE),
            ("/shop.Carts/Get", NONE),
        ),
        (
            json!({"path_match_policy": {"name": "t", "typed_config": template}}),
            ("/shop.Cart/Get", NONE),
            ("/shop.Cart/Set", NONE),
        ),
        (json!({"path": "/a.b/c", "case_sensitive": false}), ("/A.B/C", NONE), ("/a.b/d", NONE)),
        (
            json!({"prefix": "/", "query_parameters": [
                {"name": "debug", "string_match": {"exact": "1"}},
            ]}),
            ("/a/b?debug=1", NONE),
            ("/a/b?debug=2", NONE),
        ),
        (
            json!({"prefix": "/", "cookies": [
                {"name": "stage", "string_match": {"exact": "new"}},
            ]}),
            ("/a/b", &[("cookie", "a=b; stage=new")]),
            ("/a/b", &[("cookie", "stage=old")]),
        ),
        (json!({"prefix": "/", "grpc": {}}), ("/a/b", NONE), ("", NONE)),
        (share(100), ("/a/b", NONE), ("", NONE)),
        (share(0), ("", NONE), ("/a/b", NONE)),
        (
            header(json!({"range_match": {"start": 5, "end": 9}})),
            ("/", &[("x-stage", "8")]),
            ("/", &[("x-stage", "9")]),
        ),
        (header(json!({"present_match": true})), ("/", old), ("/", NONE)),
        (header(json!({"present_match": false})), ("/", NONE), ("/", old)),
        (
            header(json!({"string_match": {"exact": "old"}, "invert_match": true})),
            ("/", new),
            ("/", old),
        ),
        (
            header(json!({
                "string_match": {"exact": "old"}, "invert_match": true,
                "treat_missing_header_as_empty": true,
            })),
            ("/", NONE),
            ("/", old),
        ),
        // gRFC A41: the values of a repeated header are one.
        (
            text("exact", "new-2,old"),
            ("/", &[("x-stage", "new-2"), ("x-stage", "old")]),
            ("/", new),
        ),
    ];
    for (kind, value) in
        [("exact", "new-2"), ("prefix", "new"), ("suffix", "-2"), ("contains", "w-")]
    {
        table.push((text(kind, value), ("/", new), ("/", old)));
    }
    table.push((
        header(json!({"string_match": {"safe_regex": {"regex": "new-\\d"}}})),
        ("/", new),
        ("/", old),
    ));
    table
}

#[tokio::test]
async fn conditions_of_routes_choose_among_calls() {
    let two = Two::start().await;
    for (condition, meets, fails) in conditions() {
        let chosen = json!({"match": condition, "route": {"cluster": "others"}});
        let live = grpc(two.written().with_routes(json!([chosen, to("things")]))).await;
        for ((path, headers), expected) in [(meets, (0, 1)), (fails, (1, 0))] {
            if !path.is_empty() {
                let got = two.of(&live, path, headers).await;
                assert_eq!(got, expected, "{condition} {path} {headers:?}");
            }
        }
    }
}

#[tokio::test]
async fn clusters_are_chosen_by_weight_number_hash_and_name() {
    for dialect in [Dialect::Http, Dialect::Grpc] {
        clusters_are_chosen(dialect).await;
    }
}

async fn clusters_are_chosen(dialect: Dialect) {
    let two = Two::start().await;
    let weighted = |more: Value| {
        let mut clusters = json!({"clusters": [
            {"name": "things", "weight": 75}, {"name": "others", "weight": 25},
        ]});
        for (field, value) in more.as_object().unwrap() {
            clusters[field] = value.clone();
        }
        let mut route = json!({"match": {"prefix": "/"}, "route": {"weighted_clusters": clusters}});
        if clusters["use_hash_policy"] == true {
            route["route"]["hash_policy"] = json!([{"header": {"header_name": "x-user"}}]);
        }
        two.written().with_routes(json!([route]))
    };

    let live = weighted(json!({})).channel_of(dialect).await;
    let before = two.counts();
    for _ in 0..200 {
        ask(&live, "/a/b", NONE).await;
    }
    let others = two.counts().1 - before.1;
    assert!((25..=75).contains(&others), "{others} of 200");

    let live = weighted(json!({"header_name": "x-number"})).channel_of(dialect).await;
    for (number, expected) in [("0", (1, 0)), ("74", (1, 0)), ("75", (0, 1)), ("199", (0, 1))] {
        assert_eq!(two.of(&live, "/a/b", &[("x-number", number)]).await, expected, "{number}");
    }

    // Each user has one cluster, and both have users.
    let live = weighted(json!({"use_hash_policy": true})).channel_of(dialect).await;
    let mut of_others = 0;
    for user in 0..40 {
        let user = user.to_string();
        let first = two.of(&live, "/a/b", &[("x-user", &user)]).await;
        for _ in 0..3 {
            assert_eq!(two.of(&live, "/c/d", &[("x-user", &user)]).await, first, "user {user}");
        }
        of_others += first.1;
    }
    assert!((3..=20).contains(&of_others), "{of_others} of 40");

    let by_name = json!({"match": {"prefix": "/"}, "route": {"cluster_header": "x-cluster"}});
    // Clusters that nothing else names are not known.
    let known = json!({"match": {"prefix": "/known"}, "route": {"cluster": "others"}});
    let live =
        two.written().with_routes(json!([known, by_name, to("things")])).channel_of(dialect).await;
    assert_eq!(two.of(&live, "/a/b", &[("x-cluster", "others")]).await, (0, 1));
    assert_eq!(two.of(&live, "/a/b", &[("x-cluster", "things")]).await, (1, 0));
    assert!(tried(&live, "/a/b", &[("x-cluster", "nobody")]).await.is_err());
}

#[tokio::test]
async fn routes_are_found_by_matcher_trees() {
    let two = Two::start().await;
    let action = |cluster: &str| {
        let route = typed("envoy.config.route.v3.Route", &to(cluster));
        json!({"action": {"name": "route", "typed_config": route}})
    };
    let input = |kind: &str, config: Value| {
        let config = typed(&format!("envoy.type.matcher.v3.{kind}"), &config);
        json!({"name": "i", "typed_config": config})
    };
    let matcher = json!({
        "matcher_tree": {
            "input": input("HttpRequestHeaderMatchInput", json!({"header_name": "x-stage"})),
            "exact_match_map": {"map": {"new": action("others")}},
        },
        "on_no_match": action("things"),
    });
    let written = two.written().with_host(json!({"matcher": matcher, "routes": []}));
    let live = grpc(written).await;
    assert_eq!(two.of(&live, "/a/b", &[("x-stage", "new")]).await, (0, 1));
    assert_eq!(two.of(&live, "/a/b", &[("x-stage", "old")]).await, (1, 0));
}

/// gRFC A27: the host of a channel is that of its target, whatever a call says of itself.
#[tokio::test]
async fn virtual_host_is_that_of_the_target_in_grpc_and_a_headers_in_http() {
    let two = Two::start().await;
    let host = |name: &str, domain: &str, cluster: &str| {
        let routes = [to(cluster)];
        json!({"name": name, "domains": [domain], "routes": routes})
    };
    let table = json!({
        "vhost_header": "x-host",
        "virtual_hosts": [host("own", "things:80", "things"), host("all", "*", "others")],
    });
    let written = two.written().with_table(table);
    for (dialect, expected) in
        [(Dialect::Grpc, [(1, 0), (1, 0)]), (Dialect::Http, [(0, 1), (1, 0)])]
    {
        let live = written.clone().channel_of(dialect).await;
        for (host, expected) in ["elsewhere", "things:80"].into_iter().zip(expected) {
            assert_eq!(
                two.of(&live, "/a/b", &[("x-host", host)]).await,
                expected,
                "{dialect:?} {host}"
            );
        }
    }
}
