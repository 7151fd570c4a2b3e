use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_core::Dialect;
use mesh_core::cluster::{Checked, CheckedHealth, ClusterState, EndpointState, Transition};
use mesh_core::resource::{Endpoint, HealthCheck, HealthChecker, Name, UpstreamProtocol};

use super::{Found, grpc, http, tcp};
use crate::connection::{Connections, Protocol};
use crate::mesh::Io;

/// The checks of one endpoint.
pub(super) struct Session {
    pub(super) cluster: Arc<ClusterState<Io>>,
    endpoint: Arc<EndpointState<Io>>,
    spec: Arc<HealthCheck>,
    health: Arc<Mutex<CheckedHealth>>,
    /// The authority of requests that name none.
    host: Name,
    connections: Arc<Connections>,
}

impl Session {
    pub(super) fn new(
        cluster: &Arc<ClusterState<Io>>,
        state: &Arc<EndpointState<Io>>,
        endpoint: &Endpoint,
        spec: &Arc<HealthCheck>,
        health: &Arc<Mutex<CheckedHealth>>,
    ) -> Self {
        let protocol = match &spec.checker {
            HealthChecker::Http(check) if check.protocol != UpstreamProtocol::Http2 => {
                Protocol::Http1
            }
            _ => Protocol::Http2,
        };
        let connections = state.attached().for_checks(protocol, spec.alt_port);
        if !spec.reuse_connection {
            connections.drain();
        }
        let host = match endpoint.hostname() {
            "" => cluster.spec().name.clone(),
            hostname => hostname.into(),
        };
        Self {
            cluster: cluster.clone(),
            endpoint: state.clone(),
            spec: spec.clone(),
            health: health.clone(),
            host,
            connections,
        }
    }

    /// Tells the endpoint's state what earlier checks found: it may be new, and checks that find
    /// the same again tell it nothing.
    pub(super) fn adopt(&self) {
        let known = self.known();
        if !known.is_unknown() && self.endpoint.is_failing() == known.is_healthy() {
            self.endpoint.set_failing(!known.is_healthy());
            self.cluster.attached().ejected();
        }
    }

    /// Checks until it is dropped.
    pub(super) async fn run(self) {
        if self.known().is_unknown() {
            tokio::time::sleep(CheckedHealth::first_check(&self.spec, fastrand::u64(..))).await;
        }
        loop {
            let (checked, why) = self.check().await;
            let transition = self.found(checked, &why);
            tokio::time::sleep(self.pause(checked, transition)).await;
        }
    }

    /// One check, with what it found.
    async fn check(&self) -> Found {
        let check = async {
            match &self.spec.checker {
                HealthChecker::Http(check) => {
                    http::check(check, &self.host, &self.connections).await
                }
                HealthChecker::Grpc(check) => {
                    grpc::check(check, &self.host, &self.connections).await
                }
                HealthChecker::Tcp(check) => tcp::check(check, &self.connections).await,
                _ => (Checked::Good, String::new()),
            }
        };
        let checked = tokio::time::timeout(self.spec.timeout, check).await;
        checked.unwrap_or_else(|_| {
            (Checked::Unanswered, format!("no answer within {:?}", self.spec.timeout))
        })
    }

    fn known(&self) -> CheckedHealth {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a check found.
    fn found(&self, checked: Checked, why: &str) -> Transition {
        let (is_first, transition, is_healthy) = {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            let is_first = health.is_unknown();
            (is_first, health.observe(&self.spec, checked), health.is_healthy())
        };
        let mut changed = false;
        if transition == Transition::Changed {
            changed = self.endpoint.is_failing() == is_healthy;
            self.endpoint.set_failing(!is_healthy);
            if !is_healthy && self.cluster.spec().connections.close_on_health_failure {
                self.endpoint.attached().clear();
            }
        }
        if checked == Checked::Good {
            let now = crate::client::now();
            for dialect in [Dialect::Http, Dialect::Grpc] {
                let detector = self.cluster.detector(dialect);
                changed |= detector.is_on()
                    && detector.passed_health_check(self.endpoint.record(dialect), now);
            }
        }
        if changed {
            self.cluster.attached().ejected();
        }
        let fails = is_first || self.spec.always_log_health_check_failures;
        let log = match checked {
            Checked::Good => self.spec.always_log_health_check_success,
            _ => fails,
        };
        if transition == Transition::Changed || log {
            let (cluster, endpoint) = (self.cluster.name(), self.endpoint.address());
            tracing::info!(cluster, %endpoint, is_healthy, ?checked, why, "health check");
        }
        transition
    }

    /// How long until the next check.
    fn pause(&self, checked: Checked, transition: Transition) -> Duration {
        let own = self.endpoint.load() > 0 || self.endpoint.is_used();
        let had_traffic = self.cluster.attached().had_traffic(own);
        let random = fastrand::u64(..);
        self.known().next_check(&self.spec, checked, transition, had_traffic, random)
    }
}
