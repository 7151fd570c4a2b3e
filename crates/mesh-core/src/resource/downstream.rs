use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderName, StatusCode};

use super::CidrRange;

/// The connection manager's options that say who the client of a request from outside is, and
/// what the request is told of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownstreamOptions {
    /// `use_remote_address`: the peer is the client, but for the proxies that are known to be in
    /// front.
    pub use_remote_address: bool,
    /// `xff_num_trusted_hops`: how many proxies in front tell the truth in `x-forwarded-for`.
    pub xff_num_trusted_hops: u32,
    /// `skip_xff_append`: the peer is not added to `x-forwarded-for`.
    pub skip_xff_append: bool,
    /// `original_ip_detection_extensions`, in order; the first one that finds an address counts.
    /// Not together with `use_remote_address`.
    pub original_ip_detection: Vec<OriginalIpDetection>,
    /// `internal_address_config`; without it nobody is internal.
    pub internal: Option<InternalAddresses>,
    /// `append_x_forwarded_port`: the request is told the port that it came to.
    pub append_x_forwarded_port: bool,
    /// `scheme_header_transformation.scheme_to_overwrite`: `http` or `https`.
    pub scheme_to_overwrite: Option<&'static str>,
}

/// A way to find the client's address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginalIpDetection {
    /// `envoy.http.original_ip_detection.xff`.
    Xff {
        /// How many addresses at the end are of proxies.
        num_trusted_hops: u32,
        /// Proxies by their addresses, in place of their number; empty when they are counted.
        trusted: Vec<CidrRange>,
        /// Whether the peer is not added to `x-forwarded-for`.
        skip_append: bool,
    },
    /// `envoy.http.original_ip_detection.custom_header`.
    CustomHeader {
        /// The header that holds the address.
        name: HeaderName,
        /// Whether a client that is found may be an internal one.
        trusted: bool,
        /// What a request without an address there is answered with; `None` when it goes on.
        reject_with: Option<StatusCode>,
    },
}

/// `InternalAddressConfig`: which clients are internal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InternalAddresses {
    /// Their addresses. Empty for the private ranges: of IPv4 those of RFC 1918, of IPv6 `fd00::/8`,
    /// and of both `127.0.0.1` and `::1`.
    pub ranges: Vec<CidrRange>,
}

impl InternalAddresses {
    /// Whether a client of that address is internal.
    pub fn contain(&self, address: IpAddr) -> bool {
        if !self.ranges.is_empty() {
            return self.ranges.iter().any(|range| range.contains(address));
        }
        match address.to_canonical() {
            IpAddr::V4(address) => address.is_private() || address == Ipv4Addr::LOCALHOST,
            IpAddr::V6(address) => {
                address == Ipv6Addr::LOCALHOST || address.octets()[0] == UNIQUE_LOCAL
            }
        }
    }
}

/// How unique local addresses of IPv6 begin (RFC 4193).
const UNIQUE_LOCAL: u8 = 0xfd;

impl DownstreamOptions {
    /// Whether nothing is asked for.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}
