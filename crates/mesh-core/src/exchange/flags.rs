use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// Envoy's response flags: why an answer is what it is. Printed as in its access logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResponseFlags(u32);

/// The flags in the order Envoy prints them.
const NAMES: [(ResponseFlags, &str); 21] = [
    (ResponseFlags::NO_HEALTHY_UPSTREAM, "UH"),
    (ResponseFlags::UPSTREAM_REQUEST_TIMEOUT, "UT"),
    (ResponseFlags::LOCAL_RESET, "LR"),
    (ResponseFlags::UPSTREAM_REMOTE_RESET, "UR"),
    (ResponseFlags::UPSTREAM_CONNECTION_FAILURE, "UF"),
    (ResponseFlags::UPSTREAM_CONNECTION_TERMINATION, "UC"),
    (ResponseFlags::UPSTREAM_OVERFLOW, "UO"),
    (ResponseFlags::NO_ROUTE_FOUND, "NR"),
    (ResponseFlags::DELAY_INJECTED, "DI"),
    (ResponseFlags::FAULT_INJECTED, "FI"),
    (ResponseFlags::RATE_LIMITED, "RL"),
    (ResponseFlags::UNAUTHORIZED, "UAEX"),
    (ResponseFlags::STREAM_IDLE_TIMEOUT, "SI"),
    (ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED, "URX"),
    (ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR, "DPE"),
    (ResponseFlags::UPSTREAM_MAX_STREAM_DURATION_REACHED, "UMSDR"),
    (ResponseFlags::DURATION_TIMEOUT, "DT"),
    (ResponseFlags::NO_CLUSTER_FOUND, "NC"),
    (ResponseFlags::OVERLOAD_MANAGER, "OM"),
    (ResponseFlags::UPSTREAM_PROTOCOL_ERROR, "UPE"),
    (ResponseFlags::DROP_OVERLOAD, "DO"),
];

impl ResponseFlags {
    /// Nothing to tell.
    pub const NONE: Self = Self(0);
    /// `UH`: no endpoint is healthy, or there is none.
    pub const NO_HEALTHY_UPSTREAM: Self = Self(1);
    /// `UT`: the upstream took longer than it may.
    pub const UPSTREAM_REQUEST_TIMEOUT: Self = Self(1 << 1);
    /// `LR`: reset here.
    pub const LOCAL_RESET: Self = Self(1 << 2);
    /// `UR`: the upstream reset the stream.
    pub const UPSTREAM_REMOTE_RESET: Self = Self(1 << 3);
    /// `UF`: no connection could be made.
    pub const UPSTREAM_CONNECTION_FAILURE: Self = Self(1 << 4);
    /// `UC`: the connection ended under the request.
    pub const UPSTREAM_CONNECTION_TERMINATION: Self = Self(1 << 5);
    /// `UO`: a circuit breaker is open.
    pub const UPSTREAM_OVERFLOW: Self = Self(1 << 6);
    /// `NR`: no route takes the request.
    pub const NO_ROUTE_FOUND: Self = Self(1 << 7);
    /// `DI`: a fault made it late.
    pub const DELAY_INJECTED: Self = Self(1 << 8);
    /// `FI`: a fault made it fail.
    pub const FAULT_INJECTED: Self = Self(1 << 9);
    /// `RL`: a rate limit refused it.
    pub const RATE_LIMITED: Self = Self(1 << 10);
    /// `UAEX`: external authorization refused it.
    pub const UNAUTHORIZED: Self = Self(1 << 11);
    /// `URX`: no attempt is left.
    pub const UPSTREAM_RETRY_LIMIT_EXCEEDED: Self = Self(1 << 12);
    /// `DPE`: the request is malformed.
    pub const DOWNSTREAM_PROTOCOL_ERROR: Self = Self(1 << 13);
    /// `UMSDR`: the stream took longer than it may.
    pub const UPSTREAM_MAX_STREAM_DURATION_REACHED: Self = Self(1 << 14);
    /// `NC`: the route's cluster does not exist.
    pub const NO_CLUSTER_FOUND: Self = Self(1 << 15);
    /// `OM`: shed by overload.
    pub const OVERLOAD_MANAGER: Self = Self(1 << 16);
    /// `UPE`: the upstream broke the protocol.
    pub const UPSTREAM_PROTOCOL_ERROR: Self = Self(1 << 17);
    /// `DO`: dropped because the cluster asks for less.
    pub const DROP_OVERLOAD: Self = Self(1 << 18);
    /// `DT`: request and answer together took longer than they may.
    pub const DURATION_TIMEOUT: Self = Self(1 << 19);
    /// `SI`: nothing moved for the idle timeout.
    pub const STREAM_IDLE_TIMEOUT: Self = Self(1 << 20);

    /// One of Envoy's that nothing here is ever answered with.
    pub const UNKNOWN: Self = Self(1 << 31);

    /// Whether nothing is told.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flag of a short name, as printed.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(flag, _)| *flag)
    }

    /// Whether all of `flags` are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl BitOr for ResponseFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for ResponseFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for ResponseFlags {
    /// The short names with commas between; a dash for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let set = NAMES.iter().filter(|(flag, _)| self.contains(*flag));
        for (at, (_, name)) in set.enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_short_names_in_order() {
        assert_eq!(ResponseFlags::NONE.to_string(), "-");
        let both = ResponseFlags::FAULT_INJECTED | ResponseFlags::DELAY_INJECTED;
        assert_eq!(both.to_string(), "DI,FI");
        assert!(both.contains(ResponseFlags::FAULT_INJECTED));
    }
}
