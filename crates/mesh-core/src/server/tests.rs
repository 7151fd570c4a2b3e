use super::*;
use crate::resource::ChainAction;

fn chain(name: &str, change: impl FnOnce(&mut FilterChainMatch)) -> FilterChain {
    let mut chain = FilterChain::new(name, ChainAction::Close("for the test".into()));
    change(&mut chain.matches);
    chain
}

fn range(text: &str) -> CidrRange {
    let (address, bits) = text.split_once('/').unwrap();
    CidrRange::new(address.parse().unwrap(), bits.parse().unwrap())
}

/// The name of the chain for a connection from `peer` to `local`.
fn chosen<'l>(listener: &'l ServerListener, arrival: &Arrival<'_>) -> Option<&'l str> {
    filter_chain(listener, arrival).map(|(at, chain)| {
        assert!(std::ptr::eq(listener.chains().nth(at).unwrap(), chain));
        &*chain.name
    })
}

fn plain<'a>(local: &str, peer: &str) -> Arrival<'a> {
    Arrival::new(local.parse().unwrap(), peer.parse().unwrap())
}

fn listener(chains: Vec<FilterChain>, default: bool) -> ServerListener {
    let mut listener = ServerListener::new("server", ([0, 0, 0, 0], 0).into());
    listener.filter_chains = chains;
    listener.default_filter_chain = default.then(|| chain("default", |_| {}));
    listener
}

#[test]
fn most_specific_chain_takes_a_connection() {
    let listener = listener(
        vec![
            chain("any", |_| {}),
            chain("port", |it| it.destination_port = Some(81)),
            chain("net", |it| it.prefix_ranges = vec![range("10.1.0.0/16")]),
            chain("host", |it| it.prefix_ranges = vec![range("10.1.2.3/32")]),
            chain("host from net", |it| {
                it.prefix_ranges = vec![range("10.1.2.3/32")];
                it.source_prefix_ranges = vec![range("192.168.0.0/16"), range("172.16.0.0/12")];
            }),
            chain("from here", |it| it.source_type = SourceType::SameIpOrLoopback),
            chain("from a port", |it| {
                it.source_type = SourceType::SameIpOrLoopback;
                it.source_ports = vec![7, 8];
            }),
            chain("from a neighbour", |it| {
                it.prefix_ranges = vec![range("10.9.0.0/16")];
                it.direct_source_prefix_ranges = vec![range("10.9.0.0/16")];
            }),
        ],
        true,
    );
    let table = [
        ("10.2.0.1:80", "8.8.8.8:1", "any"),
        ("10.2.0.1:81", "8.8.8.8:1", "port"),
        // The port comes first, and there is no way back.
        ("10.1.2.3:81", "192.168.1.1:1", "port"),
        ("10.1.9.9:80", "8.8.8.8:1", "net"),
        ("10.1.2.3:80", "8.8.8.8:1", "host"),
        ("10.1.2.3:80", "172.31.0.1:1", "host from net"),
        ("10.2.0.1:80", "127.0.0.1:1", "from here"),
        ("10.2.0.1:80", "10.2.0.1:1", "from here"),
        ("10.2.0.1:80", "10.2.0.1:8", "from a port"),
        ("10.9.0.1:80", "10.9.0.2:1", "from a neighbour"),
        ("10.9.0.1:80", "10.8.0.2:1", "default"),
    ];
    for (local, peer, expected) in table {
        let chosen = chosen(&listener, &plain(local, peer));
        assert_eq!(chosen, Some(expected), "{peer} to {local}");
    }
}

#[test]
fn connection_that_no_chain_takes_has_none() {
    let only = || vec![chain("port", |it| it.destination_port = Some(81))];
    let arrival = plain("10.0.0.1:80", "10.0.0.2:1");
    assert_eq!(chosen(&listener(only(), false), &arrival), None);
    assert_eq!(chosen(&listener(only(), true), &arrival), Some("default"));
    assert_eq!(chosen(&listener(Vec::new(), false), &arrival), None);
}

#[test]
fn what_tls_says_chooses() {
    let names = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| (*name).into()).collect();
        move |it: &mut FilterChainMatch| it.server_names = names
    };
    let listener = listener(
        vec![
            chain("raw", |it| it.transport_protocol = Some("raw_buffer".into())),
            chain("tls", |it| it.transport_protocol = Some("tls".into())),
            chain("exact", names(&["a.example.com", "b.example.com"])),
            chain("below", names(&["*.example.com"])),
            chain("far below", names(&["*.com"])),
            chain("h2", |it| {
                it.transport_protocol = Some("tls".into());
                it.application_protocols = vec!["h2".into()];
            }),
        ],
        false,
    );
    assert!(looks_at_tls(&listener));
    let arrival = plain("10.0.0.1:80", "10.0.0.2:1");
    assert_eq!(chosen(&listener, &arrival), Some("raw"));
    let none = [];
    let h2 = ["http/1.1".to_owned(), "h2".to_owned()];
    let table = [
        ("", &none[..], "tls"),
        ("", &h2[..], "h2"),
        ("a.example.com", &none[..], "exact"),
        ("b.example.com", &h2[..], "exact"),
        ("c.example.com", &none[..], "below"),
        ("c.d.example.com", &none[..], "below"),
        ("example.com", &none[..], "far below"),
        ("example.org", &none[..], "tls"),
    ];
    for (name, alpn, expected) in table {
        let arrival = arrival.with_tls(Hello::new(name, alpn));
        assert_eq!(chosen(&listener, &arrival), Some(expected), "{name:?} {alpn:?}");
    }
}

#[test]
fn listener_is_for_its_address_and_any_port_where_it_has_none() {
    let at = |address: &str| ServerListener::new("server", address.parse().unwrap());
    let local = "10.0.0.1:80".parse().unwrap();
    assert!(at("10.0.0.1:80").is_for(local));
    assert!(at("10.0.0.1:0").is_for(local));
    assert!(!at("10.0.0.1:81").is_for(local));
    assert!(!at("10.0.0.2:80").is_for(local));
}
