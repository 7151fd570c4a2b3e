use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use super::*;
use crate::dialect::Dialect;
use crate::exchange::ResponseFlags;
use crate::filter::{Context, Request, Response};
use crate::head::Head;
use crate::origin::Origin;
use crate::resource::{
    AppendAction, HeaderMutation, HeaderOperation, HeaderText, Metadata, Struct, Value,
};

fn parse(text: &str) -> Result<Format, String> {
    Format::parse(text.as_bytes(), |_, _| {}).map_err(|error| error.to_string())
}

fn metadata() -> Metadata {
    let inner = Struct::from([("i".into(), Value::String("deep".into()))]);
    let fields = Struct::from([
        ("k".into(), Value::String("mv".into())),
        ("n".into(), Value::Number(5.0)),
        ("b".into(), Value::Bool(true)),
        ("o".into(), Value::Struct(inner)),
        ("l".into(), Value::List(vec![Value::Number(1.0), Value::String("a\"".into())])),
        ("z".into(), Value::Null),
    ]);
    Metadata { fields: [("ns".into(), fields)].into() }
}

fn context(metadata: &Metadata) -> Context<'_> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_267_841_548);
    let mut context = Context::new(Instant::now(), time, 0, Dialect::Http);
    context.names.route = "rn";
    context.names.cluster = "c";
    context.names.upstream = Some(([10, 1, 2, 3], 80).into());
    context.names.route_metadata = Some(metadata);
    context
}

/// Texts and what Envoy 1.40 was seen to make of them, on the request and on the response.
const SEEN: &[(&str, &str, &str)] = &[
    ("%%", "%", "%"),
    ("50%%", "50%", "50%"),
    ("%%%REQ(x-a)%%%", "%alpha%", "%alpha%"),
    ("%REQ(X-A)%", "alpha", "alpha"),
    ("%REQ(x-a):3%", "alp", "alp"),
    ("%REQ(x-a):0%", "", ""),
    ("%REQ(x-none?x-a):2%", "al", "al"),
    ("%REQ(x-a?)%", "alpha", "alpha"),
    ("%REQ(?x-a)%", "alpha", "alpha"),
    ("%REQ(x-none)%", "", ""),
    ("%REQ(:nope)%", "", ""),
    ("%REQ(:method)% %REQ(:path)% %REQ(host)%", "GET /p?q=1&r=a%20b h", "GET /p?q=1&r=a%20b h"),
    ("%STREAM_INFO_REQ(x-a)% %REQUEST_HEADER(x-a)%", "alpha alpha", "alpha alpha"),
    ("%PROTOCOL()% %PROTOCOL%", "HTTP/1.1 HTTP/1.1", "HTTP/1.1 HTTP/1.1"),
    ("%RESP(:status)%|%RESP(x-none?x-r)%", "|", "200|r"),
    ("%RESPONSE_CODE%", "0", "200"),
    ("%RESPONSE_CODE_DETAILS%", "", "via_upstream"),
    ("%RESPONSE_FLAGS%", "-", "-"),
    ("%ROUTE_NAME% %UPSTREAM_CLUSTER%", "rn c", "rn c"),
    ("%PATH% %PATH(NQ)% %PATH(WQ:ORIG)%", "/p?q=1&r=a%20b /p ", "/p?q=1&r=a%20b /p "),
    ("%PATH():3%", "/p?", "/p?"),
    ("%QUERY_PARAM(r):2%|%QUERY_PARAM(no)%", "a |", "a |"),
    (
        "%QUERY_PARAMS% %QUERY_PARAMS(DECODED)%",
        "q=1&r=a%20b q=1&r=a%20b",
        "q=1&r=a%20b q=1&r=a%20b",
    ),
    ("%METADATA(ROUTE:ns:k):1% %METADATA(ROUTE:ns:n)%", "m 5", "m 5"),
    ("%METADATA(ROUTE:ns:l)%", r#"[1,"a\""]"#, r#"[1,"a\""]"#),
    (
        "%METADATA(ROUTE:ns:o)% %METADATA(ROUTE:ns:o:i)%",
        r#"{"i":"deep"} deep"#,
        r#"{"i":"deep"} deep"#,
    ),
    ("%METADATA(ROUTE:ns:z)%%METADATA(ROUTE:ns:k:x)%%METADATA(ROUTE)%", "", ""),
    ("%DYNAMIC_METADATA(a)b)%%METADATA(LISTENER:a:b)%", "", ""),
    ("%START_TIME%", "2026-11-21T13:30:41.548Z", "2026-11-21T13:30:41.548Z"),
    (
        "%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%",
        "2026/11/21T13:30:41+0000 1795267841",
        "2026/11/21T13:30:41+0000 1795267841",
    ),
    (
        "%START_TIME(%s.%3f %f %E*S)%",
        "1795267841.548 548000000 41.548",
        "1795267841.548 548000000 41.548",
    ),
    (
        "%START_TIME(%j %a %b %e %p %Q (x) %%)%",
        "325 Sat Nov 21 PM %Q (x) %",
        "325 Sat Nov 21 PM %Q (x) %",
    ),
    ("%DOWNSTREAM_REMOTE_ADDRESS%", "192.0.2.77:500", "192.0.2.77:500"),
    ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT(16)%", "192.0.0.0/16", "192.0.0.0/16"),
    ("%DOWNSTREAM_REMOTE_PORT%", "500", "500"),
    ("%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.1.2.3", "10.1.2.3"),
    ("%REQUESTED_SERVER_NAME%|%REQUESTED_SERVER_NAME(SNI_FIRST)%", "|h", "|h"),
    ("%ENVIRONMENT(HOME)% %BYTES_RECEIVED% %HOSTNAME%", "- 0 ", "- 0 "),
    ("%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "1", "1"),
];

#[test]
fn writes_what_envoy_writes() {
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_static("alpha"));
    headers.append("x-a", HeaderValue::from_static("second"));
    let mut of_response = HeaderMap::new();
    of_response.insert("x-r", HeaderValue::from_static("r"));
    let metadata = metadata();
    let context = context(&metadata);
    let mut origin = Origin::APPLICATION;
    origin.peer = Some(([192, 0, 2, 77], 500).into());
    let head = Head::of_parts(&Method::GET, "http", "h", "/p?q=1&r=a%20b", &headers);
    let request = Facts::of_request(head.from_origin(&origin), Version::HTTP_11, &context);
    let response = ResponseFacts::of_upstream(StatusCode::OK, &of_response);
    let response = Facts { response: Some(response), ..request };
    for (text, on_request, on_response) in SEEN {
        let format = parse(text).unwrap();
        let made = |facts| String::from_utf8(format.write(facts)).unwrap();
        assert_eq!(made(&request), *on_request, "{text}");
        assert_eq!(made(&response), *on_response, "{text}");
    }
}

#[test]
fn refuses_what_envoy_refuses() {
    let table = [
        ("%REQ(x-a)", "position 0"),
        ("a%", "position 1"),
        ("%a%", "position 0"),
        ("%REQ(x-a)%%", "position 10"),
        ("% REQ(x-a)%", "position 0"),
        ("%REQ(x-a):a%", "position 0"),
        ("%REQ(x-a):99999999999999999999%", "position 0"),
        ("%UNKNOWN%", "unknown command"),
        ("%PER_REQUEST_STATE%", "needs parameters"),
        ("%REQ%", "needs parameters"),
        ("%REQ()%", "needs parameters"),
        ("%REQ(a?b?c)%", "more than one alternative"),
        ("%REQ(x a)%", "not a header name"),
        ("%REQ(a(b))%", "not a header name"),
        ("%PROTOCOL:3%", "takes no parameters or length"),
        ("%HOSTNAME(a)%", "takes no parameters or length"),
        ("%START_TIME:5%", "takes no length"),
        ("%CLUSTER_METADATA(ns:k):2%", "takes no length"),
        ("%START_TIME(a%nb)%", "newline"),
        ("%METADATA(route:ns:k)%", "no kind of metadata"),
        ("%PATH(a)%", "WQ or NQ"),
        ("%PATH(WQ:x)%", "ORIG"),
        ("%QUERY_PARAMS(a)%", "DECODED"),
        ("%REQUESTED_SERVER_NAME(a)%", "SNI_ONLY"),
        ("%GRPC_STATUS(a)%", "CAMEL_STRING"),
        ("%COMMON_DURATION(DS_RX_BEG:DS_RX_END:x)%", "START:END"),
        ("%FILTER_STATE(a:X)%", "KEY"),
        ("%XFCC_VALUE(a)%", "uri or dns"),
    ];
    for (text, want) in table {
        let error = parse(text).expect_err(text);
        assert!(error.contains(want), "{text}: {error}");
    }
}

#[test]
fn notes_commands_that_tell_nothing() {
    let mut noted = Vec::new();
    let text = b"%CONNECTION_ID% %REQ(a)% %UPSTREAM_TLS_CIPHER% %TRACE_ID%";
    Format::parse(text, |name, _| noted.push(name.to_owned())).unwrap();
    assert_eq!(noted, ["CONNECTION_ID", "UPSTREAM_TLS_CIPHER", "TRACE_ID"]);
}

fn operation(name: &'static str, value: &str, action: AppendAction) -> HeaderOperation {
    let value = HeaderText::from(parse(value).unwrap());
    HeaderOperation::new(HeaderName::from_static(name), value, action)
}

fn changed(mutation: &HeaderMutation, given: &[(&'static str, &str)]) -> Vec<String> {
    let (mut method, mut headers) = (Method::GET, HeaderMap::new());
    for (name, value) in given {
        headers.append(*name, value.parse().unwrap());
    }
    let metadata = Metadata::default();
    let mut request = Request::new(&mut method, "h", "/p?a=x%0Ay", &mut headers);
    let result = mutation.change_request(&mut request, &context(&metadata));
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.extend(result.err().map(|invalid| format!("! {invalid}")));
    lines
}

#[test]
fn overwrites_before_it_adds() {
    use AppendAction::*;
    let add = vec![
        operation("x-1", "b", AppendIfExistsOrAdd),
        operation("x-1", "c", OverwriteIfExistsOrAdd),
        operation("x-2", "a", AddIfAbsent),
        operation("x-2", "b", AddIfAbsent),
        operation("x-3", "q", AppendIfExistsOrAdd),
        operation("x-3", "n", OverwriteIfExists),
        operation("x-4", "%REQ(x-gone)%", OverwriteIfExistsOrAdd),
        operation("x-5", "%REQ(x-1)%", OverwriteIfExistsOrAdd),
    ];
    let mutation = HeaderMutation::new(vec![HeaderName::from_static("x-gone")], add);
    let got = changed(&mutation, &[("x-gone", "1"), ("x-1", "a")]);
    assert_eq!(got, ["x-1: c", "x-1: b", "x-5: a", "x-2: a", "x-2: b", "x-3: q"]);
}

#[test]
fn keeps_an_empty_value_only_where_it_is_told_to() {
    let mut kept = operation("x-m", "%REQ(x-none)%", AppendAction::OverwriteIfExistsOrAdd);
    let dropped = HeaderMutation::new(Vec::new(), vec![kept.clone()]);
    assert_eq!(changed(&dropped, &[("x-m", "o")]), ["x-m: o"]);
    kept.keep_empty_value = true;
    let kept = HeaderMutation::new(Vec::new(), vec![kept]);
    assert_eq!(changed(&kept, &[("x-m", "o1"), ("x-m", "o2")]), ["x-m: "]);
}

#[test]
fn joins_values_of_headers_a_message_has_one_of() {
    let add = ["user-agent", "x-plain", "cookie"].map(|name| {
        let name = HeaderName::from_static(name);
        let value = HeaderValue::from_static("v");
        HeaderOperation::new(name, value, AppendAction::AppendIfExistsOrAdd)
    });
    let mutation = HeaderMutation::new(Vec::new(), add.into());
    let got = changed(&mutation, &[("user-agent", "o"), ("x-plain", "o"), ("cookie", "o")]);
    assert_eq!(got, ["user-agent: o,v", "x-plain: o", "x-plain: v", "cookie: o", "cookie: v"]);
}

#[test]
fn tells_of_headers_that_no_message_can_carry() {
    let split = operation("x-f", "%QUERY_PARAM(a)%", AppendAction::OverwriteIfExistsOrAdd);
    let mutation = HeaderMutation::new(Vec::new(), vec![split.clone()]);
    assert_eq!(changed(&mutation, &[]), ["! invalid header value for: x-f"]);
    let mut named = HeaderMutation::default();
    named.invalid_name = Some("x m".into());
    assert_eq!(changed(&named, &[]), ["! invalid header name: x m"]);
    let reply = InvalidHeader::name("x m").reply();
    let details = "filter_removed_required_request_headers{invalid_header_name:_x_m}";
    assert_eq!((reply.status.as_u16(), &*reply.details), (503, details));
    assert_eq!(reply.flags, ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR);
    // Of a response it is left out: the answer must not be lost.
    let mut headers = HeaderMap::new();
    let metadata = Metadata::default();
    let head = Head::of_parts(&Method::GET, "", "", "/?a=%0A", &HeaderMap::new()).path().len();
    assert_eq!(head, 1);
    let mut response = Response::new(StatusCode::OK, &mut headers);
    mutation.change_response(&mut response, &context(&metadata));
    assert!(headers.is_empty());
}

#[test]
fn no_configuration_fills_a_message_until_it_bursts() {
    use AppendAction::*;
    for action in [AppendIfExistsOrAdd, OverwriteIfExistsOrAdd] {
        let add = (0..30_000).map(|at| {
            let name = HeaderName::try_from(format!("x-{at}")).unwrap();
            HeaderOperation::new(name, HeaderValue::from_static("v"), action)
        });
        let mutation = HeaderMutation::new(Vec::new(), add.collect());
        let got = changed(&mutation, &[]);
        assert_eq!(got.last().unwrap(), "! too many headers to add: x-16384");
        let (metadata, mut headers) = (Metadata::default(), HeaderMap::new());
        let mut response = Response::new(StatusCode::OK, &mut headers);
        mutation.change_response(&mut response, &context(&metadata));
        assert_eq!(headers.len(), 16_384);
    }
}
