//! Header changes to Envoy's lists.

use mesh_pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use mesh_pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};

use crate::kind::{HeaderOperations, Headers};

/// The changes of one `headers` block.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) request_add: Vec<HeaderValueOption>,
    pub(super) request_remove: Vec<String>,
    pub(super) response_add: Vec<HeaderValueOption>,
    pub(super) response_remove: Vec<String>,
    /// The new authority: setting `:authority` or `Host` is no header change but a rewrite.
    pub(super) host_rewrite: Option<String>,
}

impl Changes {
    pub(super) fn new(headers: &Headers) -> Self {
        let (request_add, host_rewrite) = additions(&headers.request);
        let (response_add, _) = additions(&headers.response);
        Self {
            request_add,
            request_remove: removals(&headers.request),
            response_add,
            response_remove: removals(&headers.response),
            host_rewrite,
        }
    }

    /// Adds changes that come after these: those of a destination come after its route's.
    pub(super) fn then(&mut self, later: Self) {
        self.request_add.extend(later.request_add);
        self.request_remove.extend(later.request_remove);
        self.response_add.extend(later.response_add);
        self.response_remove.extend(later.response_remove);
        self.host_rewrite = later.host_rewrite.or(self.host_rewrite.take());
    }
}

fn additions(operations: &HeaderOperations) -> (Vec<HeaderValueOption>, Option<String>) {
    let set = operations.set.iter().map(|h| (h, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = operations.add.iter().map(|h| (h, HeaderAppendAction::AppendIfExistsOrAdd));
    let (mut options, mut authority) = (Vec::new(), None);
    for ((name, value), action) in set.chain(add) {
        if name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority") {
            authority.get_or_insert_with(|| value.clone());
        } else if !name.starts_with(':') {
            options.push(HeaderValueOption {
                header: Some(HeaderValue {
                    key: name.clone(),
                    value: value.clone(),
                    ..Default::default()
                }),
                append_action: action.into(),
                ..Default::default()
            });
        }
    }
    (options, authority)
}

/// Envoy refuses to remove pseudo-headers and `host`.
fn removals(operations: &HeaderOperations) -> Vec<String> {
    let allowed = |name: &&String| !name.starts_with(':') && !name.eq_ignore_ascii_case("host");
    operations.remove.iter().filter(allowed).cloned().collect()
}
