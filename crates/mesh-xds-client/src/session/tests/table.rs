//! What becomes of a resource when something goes wrong, by what is known of it and by what the
//! server was configured with (gRFC A57, A88): every cell of that table, by both protocols.

use mesh_core::ResourceType::{self, Cluster, Listener};
use mesh_core::finding::FailureKind::{self, Deleted, DoesNotExist, Invalid, Unreachable};
use mesh_pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, DiscoveryResponse, ResourceError, ResourceName,
};
use mesh_pb::google::rpc::{Code, Status};

use super::{Driver, Told, ambient, failed, type_url};
use crate::bootstrap::ServerFeatures;
use crate::sample::{bad_cluster, cluster, listener};
use crate::session::Protocol;

const NAME: &str = "a";

/// What is known, and what the server was configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    NotCached,
    Cached,
    CachedAndFailing,
}

/// Runs `fault` in each column, by each protocol, and compares what is told.
fn row(kind: ResourceType, fault: impl Fn(&mut Driver), expected: impl Fn(Column) -> Vec<Told>) {
    for column in [Column::NotCached, Column::Cached, Column::CachedAndFailing] {
        for delta in [false, true] {
            let fail_on_data_errors = column == Column::CachedAndFailing;
            let features = ServerFeatures { delta, fail_on_data_errors, ..Default::default() };
            let mut driver = Driver::with_features(features);
            driver.subscribe(kind, &[NAME]);
            driver.leave();
            if column != Column::NotCached {
                let made = match kind {
                    Listener => listener(NAME, "r"),
                    _ => cluster(NAME),
                };
                driver.give(kind, vec![(NAME, made)], &[], Vec::new());
            }
            driver.told();
            fault(&mut driver);
            assert_eq!(driver.told(), expected(column), "{column:?}, delta: {delta}");
            let kept = driver.session.values().count();
            let dropped = expected(column).first().is_some_and(|told| !told.2);
            let is_kept = column != Column::NotCached && !dropped;
            assert_eq!(kept == 1, is_kept, "{column:?}, delta: {delta}");
        }
    }
}

/// A fault of the resource: older values are dropped where they are to be.
fn data_error(
    kind: ResourceType,
    new: FailureKind,
    old: FailureKind,
) -> impl Fn(Column) -> Vec<Told> {
    move |column| match column {
        Column::NotCached => vec![failed(kind, NAME, new)],
        Column::Cached => vec![ambient(kind, NAME, old)],
        Column::CachedAndFailing => vec![failed(kind, NAME, old)],
    }
}

/// A fault of the server: older values stay.
fn transient(kind: ResourceType) -> impl Fn(Column) -> Vec<Told> {
    move |column| match column {
        Column::NotCached => vec![failed(kind, NAME, Unreachable)],
        _ => vec![ambient(kind, NAME, Unreachable)],
    }
}

impl Driver {
    /// Sends what is due, by whichever protocol.
    fn leave(&mut self) {
        while self.session.poll_request(self.server).is_some() {}
        self.session.request_left(self.server, self.now);
    }

    fn give(
        &mut self,
        kind: ResourceType,
        made: Vec<(&str, mesh_pb::google::protobuf::Any)>,
        removed: &[&str],
        errors: Vec<ResourceError>,
    ) {
        match self.session.protocol(self.server) {
            Protocol::Delta if errors.is_empty() => self.change(kind, "v", made, removed),
            Protocol::Delta => {
                let response = DeltaDiscoveryResponse {
                    type_url: type_url(kind).to_owned(),
                    resource_errors: errors,
                    ..DeltaDiscoveryResponse::default()
                };
                self.session.receive(self.server, response, self.now);
            }
            Protocol::StateOfTheWorld => self.take(DiscoveryResponse {
                type_url: type_url(kind).to_owned(),
                resources: made.into_iter().map(|(_, resource)| resource).collect(),
                resource_errors: errors,
                ..DiscoveryResponse::default()
            }),
        }
    }

    fn report(&mut self, kind: ResourceType, code: Code) {
        let error = ResourceError {
            resource_name: Some(ResourceName { name: NAME.to_owned(), ..Default::default() }),
            error_detail: Some(Status { code: code as i32, ..Status::default() }),
        };
        self.give(kind, Vec::new(), &[], vec![error]);
    }
}

#[test]
fn row_of_a_stream_that_dies_unanswered() {
    let die = |driver: &mut Driver| {
        driver.down("closed");
        driver.down("refused");
    };
    row(Listener, die, transient(Listener));
}

#[test]
fn row_of_a_refused_resource() {
    let refuse = |driver: &mut Driver| {
        driver.give(Cluster, vec![(NAME, bad_cluster(NAME))], &[], Vec::new());
    };
    row(Cluster, refuse, data_error(Cluster, Invalid, Invalid));
}

#[test]
fn row_of_a_deletion() {
    for kind in [Listener, Cluster] {
        // By absence in the state of the world; where nothing was known, that says nothing, and
        // the control plane has to say so itself.
        let delete = |driver: &mut Driver| {
            let is_known = driver.session.values().count() > 0;
            if is_known || driver.session.protocol(driver.server) == Protocol::Delta {
                driver.give(kind, Vec::new(), &[NAME], Vec::new());
            } else {
                driver.report(kind, Code::NotFound);
            }
        };
        row(kind, delete, data_error(kind, DoesNotExist, Deleted));
    }
}

#[test]
fn row_of_errors_that_speak_of_the_resource() {
    for code in [Code::NotFound, Code::PermissionDenied] {
        for kind in [Listener, Cluster] {
            let report = |driver: &mut Driver| driver.report(kind, code);
            row(kind, report, data_error(kind, DoesNotExist, Deleted));
        }
    }
}

#[test]
fn row_of_errors_that_speak_of_the_server() {
    for code in [Code::Unavailable, Code::Internal, Code::Unknown, Code::ResourceExhausted] {
        for kind in [Listener, Cluster] {
            let report = |driver: &mut Driver| driver.report(kind, code);
            row(kind, report, transient(kind));
        }
    }
}

#[test]
fn row_of_the_resource_timer() {
    let wait = |driver: &mut Driver| driver.pass(15);
    row(Cluster, wait, |column| match column {
        Column::NotCached => vec![failed(Cluster, NAME, DoesNotExist)],
        _ => Vec::new(),
    });
}

/// Of a resource that an error is reported for, absence says nothing more.
#[test]
fn reported_error_is_not_also_a_deletion() {
    let features = ServerFeatures { fail_on_data_errors: true, ..ServerFeatures::default() };
    let mut driver = Driver::with_features(features);
    driver.subscribe(Cluster, &[NAME]);
    driver.receive(Cluster, "1", vec![cluster(NAME)]);
    driver.told();
    driver.report(Cluster, Code::Unavailable);
    assert_eq!(driver.told(), [ambient(Cluster, NAME, Unreachable)]);
}

#[test]
fn every_failure_names_the_node() {
    let faults: [&dyn Fn(&mut Driver); 6] = [
        &|driver| driver.pass(15),
        &|driver| {
            driver.down("refused");
        },
        &|driver| driver.receive(Cluster, "1", vec![bad_cluster(NAME)]),
        &|driver| driver.report(Cluster, Code::NotFound),
        &|driver| driver.report(Cluster, Code::Internal),
        &|driver| driver.subscribe(Cluster, &["xdstp://nobody/t/n"]),
    ];
    for fault in faults {
        let mut driver = Driver::new();
        driver.subscribe(Cluster, &[NAME]);
        driver.send();
        fault(&mut driver);
        let told = driver.session.take_events();
        let text = told.last().unwrap().failure.as_ref().unwrap().to_string();
        assert!(text.contains("(node \"test-node\")"), "{text}");
    }
}

#[test]
fn name_wanted_again_is_told_its_value_with_the_failure_that_stands() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &[NAME]);
    driver.receive(Cluster, "1", vec![cluster(NAME)]);
    driver.receive(Cluster, "2", vec![bad_cluster(NAME)]);
    driver.told();
    driver.session.unsubscribe(Cluster, NAME);
    driver.subscribe(Cluster, &[NAME]);
    assert_eq!(driver.told(), [ambient(Cluster, NAME, Invalid)]);
}
