//! Clusters whose endpoints are told by name.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{ClusterLoadAssignment, Endpoint, Name};

/// The names a cluster's endpoints have, and how often they are looked up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DnsCluster {
    /// What its endpoints go by among [`Resources`](super::Resources). It tells of all settings, so
    /// that endpoints found by other ones are not taken for these.
    pub key: Name,
    /// What becomes of many addresses.
    pub kind: DnsKind,
    /// The localities, without endpoints, and the rest of what the assignment says.
    pub assignment: ClusterLoadAssignment,
    /// The endpoints by name, each with the position of its locality.
    pub endpoints: Vec<(usize, DnsEndpoint)>,
    /// How long after a look-up the next one follows: 5 s when unset.
    pub refresh_rate: Duration,
    /// How long after a failed one: the shortest, doubled each time, and the longest wait. As
    /// [`refresh_rate`](Self::refresh_rate) when unset.
    pub failure_refresh_rate: Option<(Duration, Duration)>,
    /// At most this much is added to each wait, drawn anew each time.
    pub jitter: Duration,
    /// Which addresses count.
    pub lookup_family: DnsLookupFamily,
}

/// An endpoint without its address.
#[derive(Clone, Debug)]
pub struct DnsEndpoint {
    /// What is looked up: a host name, or an address.
    pub host: Name,
    /// All that is known of it. Its address is a placeholder that has the port.
    pub endpoint: Endpoint,
}

/// What becomes of the addresses of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsKind {
    /// Each is an endpoint (`STRICT_DNS`).
    Strict,
    /// They are ways to one endpoint (`LOGICAL_DNS`), in the order they are tried.
    Logical,
}

/// `envoy.config.cluster.v3.Cluster.DnsLookupFamily`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DnsLookupFamily {
    /// IPv6, and IPv4 where there is none.
    #[default]
    Auto,
    /// IPv4 alone.
    V4Only,
    /// IPv6 alone.
    V6Only,
    /// IPv4, and IPv6 where there is none.
    V4Preferred,
    /// All there are.
    All,
}

impl DnsCluster {
    /// One locality with that one name, looked up every 5 s.
    pub fn of_host(key: impl Into<Name>, kind: DnsKind, host: impl Into<Name>, port: u16) -> Self {
        let key = key.into();
        let host = host.into();
        let mut endpoint = Endpoint::new(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port));
        endpoint.further_mut().hostname = host.clone();
        Self {
            assignment: ClusterLoadAssignment::of_addresses(key.clone(), []),
            key,
            kind,
            endpoints: vec![(0, DnsEndpoint { host, endpoint })],
            refresh_rate: Self::REFRESH_RATE,
            failure_refresh_rate: None,
            jitter: Duration::ZERO,
            lookup_family: DnsLookupFamily::Auto,
        }
    }

    /// How often names are looked up when nothing is said, as in Envoy.
    pub const REFRESH_RATE: Duration = Duration::from_secs(5);

    /// The names to be looked up, each once, in order.
    pub fn hosts(&self) -> Vec<Name> {
        let mut hosts: Vec<Name> = self.endpoints.iter().map(|(_, e)| e.host.clone()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// The endpoints, once the names are resolved. `None` for a name drops its endpoints. An
    /// address occurs once; the first endpoint that has it keeps it.
    pub fn resolve<'r>(
        &self,
        resolved: impl Fn(&str) -> Option<&'r [IpAddr]>,
    ) -> ClusterLoadAssignment {
        let mut made = self.assignment.clone();
        let mut seen = std::collections::HashSet::new();
        for (locality, template) in &self.endpoints {
            let Some(addresses) = resolved(&template.host) else { continue };
            let port = template.endpoint.address().port();
            for address in self.chosen(addresses) {
                let address = SocketAddr::new(address, port);
                if seen.insert(address) {
                    let endpoint = template.endpoint.clone().with_address(address);
                    made.localities[*locality].endpoints.push(endpoint);
                }
            }
        }
        made
    }

    /// The addresses that count, in the order they are tried.
    fn chosen(&self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let of = |v6: bool| addresses.iter().copied().filter(move |ip| ip.is_ipv6() == v6);
        let (first, second) = match self.lookup_family {
            DnsLookupFamily::V4Only => return of(false).collect(),
            DnsLookupFamily::V6Only => return of(true).collect(),
            DnsLookupFamily::All => return addresses.to_vec(),
            DnsLookupFamily::Auto => (true, false),
            DnsLookupFamily::V4Preferred => (false, true),
        };
        let mut chosen: Vec<IpAddr> = of(first).collect();
        // One endpoint may be tried by all its addresses; of many, half would be the same twice.
        if chosen.is_empty() || self.kind == DnsKind::Logical {
            chosen.extend(of(second));
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(cluster: &DnsCluster, found: &[&str]) -> Vec<String> {
        let found: Vec<IpAddr> = found.iter().map(|text| text.parse().unwrap()).collect();
        let made = cluster.resolve(|_| Some(&found));
        let endpoints = made.localities.iter().flat_map(|locality| &locality.endpoints);
        endpoints.map(|endpoint| endpoint.address().to_string()).collect()
    }

    #[test]
    fn family_decides_which_addresses_count() {
        use DnsLookupFamily::{All, Auto, V4Only, V4Preferred, V6Only};
        let both = ["10.0.0.1", "::1"];
        let cases: [(DnsLookupFamily, &[&str], &[&str]); 7] = [
            (Auto, &both, &["[::1]:80"]),
            (Auto, &["10.0.0.1"], &["10.0.0.1:80"]),
            (V4Only, &both, &["10.0.0.1:80"]),
            (V6Only, &["10.0.0.1"], &[]),
            (V4Preferred, &both, &["10.0.0.1:80"]),
            (V4Preferred, &["::1"], &["[::1]:80"]),
            (All, &both, &["10.0.0.1:80", "[::1]:80"]),
        ];
        let mut cluster = DnsCluster::of_host("k", DnsKind::Strict, "h", 80);
        for (family, found, expected) in cases {
            cluster.lookup_family = family;
            assert_eq!(addresses(&cluster, found), expected, "{family:?}");
        }
    }

    #[test]
    fn one_endpoint_is_tried_by_all_its_addresses() {
        let mut cluster = DnsCluster::of_host("k", DnsKind::Logical, "h", 80);
        let found = ["10.0.0.1", "::1"];
        assert_eq!(addresses(&cluster, &found), ["[::1]:80", "10.0.0.1:80"]);
        cluster.lookup_family = DnsLookupFamily::V4Preferred;
        assert_eq!(addresses(&cluster, &found), ["10.0.0.1:80", "[::1]:80"]);
    }

    #[test]
    fn address_of_two_names_counts_once_and_unresolved_names_drop_out() {
        let mut cluster = DnsCluster::of_host("k", DnsKind::Strict, "a", 80);
        for host in ["b", "c"] {
            let endpoint = cluster.endpoints[0].1.endpoint.clone();
            cluster.endpoints.push((0, DnsEndpoint { host: host.into(), endpoint }));
        }
        assert_eq!(cluster.hosts().len(), 3);
        let found = [IpAddr::from([10, 0, 0, 1])];
        let made = cluster.resolve(|host| (host != "c").then_some(&found[..]));
        assert_eq!(made.localities[0].endpoints.len(), 1);
    }
}
