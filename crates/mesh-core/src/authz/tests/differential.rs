use proptest::prelude::*;

use super::*;
use crate::origin::TlsOrigin;
use crate::resource::ConnectionInput as Input;
use crate::resource::{
    CidrRange, Metadata, MetadataMatcher, Name, RbacMatch, SanMatcher, Value, ValueMatcher,
};

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "b", "a,b", "5", "*.b", "x.b", "/a", "/a/b", "http", "GET"])
        .prop_map(str::to_owned)
}

fn string() -> impl Strategy<Value = StringMatcher> {
    (word(), any::<bool>(), 0..4).prop_map(|(value, ignore_case, kind)| {
        let value: Name = value.into();
        match kind {
            0 => StringMatcher::Exact { value, ignore_case },
            1 => StringMatcher::Prefix { value, ignore_case },
            2 => StringMatcher::Suffix { value, ignore_case },
            _ => StringMatcher::Contains { value, ignore_case },
        }
    })
}

fn header_matcher() -> impl Strategy<Value = HeaderMatcher> {
    const NAMES: [&str; 9] =
        ["x", "te", "host", "k-bin", ":method", ":authority", ":path", ":scheme", "grpc-x"];
    let value = prop_oneof![
        4 => string().prop_map(ValueMatch::String),
        1 => any::<bool>().prop_map(ValueMatch::Present),
        1 => (-2..3_i64, 0..9_i64).prop_map(|(start, more)| ValueMatch::Range(start..start + more)),
    ];
    // Seldom the two that gRPC refuses, which would hide everything else.
    let name = prop_oneof![
        20 => prop::sample::select(&NAMES[..7]),
        1 => prop::sample::select(&NAMES[7..]),
    ];
    (name, value, any::<bool>(), any::<bool>()).prop_map(|(name, value, invert, empty)| {
        let made = header(name, value);
        HeaderMatcher { invert, treat_missing_as_empty: empty, ..made }
    })
}

const ADDRESSES: [&str; 6] =
    ["10.0.0.1", "10.0.1.1", "192.168.0.1", "::1", "::ffff:10.0.0.1", "2001:db8::1"];

const INPUTS: [Input; 9] = [
    Input::DestinationIp,
    Input::DestinationPort,
    Input::SourceIp,
    Input::SourcePort,
    Input::DirectSourceIp,
    Input::ServerName,
    Input::UriSan,
    Input::DnsSan,
    Input::Subject,
];

fn range() -> impl Strategy<Value = CidrRange> {
    (prop::sample::select(&ADDRESSES[..]), 0..140_u32)
        .prop_map(|(address, bits)| CidrRange::new(address.parse().unwrap(), bits))
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        4 => header_matcher().prop_map(Condition::Header),
        1 => header_matcher().prop_map(Condition::JoinedHeader),
        2 => string().prop_map(Condition::UrlPath),
        1 => range().prop_map(Condition::DestinationIp),
        1 => range().prop_map(Condition::DirectRemoteIp),
        1 => range().prop_map(Condition::RemoteIp),
        1 => (0..4_u16, 0..4_u16).prop_map(|(a, b)| Condition::DestinationPort(a..=b)),
        1 => string().prop_map(Condition::RequestedServerName),
        1 => (any::<bool>(), string()).prop_map(|(invert, value)| {
            let mut matcher =
                MetadataMatcher::new("f", vec!["k".into()], ValueMatcher::String(value));
            matcher.invert = invert;
            Condition::Metadata(matcher)
        }),
        1 => prop::option::of(string()).prop_map(Condition::Authenticated),
        1 => prop::option::of((any::<bool>(), string())).prop_map(|san| {
            Condition::MtlsAuthenticated(san.map(|(uri, value)| {
                if uri { SanMatcher::Uri(value) } else { SanMatcher::Dns(value) }
            }))
        }),
        1 => string().prop_map(|value| Condition::FilterState { key: "k".into(), value }),
        1 => (prop::collection::vec(range(), 0..3), any::<bool>()).prop_map(|(ranges, invert)| {
            Condition::FilterStateAddress { key: "k".into(), ranges, invert }
        }),
        1 => (any::<bool>(), string()).prop_map(|(invert, value)| {
            let mut matcher =
                MetadataMatcher::new("f", vec!["k".into()], ValueMatcher::String(value));
            matcher.invert = invert;
            Condition::RouteMetadata(matcher)
        }),
        2 => (prop::sample::select(&INPUTS[..]), string())
            .prop_map(|(input, value)| Condition::Connection(input, value)),
        2 => (prop::sample::select(&INPUTS[..]), prop::sample::select(&ADDRESSES[..]))
            .prop_map(|(input, value)| Condition::Connection(input, StringMatcher::exact(value))),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let leaf = prop_oneof![1 => Just(Rule::Any), 6 => condition().prop_map(Rule::Is)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Rule::And),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Rule::Or),
            inner.prop_map(|rule| Rule::Not(Box::new(rule))),
        ]
    })
}

fn action() -> impl Strategy<Value = RbacAction> {
    prop::sample::select(vec![RbacAction::Allow, RbacAction::Deny, RbacAction::Log])
}

fn all_rules() -> impl Strategy<Value = RbacRules> {
    let some = || prop::collection::vec(rule(), 0..3);
    let policy = (some(), some())
        .prop_map(|(permissions, principals)| RbacPolicy { permissions, principals });
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let policies = (action(), prop::collection::vec((name.clone(), policy), 0..4))
        .prop_map(|(action, policies)| RbacRules::new(action, policies));
    let one = (rule(), name, action()).prop_map(|(rule, name, action)| RbacMatch {
        rule,
        name: name.into(),
        action,
    });
    let matches = prop::collection::vec(one, 0..4).prop_map(RbacRules::Matches);
    prop_oneof![4 => policies, 1 => matches]
}

fn tls() -> impl Strategy<Value = TlsOrigin> {
    let names = || {
        prop::collection::vec(word(), 0..3)
            .prop_map(|names| names.into_iter().map(Name::from).collect::<Vec<_>>())
    };
    (any::<bool>(), any::<bool>(), word(), names(), names(), word()).prop_map(
        |(presented, validated, server_name, uri_sans, dns_sans, subject)| {
            let (server_name, subject) = (server_name.into(), subject.into());
            TlsOrigin { presented, validated, server_name, uri_sans, dns_sans, subject }
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    let address = || {
        let ip = prop::sample::select(&ADDRESSES[..]);
        prop::option::of((ip, 0..4_u16))
            .prop_map(|at| at.map(|(ip, port)| (ip.parse::<std::net::IpAddr>().unwrap(), port)))
    };
    let headers = prop::collection::vec(
        (prop::sample::select(vec!["x", "te", "host", "k-bin", "grpc-x"]), word()),
        0..5,
    );
    let origin =
        (address(), address(), address(), prop::option::of(tls()), prop::option::of(word()));
    let path = prop::sample::select(vec!["/a", "/a?b", "/a/b", "/", "/a#b"]);
    (path, word(), headers, origin, prop::option::of(word())).prop_map(
        |(path, authority, headers, (local, peer, remote, tls, state), metadata)| {
            let call = headers
                .iter()
                .fold(Call::new(path), |call, (name, value)| call.header(name, value));
            let mut call = Call { authority, ..call };
            let origin = &mut call.origin;
            origin.local = local.map(Into::into);
            origin.peer = peer.map(Into::into);
            origin.remote = remote.map(Into::into);
            origin.tls = tls;
            origin.filter_state =
                state.map(|state| ("k".into(), state.into())).into_iter().collect();
            origin.metadata = Metadata::default();
            call.route = metadata.as_deref().filter(|text| text.len() < 2).map(|text| {
                let mut route = Metadata::default();
                let fields = route.fields.entry("f".into()).or_default();
                fields.insert("k".into(), Value::String(text.into()));
                route
            });
            let origin = &mut call.origin;
            if let Some(text) = metadata {
                let fields = origin.metadata.fields.entry("f".into()).or_default();
                fields.insert("k".into(), Value::String(text.into()));
            }
            call
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn program_decides_as_the_naive_model(
        rules in all_rules(),
        calls in prop::collection::vec(call(), 1..4),
    ) {
        let program = authorizer(rules.clone());
        for call in calls {
            for dialect in BOTH {
                let found = call.decide(&program, dialect);
                let found = (found.allowed, found.policy.map(ToString::to_string));
                let (noted, route) = (&call.origin.metadata, call.route.as_ref());
                let want = naive::decide(&rules, &call.head(), noted, route, dialect);
                prop_assert_eq!(found, want, "{:?} {:?} {:?}", rules, call, dialect);
            }
        }
    }
}
