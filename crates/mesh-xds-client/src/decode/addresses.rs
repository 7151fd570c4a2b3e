//! Endpoints as they were before, and that none occurs twice.

use std::net::SocketAddr;

use foldhash::{HashSet, HashSetExt};
use mesh_core::resource::{Endpoint, LocalityLbEndpoints};

use super::at::{At, Invalid};
use super::endpoints::Previous;
use super::split;

/// What an assignment was before, with the bytes of each endpoint.
pub(super) struct Before<'p> {
    bytes: Vec<Vec<&'p [u8]>>,
    localities: &'p [LocalityLbEndpoints],
}

/// The endpoints of a locality that were not met again yet.
#[derive(Clone, Copy)]
pub(super) struct Kept<'k> {
    bytes: &'k [&'k [u8]],
    endpoints: &'k [Endpoint],
}

impl<'p> Before<'p> {
    /// `None` where it cannot be told endpoint by endpoint. What was found about an endpoint is
    /// not kept with it, so that of an assignment with findings all is read again.
    pub(super) fn of(previous: Previous<'p>) -> Option<Self> {
        if !previous.value.findings.is_empty() {
            return None;
        }
        let bytes = split::endpoints(previous.bytes)?;
        Some(Self { bytes, localities: &previous.value.localities })
    }

    pub(super) fn locality(&self, index: usize) -> Option<Kept<'_>> {
        let (bytes, locality) = (self.bytes.get(index)?, self.localities.get(index)?);
        let endpoints = &locality.endpoints[..];
        (bytes.len() == endpoints.len()).then_some(Kept { bytes, endpoints })
    }
}

impl<'k> Kept<'k> {
    /// The endpoint that was told by these bytes, if it comes in the order it had: others may have
    /// gone before it, come in between, or changed.
    pub(super) fn take(&mut self, bytes: &[u8], next: Option<&&[u8]>) -> Option<&'k Endpoint> {
        let at = |kept: &Self, index: usize| kept.bytes.get(index).copied();
        if at(self, 0) == Some(bytes) {
            return self.pass();
        }
        if at(self, 1) == Some(bytes) {
            self.pass();
            return self.pass();
        }
        // New where the next one is still to come, changed otherwise.
        let is_insertion = next.is_some_and(|next| at(self, 0) == Some(next));
        if !is_insertion {
            self.pass();
        }
        None
    }

    fn pass(&mut self) -> Option<&'k Endpoint> {
        let (first, rest) = self.endpoints.split_first()?;
        self.endpoints = rest;
        self.bytes = &self.bytes[1..];
        Some(first)
    }
}

/// Up to so many new addresses are each looked for among all others; for more, a set is cheaper.
const FEW: usize = 8;

/// No address may occur twice. Those that are not `fresh` were together before.
pub(super) fn check_repetitions(
    at: At<'_>,
    localities: &[LocalityLbEndpoints],
    fresh: &[SocketAddr],
) -> Result<(), Invalid> {
    let all = || {
        localities.iter().enumerate().flat_map(|(locality, made)| {
            let endpoints = made.endpoints.iter().enumerate();
            endpoints.map(move |(index, endpoint)| (locality, index, endpoint.address()))
        })
    };
    let repeated = if fresh.len() <= FEW {
        let second = |address: &SocketAddr| all().filter(|(_, _, other)| other == address).nth(1);
        // The first to be told, as when all are looked at in their order.
        let seconds = fresh.iter().filter_map(second);
        seconds.min_by_key(|(locality, index, _)| (*locality, *index))
    } else {
        let count = localities.iter().map(|made| made.endpoints.len()).sum();
        let mut seen = HashSet::with_capacity(count);
        all().find(|(_, _, address)| !seen.insert(*address))
    };
    match repeated {
        None => Ok(()),
        Some((locality, index, address)) => {
            let at = at.index("endpoints", locality);
            Err(at.index("lb_endpoints", index).invalid(format!("repeats address {address}")))
        }
    }
}
