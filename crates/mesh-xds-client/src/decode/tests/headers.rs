use mesh_core::resource::{AppendAction, HeaderMutation, HeaderText};
use mesh_pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use mesh_pb::envoy::config::route::v3::RouteConfiguration;
use mesh_pb::google::protobuf::BoolValue;

use super::{decode, findings, refused};
use crate::decode::Value;
use mesh_core::ResourceType::RouteConfiguration as Routes;

fn option(key: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            raw_value: Vec::new(),
        }),
        ..HeaderValueOption::default()
    }
}

fn of(options: Vec<HeaderValueOption>) -> RouteConfiguration {
    RouteConfiguration { request_headers_to_add: options, ..RouteConfiguration::default() }
}

fn made(value: &Value) -> &HeaderMutation {
    let Value::RouteConfiguration(made) = value else { panic!("{value:?}") };
    &made.request_headers
}

fn refuses(option: HeaderValueOption, field: &str, text: &str) {
    refused(Routes, &of(vec![option]), &format!("request_headers_to_add[0]{field}"), text);
}

#[test]
#[allow(deprecated, reason = "the older field is read")]
fn additions_are_read_with_their_actions() {
    let older =
        HeaderValueOption { append: Some(BoolValue { value: false }), ..option("B", "100%%") };
    let empty = HeaderValueOption { keep_empty_value: true, ..option("c", "") };
    let absent = HeaderValueOption { append_action: 1, ..option("e", "x") };
    let options = vec![option("a", "1"), older.clone(), empty, option("d", ""), absent];
    let value = findings(Routes, &of(options), &[]);
    let found = made(&value).add.iter().map(|operation| {
        let HeaderText::Literal(value) = &operation.value else { panic!("{operation:?}") };
        (operation.name.as_str(), value.as_bytes(), operation.action)
    });
    let expected: [(&str, &[u8], AppendAction); 4] = [
        ("a", b"1", AppendAction::AppendIfExistsOrAdd),
        ("b", b"100%", AppendAction::OverwriteIfExistsOrAdd),
        ("c", b"", AppendAction::AppendIfExistsOrAdd),
        ("e", b"x", AppendAction::AddIfAbsent),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let both = HeaderValueOption { append_action: 1, ..older };
    refuses(both, ".append", "together with append_action");
}

#[test]
fn formats_are_parsed_and_what_tells_nothing_is_reported() {
    let field = "request_headers_to_add[1].header.value";
    let options = vec![option("a", "x%REQ(y)%"), option("b", "%CONNECTION_ID%")];
    let value = findings(Routes, &of(options), &[field]);
    assert!(made(&value).add.iter().all(|operation| operation.value.is_made()));
    refuses(option("a", "50% off"), ".header.value", "no valid command at position 2");
    refuses(option("a", "%NOPE%"), ".header.value", "unknown command NOPE");
    refuses(option("a", "%CEL(request.path)%"), ".header.value", "CEL is not supported");
}

#[test]
fn headers_that_must_not_be_changed_are_refused() {
    refuses(option(":path", "/"), ".header.key", "may not be modified");
    refuses(option("Host", "x"), ".header.key", "may not be modified");
    refuses(option("", "x"), ".header.key", "is empty");
    refuses(option("a", "x\ny"), ".header.value", "line ends");
    refuses(option("a", &"x".repeat(16_385)), ".header.value", "longer than");
    let strange = HeaderValueOption { append_action: 9, ..option("a", "1") };
    refuses(strange, ".append_action", "unknown value 9");
    refuses(HeaderValueOption::default(), ".header", "is missing");
    let removal = |name: &str| RouteConfiguration {
        response_headers_to_remove: vec!["ok".to_owned(), name.to_owned()],
        ..RouteConfiguration::default()
    };
    let field = "response_headers_to_remove[1]";
    refused(Routes, &removal(":status"), field, "may not be removed");
    // No header can have this name, so that there is nothing to remove.
    assert!(decode(Routes, &removal("not ok")).is_ok());
}

/// As in Envoy, which takes the configuration and fails the requests.
#[test]
fn a_name_that_no_header_can_have_is_taken_and_reported() {
    let field = "request_headers_to_add[0].header.key";
    let value = findings(Routes, &of(vec![option("x m", "a")]), &[field]);
    assert_eq!(made(&value).invalid_name.as_deref(), Some("x m"));
}

#[test]
fn no_more_than_a_thousand_changes_of_a_kind_are_taken() {
    let added = |count| of(vec![option("a", "1"); count]);
    findings(Routes, &added(1_000), &[]);
    refused(Routes, &added(1_001), "request_headers_to_add", "more than 1000 entries");
    let removed = RouteConfiguration {
        request_headers_to_remove: vec!["a".to_owned(); 1_001],
        ..RouteConfiguration::default()
    };
    refused(Routes, &removed, "request_headers_to_remove", "more than 1000 entries");
}

/// As in Envoy, which looks at the text alone.
#[test]
fn bytes_are_passed_over_and_reported() {
    let mut raw = option("a", "x");
    raw.header.as_mut().unwrap().raw_value = b"y".to_vec();
    let field = "request_headers_to_add[0].header.raw_value";
    let value = findings(Routes, &of(vec![raw.clone()]), &[field]);
    let Some(HeaderText::Literal(found)) = made(&value).add.first().map(|one| &one.value) else {
        panic!("{value:?}");
    };
    assert_eq!(found, "x");
    raw.header.as_mut().unwrap().value.clear();
    assert!(made(&findings(Routes, &of(vec![raw]), &[field])).add.is_empty());
}
