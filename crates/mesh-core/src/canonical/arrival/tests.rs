use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Unnamed, arrive};
use crate::origin::Origin;
use crate::resource::{CidrRange, DownstreamOptions, InternalAddresses, OriginalIpDetection};

const PEER: &str = "127.0.0.1:9";

struct Arrived {
    remote: String,
    internal: bool,
    scheme: &'static str,
    headers: HeaderMap,
}

impl Arrived {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

fn arrived(options: &DownstreamOptions, unnamed: Unnamed, sent: &[(&str, &str)]) -> Arrived {
    let mut headers = HeaderMap::new();
    for (name, value) in sent {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let mut origin = Origin::APPLICATION;
    origin.peer = Some(PEER.parse::<SocketAddr>().unwrap());
    origin.local = Some("127.0.0.1:8443".parse::<SocketAddr>().unwrap());
    let scheme = arrive(options, unnamed, &mut origin, &mut headers).unwrap();
    let remote = origin.remote.unwrap().ip().to_string();
    Arrived { remote, internal: origin.internal, scheme, headers }
}

fn range(text: &str, bits: u32) -> CidrRange {
    CidrRange::new(text.parse::<IpAddr>().unwrap(), bits)
}

#[test]
fn client_is_whom_the_last_trusted_proxy_names() {
    let chain = [("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3")];
    let mut options = DownstreamOptions::default();
    for (hops, believed, ignored) in [
        (0, "3.3.3.3", "127.0.0.1"),
        (1, "2.2.2.2", "2.2.2.2"),
        (2, "1.1.1.1", "1.1.1.1"),
        (3, "127.0.0.1", "127.0.0.1"),
        (u32::MAX, "127.0.0.1", "127.0.0.1"),
    ] {
        options.xff_num_trusted_hops = hops;
        assert_eq!(arrived(&options, Unnamed::Believed, &chain).remote, believed, "{hops}");
        assert_eq!(arrived(&options, Unnamed::Ignored, &chain).remote, ignored, "{hops}");
    }
    options.use_remote_address = true;
    for (hops, remote) in [(0, "127.0.0.1"), (1, "3.3.3.3"), (2, "2.2.2.2"), (4, "127.0.0.1")] {
        options.xff_num_trusted_hops = hops;
        let found = arrived(&options, Unnamed::Ignored, &chain);
        assert_eq!(found.remote, remote, "{hops}");
        let told = found.header("x-forwarded-for");
        assert_eq!(told, Some("1.1.1.1, 2.2.2.2,3.3.3.3,127.0.0.1"));
        assert_eq!(found.header("x-envoy-external-address"), Some(remote));
    }
    options.skip_xff_append = true;
    let found = arrived(&options, Unnamed::Ignored, &[]);
    assert_eq!(found.header("x-forwarded-for"), None);
}

#[test]
fn what_is_no_address_names_nobody() {
    let options = DownstreamOptions::default();
    for told in ["junk", "", "1.1.1.1,", "1.1.1.1:80", "1.1.1.1 2.2.2.2"] {
        let found = arrived(&options, Unnamed::Believed, &[("x-forwarded-for", told)]);
        assert_eq!(found.remote, "127.0.0.1", "{told}");
    }
}

#[test]
fn proxies_by_their_addresses_are_skipped() {
    let way =
        |trusted| OriginalIpDetection::Xff { num_trusted_hops: 0, trusted, skip_append: false };
    let mut options = DownstreamOptions::default();
    options.original_ip_detection = vec![way(vec![range("127.0.0.0", 8), range("2.2.2.2", 32)])];
    for (told, remote) in [
        ("1.1.1.1, 2.2.2.2", "1.1.1.1"),
        ("1.1.1.1, 3.3.3.3, 2.2.2.2", "3.3.3.3"),
        ("2.2.2.2, 2.2.2.2", "2.2.2.2"),
        ("x, 2.2.2.2", "127.0.0.1"),
    ] {
        let found = arrived(&options, Unnamed::Ignored, &[("x-forwarded-for", told)]);
        assert_eq!(found.remote, remote, "{told}");
    }
    // Who is not one of them is not asked.
    options.original_ip_detection = vec![way(vec![range("192.0.2.0", 24)])];
    let found = arrived(&options, Unnamed::Ignored, &[("x-forwarded-for", "1.1.1.1")]);
    assert_eq!(found.remote, "127.0.0.1");
}

#[test]
fn header_of_ones_own_names_the_client() {
    let mut options = DownstreamOptions::default();
    let way = |reject_with| OriginalIpDetection::CustomHeader {
        name: HeaderName::from_static("x-real-ip"),
        trusted: true,
        reject_with,
    };
    options.original_ip_detection = vec![way(None)];
    options.internal = Some(InternalAddresses::default());
    let found = arrived(&options, Unnamed::Ignored, &[("x-real-ip", "10.1.2.3")]);
    assert_eq!((found.remote.as_str(), found.internal), ("10.1.2.3", true));
    assert_eq!(arrived(&options, Unnamed::Ignored, &[]).remote, "127.0.0.1");

    options.original_ip_detection = vec![way(Some(http::StatusCode::FORBIDDEN))];
    let mut origin = Origin::APPLICATION;
    let refused = arrive(&options, Unnamed::Ignored, &mut origin, &mut HeaderMap::new());
    assert_eq!(refused.unwrap_err().status, http::StatusCode::FORBIDDEN);
}

#[test]
fn internal_is_who_has_such_an_address_and_no_one_in_between() {
    let mut options = DownstreamOptions::default();
    options.internal = Some(InternalAddresses::default());
    for (told, internal) in [
        ("10.0.0.1", true),
        ("192.168.1.1", true),
        ("172.16.0.1", true),
        ("172.32.0.1", false),
        ("::1", true),
        ("fd00::1", true),
        ("fe80::1", false),
        ("1.1.1.1, 10.0.0.1", false),
    ] {
        let sent = [("x-forwarded-for", told), ("x-envoy-internal", "true")];
        let found = arrived(&options, Unnamed::Believed, &sent);
        assert_eq!(found.internal, internal, "{told}");
        assert_eq!(found.header("x-envoy-internal"), internal.then_some("true"));
    }
    options.internal = Some(InternalAddresses { ranges: vec![range("127.0.0.0", 8)] });
    assert!(!arrived(&options, Unnamed::Ignored, &[]).internal);
    options.use_remote_address = true;
    assert!(arrived(&options, Unnamed::Ignored, &[]).internal);
    let told = [("x-forwarded-for", "127.0.0.1")];
    assert!(!arrived(&options, Unnamed::Ignored, &told).internal);
    options.internal = None;
    assert!(!arrived(&options, Unnamed::Ignored, &[]).internal);
}

#[test]
fn scheme_and_port_are_told_by_who_may() {
    let mut options = DownstreamOptions::default();
    options.append_x_forwarded_port = true;
    let told = [("x-forwarded-proto", "HTTPS"), ("x-forwarded-port", "443")];
    let found = arrived(&options, Unnamed::Believed, &told);
    assert_eq!((found.scheme, found.header("x-forwarded-port")), ("https", Some("443")));
    let found = arrived(&options, Unnamed::Believed, &[("x-forwarded-proto", "ftp")]);
    assert_eq!((found.scheme, found.header("x-forwarded-port")), ("http", Some("8443")));

    options.use_remote_address = true;
    let found = arrived(&options, Unnamed::Believed, &told);
    assert_eq!((found.scheme, found.header("x-forwarded-proto")), ("http", Some("http")));
    assert_eq!(found.header("x-forwarded-port"), Some("8443"));

    options.xff_num_trusted_hops = 1;
    let found = arrived(&options, Unnamed::Believed, &told);
    assert_eq!((found.scheme, found.header("x-forwarded-port")), ("https", Some("443")));

    options.scheme_to_overwrite = Some("http");
    let found = arrived(&options, Unnamed::Believed, &told);
    assert_eq!((found.scheme, found.header("x-forwarded-proto")), ("http", Some("http")));
}
