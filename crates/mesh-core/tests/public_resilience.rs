//! What users may rely on for every public type of resilience.

use std::fmt::Debug;

use mesh_core::cluster::outlier::{Detector, Observed, Record};
use mesh_core::cluster::{ConnectionPermit, PendingPermit, Remaining};
use mesh_core::resilience::{Ended, PreviousPriorities, RequestOptions, RetryState, Timeouts};
use mesh_core::resource::{
    AbortKind, ActiveFault, ActiveFaults, DelayKind, Denominator, DescriptorBuckets,
    DescriptorEntry, DynamicBuckets, FaultAbort, FaultDelay, FractionalPercent, HttpFault,
    LimitDescriptor, LocalRateLimit, MaxGrpcTimeout, OutlierDetection, RateLimit, RateLimitAction,
    RateLimitedBackOff, ResetHeader, ResetHeaderFormat, RouteLimits, Thresholds, TokenBucket,
    VhRateLimits,
};

fn shared<T: Send + Sync + Debug>() {}

#[test]
fn state_is_send_sync_and_debug() {
    shared::<(ConnectionPermit, Detector, Observed, PendingPermit, Record, Remaining)>();
    shared::<(ActiveFault, ActiveFaults, DynamicBuckets, TokenBucket)>();
    shared::<(Ended<'_>, PreviousPriorities, RequestOptions, RetryState, Timeouts)>();
}

#[test]
fn resources_are_send_sync_and_debug() {
    shared::<(AbortKind, DelayKind, Denominator, FaultAbort, FaultDelay, FractionalPercent)>();
    shared::<(DescriptorBuckets, DescriptorEntry<'_>, HttpFault, LimitDescriptor)>();
    shared::<(LocalRateLimit, MaxGrpcTimeout, OutlierDetection, RateLimit, RateLimitAction)>();
    shared::<(RateLimitedBackOff, ResetHeader, ResetHeaderFormat, RouteLimits<'_>)>();
    shared::<(Thresholds, VhRateLimits)>();
}
