use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::Snapshot;
use crate::dialect::Dialect;
use crate::exchange::{Exchange, Failure, Next, Reply, ResponseFlags};
use crate::filter::{Context, Request, Response};
use crate::headers::{BodyFormat, BodyTemplate, Format, JsonTemplate};
use crate::resource::*;
use crate::snapshot::RootHint;
use crate::testing::cluster;

fn format(text: &str) -> Format {
    Format::parse(text.as_bytes(), |_, _| {}).unwrap()
}

fn text(text: &str) -> BodyFormat {
    BodyFormat::new(BodyTemplate::Text(format(text)))
}

fn json(fields: &[(&str, Value)]) -> BodyFormat {
    let fields = fields.iter().map(|(name, value)| (Name::from(*name), value.clone())).collect();
    BodyFormat::new(BodyTemplate::Json(JsonTemplate::object(&fields, &mut |_, _| {}).unwrap()))
}

/// Routes: `/d` answers 418 with `tea`, `/c` goes to a cluster, nothing takes the rest.
fn manager() -> HttpConnectionManager {
    let direct = DirectResponse::new(StatusCode::IM_A_TEAPOT, "tea");
    let direct = Route::new(RouteMatch::prefix("/d"), Action::DirectResponse(Box::new(direct)));
    let forward = Forward::new(ClusterSpecifier::Cluster("c".into()));
    let forward = Route::new(RouteMatch::prefix("/c"), Action::Forward(Arc::new(forward)));
    let host = VirtualHost::new("h", ["*"], vec![direct, forward]);
    let routes = Arc::new(RouteConfiguration::new("r", vec![host]));
    HttpConnectionManager::new(RouteSpecifier::Inline(routes))
}

fn answered(manager: HttpConnectionManager, path: &str, sent: &[(&'static str, &str)]) -> Reply {
    let listener = Listener::new("l", manager);
    let resources: Resources =
        [Resource::from(listener), cluster("c").into()].into_iter().collect();
    let (snapshot, _) = Snapshot::compile(&resources, None, &());
    let root = snapshot.root(&"l".into(), &RootHint::new()).unwrap();
    assert!(!snapshot.is_plain(root));
    let (mut method, mut headers) = (Method::GET, HeaderMap::new());
    for (name, value) in sent {
        let value = HeaderValue::from_str(value).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
    let context = Context::new(Instant::now(), SystemTime::UNIX_EPOCH, 0, Dialect::Http);
    let mut request = Request::new(&mut method, "h", path.to_owned(), &mut headers);
    let (exchange, next) = Exchange::begin(&snapshot, root, &mut request, &context);
    match next {
        Next::Reply(reply) => *reply,
        Next::Fail(why) => exchange.fail(&snapshot, Failure::NoRoute(why), false, &context),
        Next::Forward { .. } => {
            let mut headers = headers.clone();
            let mut response = Response::new(StatusCode::OK, &mut headers);
            assert!(exchange.changes_response(&snapshot) || snapshot.via(root).is_none());
            exchange.respond(&snapshot, &mut response, &context);
            let mut reply = Reply::new(StatusCode::OK, "via_upstream");
            reply.headers = headers;
            reply
        }
        Next::Delay { .. } => panic!("nothing delays"),
    }
}

fn with(config: LocalReplyConfig) -> HttpConnectionManager {
    let mut manager = manager();
    manager.local_reply = Some(Arc::new(config));
    manager
}

fn body(reply: &Reply) -> &str {
    str::from_utf8(&reply.body).unwrap()
}

fn kind(reply: &Reply) -> Option<&str> {
    reply.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap())
}

#[test]
fn first_mapper_that_holds_changes_body_headers_and_status() {
    let status = |value| ReplyFilter::StatusCode(Comparison::Eq, value);
    let mut tea = ResponseMapper::new(status(418));
    tea.body = Some("coffee".into());
    tea.status_code = Some(StatusCode::ACCEPTED);
    tea.headers_to_add.add = vec![HeaderOperation::new(
        HeaderName::from_static("x-was"),
        HeaderText::from(format("%RESPONSE_CODE%")),
        AppendAction::OverwriteIfExistsOrAdd,
    )];
    let mut never = ResponseMapper::new(ReplyFilter::Constant(true));
    never.status_code = Some(StatusCode::BAD_GATEWAY);
    let mut config = LocalReplyConfig::default();
    config.mappers = vec![ResponseMapper::new(status(1)), tea, never];
    let reply = answered(with(config.clone()), "/d", &[]);
    assert_eq!((reply.status, body(&reply)), (StatusCode::ACCEPTED, "coffee"));
    assert_eq!(
        (kind(&reply), &reply.headers["x-was"]),
        (Some("text/plain"), &"418".parse().unwrap())
    );
    let reply = answered(with(config), "/none", &[]);
    assert_eq!((reply.status, body(&reply)), (StatusCode::BAD_GATEWAY, ""));
    assert_eq!(kind(&reply), None);
}

#[test]
fn body_is_written_in_the_mappers_format_else_the_common_one() {
    let mut own = ResponseMapper::new(ReplyFilter::ResponseFlags(Vec::new()));
    let mut html = text("<b>%RESPONSE_FLAGS%</b>");
    html.content_type = Some(HeaderValue::from_static("text/html"));
    own.body_format_override = Some(html);
    let mut config = LocalReplyConfig::default();
    config.mappers = vec![own];
    config.body_format = Some(text("%LOCAL_REPLY_BODY% %RESPONSE_CODE% %REQ(x)%"));
    let reply = answered(with(config.clone()), "/d", &[]);
    assert_eq!((body(&reply), kind(&reply)), ("tea 418 -", Some("text/plain")));
    let reply = answered(with(config.clone()), "/none", &[]);
    assert_eq!((body(&reply), kind(&reply)), ("<b>NR</b>", Some("text/html")));

    config.body_format.as_mut().unwrap().omit_empty_values = true;
    let reply = answered(with(config), "/d", &[]);
    assert_eq!(body(&reply), "tea 418 ");
}

#[test]
fn json_tells_numbers_nulls_and_what_is_nested() {
    let list = Value::List(vec![Value::String("%REQ(x)%".into()), Value::Number(2.5)]);
    let inner = [(Name::from("f"), Value::String("%REQ(x)%".into()))].into_iter().collect();
    let fields = [
        ("status", Value::String("%RESPONSE_CODE%".into())),
        ("body", Value::String("%LOCAL_REPLY_BODY%".into())),
        ("none", Value::String("%REQ(x)%".into())),
        ("mixed", Value::String("a-%REQ(x)%".into())),
        ("list", list),
        ("inner", Value::Struct(inner)),
        ("large", Value::Number(1e20)),
        ("null", Value::Null),
    ];
    let mut config = LocalReplyConfig::default();
    config.body_format = Some(json(&fields));
    let reply = answered(with(config.clone()), "/d", &[]);
    assert_eq!(kind(&reply), Some("application/json"));
    let told = r#"{"body":"tea","inner":{"f":null},"large":1e+20,"list":[null,2.5],"mixed":"a--","#;
    assert_eq!(body(&reply), format!("{told}\"none\":null,\"null\":null,\"status\":418}}\n"));

    config.body_format.as_mut().unwrap().omit_empty_values = true;
    let reply = answered(with(config.clone()), "/d", &[]);
    let told = r#"{"body":"tea","large":1e+20,"list":[2.5],"mixed":"a-","status":418}"#;
    assert_eq!(body(&reply), format!("{told}\n"));

    // A message of gRPC is one line.
    let reply = answered(with(config), "/none", &[("content-type", "application/grpc")]);
    let message = reply.headers["grpc-message"].to_str().unwrap();
    assert!(message.starts_with('{') && message.ends_with('}'), "{message}");
}

#[test]
fn conditions_hold_as_they_say() {
    let header = HeaderMatcher::new(HeaderName::from_static("accept"), ValueMatch::Present(true));
    let present = ValueMatcher::Present(true);
    let matcher = || Box::new(MetadataMatcher::new("f", vec!["k".into()], present.clone()));
    let code = |op, value| ReplyFilter::StatusCode(op, value);
    let all = |any| ReplyFilter::And(any);
    for (filter, holds) in [
        (ReplyFilter::Constant(false), false),
        (code(Comparison::Ne, 404), false),
        (code(Comparison::Le, 404), true),
        (code(Comparison::Ge, 405), false),
        (all(vec![ReplyFilter::Constant(true), code(Comparison::Eq, 404)]), true),
        (all(vec![ReplyFilter::Constant(true), code(Comparison::Eq, 405)]), false),
        (ReplyFilter::Or(vec![code(Comparison::Eq, 405), ReplyFilter::Constant(true)]), true),
        (ReplyFilter::Header(Box::new(header)), true),
        (ReplyFilter::ResponseFlags(vec![ResponseFlags::NO_ROUTE_FOUND]), true),
        (ReplyFilter::ResponseFlags(vec![ResponseFlags::NO_CLUSTER_FOUND]), false),
        (ReplyFilter::GrpcStatus { statuses: vec![12], exclude: false }, true),
        (ReplyFilter::GrpcStatus { statuses: vec![12], exclude: true }, false),
        (ReplyFilter::Share(FractionalPercent::percent(100)), true),
        (ReplyFilter::Share(FractionalPercent::NONE), false),
        (ReplyFilter::Metadata { matcher: matcher(), if_missing: true }, true),
        (ReplyFilter::Metadata { matcher: matcher(), if_missing: false }, false),
    ] {
        let told = format!("{filter:?}");
        let mut mapper = ResponseMapper::new(filter);
        mapper.status_code = Some(StatusCode::BAD_GATEWAY);
        let mut config = LocalReplyConfig::default();
        config.mappers = vec![mapper];
        let reply = answered(with(config), "/none", &[("accept", "x")]);
        assert_eq!(reply.status == StatusCode::BAD_GATEWAY, holds, "{told}");
    }
}

#[test]
fn requests_and_answers_name_who_was_on_the_way() {
    let mut manager = manager();
    manager.via = Some(HeaderValue::from_static("mesh"));
    // What went upstream comes back here.
    let reply = answered(manager.clone(), "/c", &[("via", "1.1 a"), ("via", "1.1 b")]);
    assert_eq!(reply.headers["via"], "1.1 a, 1.1 b, mesh, mesh");
    assert_eq!(answered(manager.clone(), "/d", &[]).headers["via"], "mesh");
    assert_eq!(answered(manager, "/none", &[]).headers["via"], "mesh");
}

#[test]
fn paths_and_bodies_are_made_of_requests() {
    let mut forward = Forward::new(ClusterSpecifier::Cluster("c".into()));
    forward.path_rewrite = Some(PathRewrite::Format(Arc::new(format("/n/%REQ(x)%"))));
    let rewritten = Route::new(RouteMatch::prefix("/c"), Action::Forward(Arc::new(forward)));
    let mut to = Redirect::new();
    to.path = RedirectPath::Format(Arc::new(format("%REQ(x)%")));
    let moved = Route::new(RouteMatch::prefix("/m"), Action::Redirect(Box::new(to)));
    let mut direct = DirectResponse::new(StatusCode::OK, "in");
    let body_format = text("%LOCAL_REPLY_BODY% %REQ(x)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%");
    direct.body_format = Some(Arc::new(body_format));
    let direct = Route::new(RouteMatch::prefix("/b"), Action::DirectResponse(Box::new(direct)));
    let host = VirtualHost::new("h", ["*"], vec![rewritten, moved, direct]);
    let routes = Arc::new(RouteConfiguration::new("r", vec![host]));
    let mut manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes));
    manager.canonical.path.normalize_path = true;

    let reply = answered(manager.clone(), "/c/d?q", &[("x", "v")]);
    assert_eq!(reply.headers["x-envoy-original-path"], "/c/d?q");
    for (path, sent, location) in [
        ("/m?q", "v", "http://h/v?q"),
        ("/m?q", "/v?r", "http://h/v?r"),
        ("/m?q", "", "http://h/m?q"),
    ] {
        let reply = answered(manager.clone(), path, &[("x", sent)]);
        assert_eq!(reply.headers["location"], location, "{path} {sent}");
    }
    assert_eq!(body(&answered(manager.clone(), "/b", &[])), "in - 0 -");
    assert_eq!(body(&answered(manager, "/b", &[("x", "v")])), "in v 0 -");
}
