//! What an object must hold beyond the types of its fields.
//!
//! The rules and their verdicts are those of Istio's admission webhook; those that need several
//! objects at once are in [`references`].

mod answers;
mod destination_rule;
mod names;
mod references;
mod selection;
mod service;
mod service_entry;
mod traffic;
mod virtual_service;

pub(crate) use destination_rule::destination_rule;
pub(crate) use references::{Broken, references};
pub(crate) use service::kubernetes_service;
pub(crate) use service_entry::{service_entry, workload_entry};
pub(crate) use virtual_service::virtual_service;

use crate::field_path::FieldPath;
use crate::kind::{Duration, Labels};
use crate::read::Report;

/// Durations that become timeouts: at least a millisecond, and whole ones.
fn duration(duration: Option<Duration>, path: &FieldPath, report: &mut Report<'_>) {
    let Some(Duration(duration)) = duration else { return };
    if duration < std::time::Duration::from_millis(1) {
        report.error(path, "must be at least 1ms; leave it out for none");
    } else if duration.subsec_nanos() % 1_000_000 != 0 {
        report.error(path, "must be a whole number of milliseconds");
    }
}

fn port(number: u32, path: &FieldPath, report: &mut Report<'_>) {
    if number == 0 || number > u32::from(u16::MAX) {
        report.error(path, format!("port {number} is not between 1 and 65535"));
    }
}

fn not_negative(value: i32, path: &FieldPath, report: &mut Report<'_>) {
    if value < 0 {
        report.error(path, format!("{value} must not be negative"));
    }
}

fn labels(labels: &Labels, path: &FieldPath, report: &mut Report<'_>) {
    for (key, value) in labels {
        if let Some(fault) = names::label_key(key).or_else(|| names::label_value(value)) {
            report.error(&path.key(key.clone()), fault);
        }
    }
}

#[cfg(test)]
mod tests;
