use super::*;
use crate::resource::{CidrRange, Regex, UriTemplate};

#[test]
fn paths_are_compared_without_query_and_fragment() {
    let table = [
        ("/admin", true),
        ("/admin?x=1", true),
        ("/admin#x", true),
        ("/admin?", true),
        ("/admin/", false),
        ("/Admin", false),
        ("/admin%20", false),
        ("/x?/admin", false),
    ];
    let exact = Condition::UrlPath(StringMatcher::exact("/admin"));
    let template = Condition::UriTemplate(UriTemplate::new("/admin").unwrap());
    for (asked, want) in table {
        for dialect in BOTH {
            assert_eq!(Call::new(asked).meets(&exact, dialect), want, "{asked}");
            assert_eq!(Call::new(asked).meets(&template, dialect), want, "{asked}");
        }
    }
}

#[test]
fn literals_with_characters_of_expressions_are_literal() {
    let exact = Condition::UrlPath(StringMatcher::exact("/cert-manager.io"));
    assert!(Call::new("/cert-manager.io").meets(&exact, Dialect::Http));
    assert!(!Call::new("/cert-managerXio").meets(&exact, Dialect::Http));
}

#[test]
fn addresses_are_those_of_their_kind() {
    let ten = || CidrRange::new("10.0.0.0".parse().unwrap(), 8);
    let is_ten = |change: fn(&mut Origin), condition: Condition| {
        Call::new("/").from(change).meets(&condition, Dialect::Http)
    };
    fn inside() -> Option<std::net::SocketAddr> {
        Some(([10, 1, 2, 3], 80).into())
    }
    let local = |origin: &mut Origin| origin.local = inside();
    let peer = |origin: &mut Origin| origin.peer = inside();
    let remote = |origin: &mut Origin| origin.remote = inside();
    let nothing = |_: &mut Origin| {};
    let mapped = |origin: &mut Origin| origin.peer = Some("[::ffff:10.1.2.3]:80".parse().unwrap());
    let outside = |origin: &mut Origin| origin.peer = Some("11.1.2.3:80".parse().unwrap());
    let table: [(fn(&mut Origin), [bool; 3]); 6] = [
        (local, [true, false, false]),
        (peer, [false, true, false]),
        (remote, [false, false, true]),
        (nothing, [false; 3]),
        (mapped, [false, true, false]),
        (outside, [false; 3]),
    ];
    for (row, (change, want)) in table.into_iter().enumerate() {
        let found = [
            is_ten(change, Condition::DestinationIp(ten())),
            is_ten(change, Condition::DirectRemoteIp(ten())),
            is_ten(change, Condition::RemoteIp(ten())),
        ];
        assert_eq!(found, want, "row {row}");
    }
}

#[test]
fn ports_are_those_the_connection_was_accepted_on() {
    let at = |port: u16| {
        let local = std::net::SocketAddr::from(([10, 0, 0, 1], port));
        Call::new("/").from(|origin| origin.local = Some(local))
    };
    let range = Condition::DestinationPort(8000..=8009);
    for (port, want) in [(7999, false), (8000, true), (8009, true), (8010, false)] {
        assert_eq!(at(port).meets(&range, Dialect::Http), want, "{port}");
    }
    assert!(!Call::new("/").meets(&Condition::DestinationPort(0..=u16::MAX), Dialect::Http));
}

#[test]
fn filter_state_is_looked_up_by_key() {
    let condition = Condition::FilterState { key: "k".into(), value: StringMatcher::exact("v") };
    let table = [(None, false), (Some(("k", "v")), true), (Some(("k", "x")), false)];
    for (entry, want) in table {
        let call = Call::new("/").from(|origin| {
            origin.filter_state = entry.map(|(k, v)| (k.into(), v.into())).into_iter().collect();
        });
        assert_eq!(call.meets(&condition, Dialect::Http), want);
    }
    let empty = Condition::FilterState { key: "k".into(), value: StringMatcher::exact("") };
    assert!(!Call::new("/").meets(&empty, Dialect::Http), "a missing text is not an empty one");
}

/// One letter per request of [`calls`]: whether the condition holds.
fn on_all(matcher: &HeaderMatcher, dialect: Dialect) -> String {
    let condition = Condition::Header(matcher.clone());
    let letter = |call: Call| if call.meets(&condition, dialect) { 'x' } else { '-' };
    calls().into_iter().map(letter).collect()
}

fn calls() -> Vec<Call> {
    let values: [&[&str]; 9] =
        [&[], &["a"], &["b"], &["a", "b"], &["b", "a"], &["a,b"], &[""], &["", "a"], &["5", "50"]];
    let call = |values: &[&str]| {
        values.iter().fold(Call::new("/"), |call, value| call.header("x-role", value))
    };
    values.into_iter().map(call).collect()
}

// What a real Envoy 1.40 says of these, and what gRFC A41 says where one letter stands for it.
#[test]
fn repeated_headers_match_by_any_value_in_http_and_joined_in_grpc() {
    let regex = |text: &str| ValueMatch::String(StringMatcher::Regex(Regex::new(text).unwrap()));
    let comma =
        ValueMatch::String(StringMatcher::Contains { value: ",".into(), ignore_case: false });
    let table = [
        (exact("a"), false, false, "-x-xx--x-", "-x-------"),
        (exact("a"), true, false, "--x--xx-x", "--xxxxxxx"),
        (exact("a,b"), false, false, "-----x---", "---x-x---"),
        (exact(",a"), false, false, "---------", "-------x-"),
        (regex("a.b"), false, false, "-----x---", "---x-x---"),
        (comma, false, false, "-----x---", "---xxx-xx"),
        (exact(""), false, false, "------xx-", "------x--"),
        (exact(""), false, true, "x-----xx-", "x-----x--"),
        (exact("a"), true, true, "x-x--xx-x", "x-xxxxxxx"),
        (ValueMatch::Present(true), false, false, "-xxxxxxxx", "-xxxxxxxx"),
        (ValueMatch::Present(true), true, false, "x--------", "x--------"),
        (ValueMatch::Present(false), false, false, "x--------", "x--------"),
        (ValueMatch::Present(false), true, false, "-xxxxxxxx", "-xxxxxxxx"),
        (ValueMatch::Present(true), false, true, "xxxxxxxxx", "xxxxxxxxx"),
        (ValueMatch::Present(true), true, true, "---------", "---------"),
        (ValueMatch::Present(false), false, true, "---------", "---------"),
        (ValueMatch::Present(false), true, true, "xxxxxxxxx", "xxxxxxxxx"),
        (ValueMatch::Range(1..10), false, false, "--------x", "---------"),
        (ValueMatch::Range(1..10), true, false, "-xxxxxxx-", "-xxxxxxxx"),
        (ValueMatch::Range(1..50), false, true, "--------x", "---------"),
    ];
    for (value, invert, treat_missing_as_empty, http, grpc) in table {
        let name = HeaderMatch::Header("x-role".parse().unwrap());
        let matcher = HeaderMatcher { name, value, invert, treat_missing_as_empty };
        assert_eq!(on_all(&matcher, Dialect::Http), http, "{matcher:?}");
        assert_eq!(on_all(&matcher, Dialect::Grpc), grpc, "{matcher:?}");
    }
}

#[test]
fn inputs_of_trees_are_joined_in_both_dialects() {
    let letters = |matcher: HeaderMatcher, dialect| -> String {
        let condition = Condition::JoinedHeader(matcher);
        let letter = |call: Call| if call.meets(&condition, dialect) { 'x' } else { '-' };
        calls().into_iter().map(letter).collect()
    };
    for dialect in BOTH {
        assert_eq!(letters(header("x-role", exact("a")), dialect), "-x-------");
        assert_eq!(letters(header("x-role", exact("a,b")), dialect), "---x-x---");
    }
}

#[test]
fn a_denied_value_among_a_hundred_is_found() {
    let deny = authorizer(rules(
        RbacAction::Deny,
        "p",
        Rule::Is(Condition::Header(header("x-role", exact("admin")))),
    ));
    let many = (0..99).fold(Call::new("/"), |call, _| call.header("x-role", "user"));
    assert!(many.decide(&deny, Dialect::Http).allowed);
    assert!(!many.header("x-role", "admin").decide(&deny, Dialect::Http).allowed);
}

#[test]
fn pseudo_headers_are_those_of_the_head() {
    let call = Call::new("/a?x").header("host", "other");
    let table = [
        (":method", "GET"),
        (":authority", "shop.local"),
        ("host", "shop.local"),
        (":path", "/a?x"),
    ];
    for (name, value) in table {
        for dialect in BOTH {
            let holds = Condition::Header(header(name, exact(value)));
            assert!(call.meets(&holds, dialect), "{name}");
            let fails = Condition::Header(header(name, exact("other")));
            assert!(!call.meets(&fails, dialect), "{name}");
        }
    }
    let scheme = |value| Condition::Header(header(":scheme", exact(value)));
    assert!(call.meets(&scheme("http"), Dialect::Http));
    assert!(!call.meets(&scheme("https"), Dialect::Http));
    let nowhere = Call { authority: String::new(), ..Call::new("/") };
    let present = Condition::Header(header(":authority", ValueMatch::Present(true)));
    assert!(!nowhere.meets(&present, Dialect::Http), "an empty one is not there");
}

#[test]
fn headers_of_a_hop_are_absent_in_grpc() {
    let names =
        ["connection", "te", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection"];
    for name in names {
        let call = Call::new("/").header(name, "v");
        let present = Condition::Header(header(name, ValueMatch::Present(true)));
        assert!(call.meets(&present, Dialect::Http), "{name}");
        assert!(!call.meets(&present, Dialect::Grpc), "{name}");
    }
    let call = Call::new("/").header("content-type", "application/grpc").header("k-bin", "AAE=");
    for (name, value) in [("content-type", "application/grpc"), ("k-bin", "AAE=")] {
        let holds = Condition::Header(header(name, exact(value)));
        assert!(call.meets(&holds, Dialect::Grpc), "{name}");
    }
}

#[test]
fn numbers_are_whole_and_decimal() {
    let range = Condition::Header(header("n", ValueMatch::Range(-5..10)));
    let table = [("9", true), ("10", false), ("-5", true), ("-6", false), ("05", true)];
    let others = [("1.5", false), ("0x5", false), ("", false), ("5a", false), ("\u{e9}", false)];
    for (value, want) in table.into_iter().chain(others) {
        assert_eq!(Call::new("/").header("n", value).meets(&range, Dialect::Http), want, "{value}");
    }
}
