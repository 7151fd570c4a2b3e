//! What configuration makes of requests on their way out, and of answers that are made here, in
//! plain HTTP and in gRPC.

use mesh_core::Dialect::{self, Grpc, Http};
use mesh_tests::client::Answer;
use mesh_tests::send;
use mesh_tests::world::Notes;
use mesh_tests::written::{Live, Written, always, bucket, call, endpoints, typed};
use serde_json::{Value, json};

const RBAC: &str = "envoy.extensions.filters.http.rbac.v3.RBAC";
const BOTH: [Dialect; 2] = [Http, Grpc];

async fn ask(live: &Live, path: &str, headers: &[(&str, &str)]) -> Answer {
    let sent = send(&live.channel, call(path, headers)).await;
    sent.unwrap_or_else(|error| panic!("{path} {headers:?}: {error}"))
}

#[tokio::test]
async fn headers_and_parameters_are_mutated() {
    let mutation = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
    let append = |key: &str, value: &str, action: &str| {
        let header = json!({"key": key, "value": value});
        json!({"append": {"header": header, "append_action": action}})
    };
    let parameter = |key: &str, value: &str, action: &str| {
        let record = json!({"key": key, "value": value});
        json!({"append": {"record": record, "action": action}})
    };
    let config = json!({"mutations": {
        "request_mutations": [
            append("x-new", "%REQ(:method)% %REQ(x-user)%", "APPEND_IF_EXISTS_OR_ADD"),
            append("x-two", "2", "APPEND_IF_EXISTS_OR_ADD"),
            append("x-there", "again", "ADD_IF_ABSENT"),
            append("x-over", "new", "OVERWRITE_IF_EXISTS_OR_ADD"),
            append("x-absent", "never", "OVERWRITE_IF_EXISTS"),
            {"remove": "x-gone"},
            {"remove_on_match": {"key_matcher": {"prefix": "x-internal-"}}},
        ],
        "query_parameter_mutations": [
            parameter("a", "9", "OVERWRITE_IF_EXISTS_OR_ADD"),
            parameter("b", "9", "ADD_IF_ABSENT"),
            parameter("c", "%REQ(x-user)%", "APPEND_IF_EXISTS_OR_ADD"),
            {"remove": "d"},
        ],
        "response_mutations": [
            append("x-answer", "%RESPONSE_CODE% %RESP(x-own)%", "OVERWRITE_IF_EXISTS_OR_ADD"),
            {"remove": "x-away"},
        ],
    }});
    let of_route = json!({"mutations": {"request_mutations": [
        append("x-route", "%ROUTE_NAME%", "APPEND_IF_EXISTS_OR_ADD"),
    ]}});
    let of_route = typed(&format!("{mutation}PerRoute"), &of_route);
    for dialect in BOTH {
        let server = Notes::answering(|_| (200, &[("x-own", "kept"), ("x-away", "1")])).await;
        let written = Written::new(&[server.address()]).with_filter(mutation, &config);
        let fields = json!({"name": "all", "typed_per_filter_config": {"under-test": of_route}});
        let live = written.with_first_route(fields).channel_of(dialect).await;
        assert_eq!(live.mesh.findings(), []);
        let sent = [
            ("x-user", "eve"),
            ("x-two", "1"),
            ("x-there", "1"),
            ("x-over", "old"),
            ("x-gone", "1"),
            ("x-internal-a", "1"),
        ];
        let answer = ask(&live, "/p?a=1&b=2&d=4", &sent).await;
        assert_eq!((answer.header("x-answer"), answer.header("x-away")), ("200 kept", ""));
        let seen = &server.seen()[0];
        assert_eq!(seen.path, "/p?a=9&b=2&c=eve", "{dialect:?}");
        for (name, values) in [
            ("x-new", &["POST eve"][..]),
            ("x-two", &["1", "2"]),
            ("x-there", &["1"]),
            ("x-over", &["new"]),
            ("x-route", &["all"]),
            ("x-absent", &[]),
            ("x-gone", &[]),
            ("x-internal-a", &[]),
        ] {
            let got: Vec<_> = seen.headers.get_all(name).iter().collect();
            assert_eq!(got, values, "{dialect:?} {name}");
        }
    }
}

#[tokio::test]
async fn paths_and_authorities_are_rewritten() {
    let pattern = json!({"regex": "^/(\\w+)/(\\w+)$"});
    for (rewrite, path, authority) in [
        (json!({"prefix_rewrite": "/v2."}), "/v2.Cart/Get", "things:80"),
        (
            json!({"regex_rewrite": {"pattern": pattern, "substitution": "/\\2/of/\\1"}}),
            "/Get/of/Cart",
            "things:80",
        ),
        (
            json!({"host_rewrite_literal": "inner:81", "append_x_forwarded_host": true}),
            "/Cart/Get",
            "inner:81",
        ),
        (json!({"host_rewrite_header": "x-host"}), "/Cart/Get", "told"),
        (json!({"host_rewrite": "%REQ(x-host)%.made"}), "/Cart/Get", "told.made"),
    ] {
        for dialect in BOTH {
            let server = Notes::take().await;
            let written = Written::new(&[server.address()]).with_action(rewrite.clone());
            let live = written.channel_of(dialect).await;
            assert_eq!(ask(&live, "/Cart/Get", &[("x-host", "told")]).await.status, 200);
            let seen = &server.seen()[0];
            assert_eq!((&*seen.path, &*seen.authority), (path, authority), "{dialect:?} {rewrite}");
            let forwarded =
                seen.headers.get("x-forwarded-host").is_some_and(|it| it == "things:80");
            assert_eq!(forwarded, authority == "inner:81", "{dialect:?} {rewrite}");
        }
    }
}

#[tokio::test]
async fn paths_and_targets_of_redirects_are_made_by_commands() {
    for dialect in BOTH {
        let server = Notes::take().await;
        let route = json!({"path_rewrite": "/made/%REQ(x-user)%/%REQ(:method)%"});
        let written = Written::new(&[server.address()]).with_action(route);
        let live = written.channel_of(dialect).await;
        assert_eq!(ask(&live, "/a/b?c=d", &[("x-user", "eve")]).await.status, 200);
        assert_eq!(server.seen()[0].path, "/made/eve/POST?c=d", "{dialect:?}");
        // What no path is made of is not sent.
        let sent = send(&live.channel, call("/a/b", &[("x-user", "a b")])).await;
        assert!(sent.is_err() || sent.is_ok_and(|it| !it.header("grpc-status").is_empty()));
        assert_eq!(server.seen().len(), 1);

        let redirect = json!({"path_rewrite": "/to/%REQ(x-user)%", "https_redirect": true});
        let route = json!({"match": {"prefix": "/"}, "redirect": redirect});
        let written = Written::new(&[server.address()]).with_routes(json!([route]));
        let live = written.channel_of(dialect).await;
        let request = http::Request::get("/a").header("x-user", "eve");
        let answer = send(&live.channel, request.body(mesh_tower::Body::empty()).unwrap()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 301);
        assert!(answer.header("location").ends_with("/to/eve"), "{}", answer.header("location"));
    }
}

#[tokio::test]
async fn answers_made_here_are_written_as_configured() {
    let status = |op: &str, value: u32| {
        let value = json!({"default_value": value, "runtime_key": "k"});
        json!({"status_code_filter": {"comparison": {"op": op, "value": value}}})
    };
    let manager = json!({"via": "edge", "local_reply_config": {
        "mappers": [
            {
                "filter": status("EQ", 418), "status_code": 429,
                "headers_to_add": [{"header": {"key": "x-made", "value": "%REQ(x-user)%"}}],
            },
            {"filter": status("GE", 500), "body": {"inline_string": "sorry"}},
        ],
        "body_format": {"json_format": {
            "path": "%REQ(:path)%", "body": "%LOCAL_REPLY_BODY%", "code": "%RESPONSE_CODE%",
        }},
    }});
    let direct = |path: &str, status: u32| {
        let body = json!({"inline_string": "plain"});
        json!({"match": {"prefix": path}, "direct_response": {"status": status, "body": body}})
    };
    let formed = json!({
        "match": {"prefix": "/formed"},
        "direct_response": {"status": 200, "body": {"inline_string": "B"}, "body_format": {
            "text_format_source": {"inline_string": "%REQ(x-user)% %LOCAL_REPLY_BODY%\n"},
            "content_type": "text/eve",
        }},
    });
    let rest = json!({"match": {"prefix": "/"}, "route": {"cluster": "things"}});
    for dialect in BOTH {
        let server = Notes::take().await;
        let routes = json!([direct("/tea", 418), direct("/bad", 500), formed, rest]);
        let written = Written::new(&[server.address()]).with_routes(routes);
        let live = written.with_manager(manager.clone()).channel_of(dialect).await;
        assert_eq!(live.mesh.findings(), []);
        let plain = async |path: &str| {
            let request = http::Request::get(path).header("x-user", "eve");
            send(&live.channel, request.body(mesh_tower::Body::empty()).unwrap()).await.unwrap()
        };
        let json = |answer: &Answer| serde_json::from_slice::<Value>(&answer.body).unwrap();
        let tea = plain("/tea").await;
        assert_eq!((tea.status.as_u16(), tea.header("x-made")), (429, "eve"));
        assert_eq!(tea.header("via"), "edge");
        assert_eq!(json(&tea), json!({"path": "/tea", "body": "plain", "code": 429}));
        let bad = plain("/bad").await;
        assert_eq!(json(&bad), json!({"path": "/bad", "body": "sorry", "code": 500}));
        // A call has its message as a status.
        let bad = ask(&live, "/bad", &[]).await;
        assert_eq!((bad.status.as_u16(), bad.header("grpc-status")), (200, "2"));
        assert!(bad.header("grpc-message").contains("sorry"), "{}", bad.header("grpc-message"));
        assert_eq!(plain("/on").await.header("via"), "edge");
        assert_eq!(server.seen()[0].headers["via"], "edge");
        assert_eq!(plain("/formed").await.status, 200);

        let written = Written::new(&[server.address()]);
        let live = written.with_routes(json!([formed])).channel_of(dialect).await;
        let request = http::Request::get("/formed").header("x-user", "eve");
        let answer = send(&live.channel, request.body(mesh_tower::Body::empty()).unwrap()).await;
        let answer = answer.unwrap();
        assert_eq!((answer.text(), answer.header("content-type")), ("eve B\n", "text/eve"));
    }
}

/// An application's own request comes over no connection: what a rule asks of one is not known,
/// and what is not known lets nothing pass.
#[tokio::test]
async fn rules_about_connections_let_no_own_request_pass() {
    let range = json!({"address_prefix": "0.0.0.0", "prefix_len": 0});
    let any = json!({"any": true});
    for (permission, principal) in [
        (&any, json!({"direct_remote_ip": range})),
        (&any, json!({"remote_ip": range})),
        (&any, json!({"authenticated": {"principal_name": {"prefix": "spiffe"}}})),
        (&any, json!({"not_id": {"direct_remote_ip": range}})),
        (&json!({"destination_port": 80}), any.clone()),
        (&json!({"destination_ip": range}), any.clone()),
        (&json!({"not_rule": {"requested_server_name": {"exact": "x"}}}), any.clone()),
    ] {
        let server = Notes::take().await;
        for (action, dialect) in ["ALLOW", "DENY"].into_iter().flat_map(|it| BOTH.map(|d| (it, d)))
        {
            let policy = json!({"permissions": [permission], "principals": [principal]});
            let config = json!({"rules": {"action": action, "policies": {"it": policy}}});
            let written = Written::new(&[server.address()]).with_filter(RBAC, &config);
            let live = written.channel_of(dialect).await;
            let answer = ask(&live, "/a/b", &[]).await;
            let what = format!("{action} {dialect:?} {permission} {principal}");
            assert_eq!(answer.header("grpc-status"), "7", "{what}");
            assert!(server.seen().is_empty(), "{what}");
        }
    }
}

/// Neither does it have an address, nor a listener's port.
#[tokio::test]
async fn what_is_of_a_connection_does_nothing_to_own_requests() {
    for dialect in BOTH {
        let (one, other) = (Notes::take().await, Notes::take().await);
        let config = json!({
            "stat_prefix": "tests", "token_bucket": bucket(100),
            "filter_enabled": always(), "filter_enforced": always(),
            "descriptors": [
                {"entries": [{"key": "remote_address", "value": ""}], "token_bucket": bucket(1)},
            ],
        });
        let action = json!({
            "hash_policy": [{"connection_properties": {"source_ip": true}}],
            "rate_limits": [{"actions": [{"remote_address": {}}]}],
        });
        let filter = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
        let group = endpoints(&[one.address(), other.address()]);
        let live = Written::new(&[])
            .with_cluster("things", &json!({"lb_policy": "RING_HASH"}), &[group])
            .with_filter(filter, &config)
            .with_action(action)
            .with_manager(json!({"strip_matching_host_port": true}))
            .channel_of(dialect)
            .await;
        for _ in 0..40 {
            assert_eq!(ask(&live, "/a/b", &[]).await.header("grpc-status"), "");
        }
        for server in [&one, &other] {
            let seen = server.seen();
            assert!((5..=35).contains(&seen.len()), "{dialect:?}: {}", seen.len());
            assert_eq!(seen[0].authority, "things:80");
        }
    }
}
