//! Which copies of a request are sent.

use std::borrow::Cow;

use super::conditions::{first_value, fraction_draw};
use super::hosts::without_port;
use crate::head::Head;
use crate::resource::{MirrorCluster, MirrorPolicy};

/// A copy of a request that is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Mirror<'a> {
    /// The name of the cluster; one that does not exist is left aside.
    pub cluster: &'a str,
    /// What the configuration says of it.
    pub policy: &'a MirrorPolicy,
}

impl Mirror<'_> {
    /// The authority of the copy, made of the one that is sent upstream: with `-shadow` before its
    /// port, unless the policy says otherwise.
    pub fn authority<'h>(&'h self, upstream: &'h str) -> Cow<'h, str> {
        if let Some(host) = &self.policy.host_rewrite {
            return String::from_utf8_lossy(host.as_bytes());
        }
        if self.policy.disable_shadow_host_suffix_append {
            return Cow::Borrowed(upstream);
        }
        let host = without_port(upstream);
        Cow::Owned(format!("{host}-shadow{}", &upstream[host.len()..]))
    }
}

/// Keeps the shares of copies apart from those that routes take: both come of the same number.
const SALT: u64 = 0x6d69_7272_6f72;

/// The copies of a request. Policies that ask for the same share copy the same requests, as in
/// Envoy.
pub(crate) fn mirrors<'a>(
    policies: &'a [MirrorPolicy],
    head: &Head<'a>,
    random: u64,
) -> impl Iterator<Item = Mirror<'a>> + use<'a> {
    let head = *head;
    policies.iter().filter_map(move |policy| {
        let share = policy.runtime_fraction.unwrap_or(u32::MAX);
        if fraction_draw(random.wrapping_add(SALT)) >= share {
            return None;
        }
        let cluster = match &policy.cluster {
            MirrorCluster::Cluster(name) => &**name,
            MirrorCluster::Header(name) => {
                str::from_utf8(first_value(name, &head)?).ok().filter(|name| !name.is_empty())?
            }
        };
        Some(Mirror { cluster, policy })
    })
}
