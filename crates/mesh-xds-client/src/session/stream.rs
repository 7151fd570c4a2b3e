//! What is said to one server, and how it stands.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mesh_core::ResourceId;
use mesh_core::finding::FailureKind;

use super::failing::OldValue;
use super::wire::{Protocol, Wire};
use crate::bootstrap::ServerFeatures;

/// One server. There is a stream to it, or there may be one again.
#[derive(Debug)]
pub(super) struct Stream {
    /// What it is called in texts.
    pub(super) name: String,
    pub(super) features: ServerFeatures,
    pub(super) wire: Wire,
    pub(super) timer: Timer,
    pub(super) is_up: bool,
    /// The node goes into the first message of a stream only.
    pub(super) node_sent: bool,
    /// A response came on this stream.
    pub(super) answered: bool,
    /// Why it cannot be reached, until it answers.
    pub(super) unreachable: Option<String>,
}

/// The resource timers. All of a server have the same length, so they end in the order they
/// began.
#[derive(Debug)]
pub(super) struct Timer {
    pub(super) length: Duration,
    pub(super) kind: FailureKind,
    pub(super) running: VecDeque<(Instant, ResourceId)>,
    /// Asked for in a request that has not left yet.
    pub(super) asked: Vec<ResourceId>,
}

impl Stream {
    pub(super) fn new(name: String, features: ServerFeatures) -> Self {
        let protocol = if features.delta { Protocol::Delta } else { Protocol::StateOfTheWorld };
        Self {
            name,
            features,
            wire: Wire::new(protocol),
            timer: Timer::new(features),
            is_up: false,
            node_sent: false,
            answered: false,
            unreachable: None,
        }
    }

    /// The stream is gone, and with it what it was asked.
    pub(super) fn down(&mut self) {
        self.is_up = false;
        self.timer.running.clear();
        self.timer.asked.clear();
    }

    pub(super) fn old_value(&self) -> OldValue {
        if self.features.fail_on_data_errors { OldValue::Dropped } else { OldValue::Kept }
    }
}

impl Timer {
    /// gRFC A57: a resource that is not answered for within 15 s does not exist. gRFC A88: or the
    /// server is slow, and is given twice the time.
    fn new(features: ServerFeatures) -> Self {
        let (length, kind) = if features.resource_timer_is_transient_error {
            (Duration::from_secs(30), FailureKind::Unreachable)
        } else {
            (Duration::from_secs(15), FailureKind::DoesNotExist)
        };
        Self { length, kind, running: VecDeque::new(), asked: Vec::new() }
    }
}
