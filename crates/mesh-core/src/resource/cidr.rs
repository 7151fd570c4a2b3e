//! Ranges of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `envoy.config.core.v3.CidrRange`.
///
/// An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is the IPv4 address it carries, in ranges and in
/// what is looked for: a socket that serves both families tells of its IPv4 peers in that form, and
/// they must not slip past rules written for IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CidrRange {
    network: IpAddr,
    prefix_len: u32,
}

/// How many bits stand before the IPv4 address in an IPv4-mapped one.
const MAPPED_BITS: u32 = 96;

impl CidrRange {
    /// The addresses that share their first `prefix_len` bits with `address`. A longer prefix than
    /// the address has bits counts as all of them, as in Envoy.
    pub fn new(address: IpAddr, prefix_len: u32) -> Self {
        let (address, prefix_len) = match address {
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                // A range wider than the mapped addresses is one of IPv6.
                Some(v4) if prefix_len >= MAPPED_BITS => (IpAddr::V4(v4), prefix_len - MAPPED_BITS),
                _ => (address, prefix_len),
            },
            IpAddr::V4(_) => (address, prefix_len),
        };
        match address {
            IpAddr::V4(v4) => {
                let prefix_len = prefix_len.min(Ipv4Addr::BITS);
                let network = Ipv4Addr::from_bits(v4.to_bits() & mask_v4(prefix_len));
                Self { network: IpAddr::V4(network), prefix_len }
            }
            IpAddr::V6(v6) => {
                let prefix_len = prefix_len.min(Ipv6Addr::BITS);
                let network = Ipv6Addr::from_bits(v6.to_bits() & mask_v6(prefix_len));
                Self { network: IpAddr::V6(network), prefix_len }
            }
        }
    }

    /// How many bits addresses share: more of them is more specific.
    pub fn prefix_len(&self) -> u32 {
        self.prefix_len
    }

    /// Whether `address` is one of them. Addresses of the other family never are.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                address.to_bits() & mask_v4(self.prefix_len) == network.to_bits()
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                address.to_bits() & mask_v6(self.prefix_len) == network.to_bits()
            }
            _ => false,
        }
    }
}

impl fmt::Display for CidrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_len)
    }
}

/// A shift by all bits is not defined, and what it should give is no bit at all.
fn mask_v4(prefix_len: u32) -> u32 {
    u32::MAX.checked_shl(Ipv4Addr::BITS - prefix_len).unwrap_or(0)
}

fn mask_v6(prefix_len: u32) -> u128 {
    u128::MAX.checked_shl(Ipv6Addr::BITS - prefix_len).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(address: &str, prefix_len: u32) -> CidrRange {
        CidrRange::new(address.parse().unwrap(), prefix_len)
    }

    #[test]
    fn ranges_hold_what_shares_their_prefix() {
        let table = [
            ("10.0.0.0", 8, "10.255.1.2", true),
            ("10.0.0.0", 8, "11.0.0.0", false),
            ("10.1.2.3", 32, "10.1.2.3", true),
            ("10.1.2.3", 32, "10.1.2.2", false),
            ("10.1.2.3", 31, "10.1.2.2", true),
            ("10.1.2.3", 99, "10.1.2.2", false),
            ("10.1.2.3", 99, "10.1.2.3", true),
            ("1.2.3.4", 0, "200.1.1.1", true),
            ("1.2.3.4", 0, "2001:db8::1", false),
            ("2001:db8::", 32, "2001:db8:ffff::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
            ("2001:db8::1", 128, "2001:db8::1", true),
            ("2001:db8::1", 128, "2001:db8::", false),
            ("2001:db8::1", 200, "2001:db8::1", true),
            ("::", 0, "2001:db8::1", true),
            ("::", 0, "10.0.0.1", false),
            ("::", 0, "::ffff:10.0.0.1", false),
        ];
        for (address, prefix_len, asked, want) in table {
            let range = range(address, prefix_len);
            assert_eq!(range.contains(asked.parse().unwrap()), want, "{asked} in {range}");
        }
    }

    #[test]
    fn mapped_addresses_are_those_they_carry() {
        let table = [
            ("10.0.0.0", 8, "::ffff:10.1.2.3", true),
            ("10.0.0.0", 8, "::ffff:11.1.2.3", false),
            ("::ffff:10.0.0.0", 104, "10.1.2.3", true),
            ("::ffff:10.0.0.0", 104, "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0", 104, "11.1.2.3", false),
            ("::ffff:0.0.0.0", 96, "200.1.2.3", true),
            ("::ffff:0.0.0.0", 95, "200.1.2.3", false),
            ("::ffff:0.0.0.0", 80, "::1", true),
            ("::10.0.0.0", 104, "10.1.2.3", false),
        ];
        for (address, prefix_len, asked, want) in table {
            let range = range(address, prefix_len);
            assert_eq!(range.contains(asked.parse().unwrap()), want, "{asked} in {range}");
        }
    }

    #[test]
    fn ranges_are_told_by_their_network() {
        assert_eq!(range("10.1.2.3", 8).to_string(), "10.0.0.0/8");
        assert_eq!(range("::ffff:10.1.2.3", 112).to_string(), "10.1.0.0/16");
        assert_eq!(range("2001:db8:1::", 200).to_string(), "2001:db8:1::/128");
    }
}
