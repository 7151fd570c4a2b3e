//! Which endpoints requests go to, without a network: clusters in, picks out.
//!
//! A record holds a cluster and its endpoints, which are decoded as if a control plane had sent
//! them, and either keys, each hashed as the value of a header would be, or a number of requests
//! without one. The endpoints are picked by the code of the data path.

mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mesh_core::cluster::{Choice, ClusterState, hash_of};
use serde::Serialize;
use serde_json::Value;

use crate::lines::Judged;

use record::{Record, Sample};

/// What is told of a record.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answer {
    id: Value,
    #[serde(flatten)]
    found: Option<Found>,
    /// Why nothing could be picked: the record is wrong, or its configuration is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What the configuration asks for and does not get, and fields that nobody read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Found {
    /// For each key its endpoint; none when none may be picked.
    Picks { picks: BTreeMap<String, Option<SocketAddr>> },
    /// How many requests each endpoint and each priority got.
    Shares(Shares),
}

#[derive(Debug, Default, Serialize)]
struct Shares {
    shares: BTreeMap<SocketAddr, u64>,
    priorities: BTreeMap<u32, u64>,
    /// Whether a priority ignores health, for too few of its endpoints are well.
    panic: bool,
    /// Requests for which there was no endpoint.
    failed: u64,
    /// Requests that were dropped (`drop_overloads`), by category.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    dropped: BTreeMap<String, u64>,
}

impl Judged for Answer {
    fn unreadable(number: usize, error: &str) -> Self {
        Self { error: Some(format!("line {number}: {error}")), ..Self::default() }
    }

    fn is_complete(&self) -> bool {
        self.found.is_some()
    }
}

/// Runs one record.
pub(crate) fn check(number: usize, line: &str) -> Answer {
    let json: Value = match serde_json::from_str(line) {
        Ok(json) => json,
        Err(error) => return Answer::unreadable(number, &error.to_string()),
    };
    let id = json.get("id").cloned().unwrap_or_default();
    let mut answer = Answer { id, ..Answer::default() };
    // A record that trips over a fault of ours must not take the records after it along; nothing
    // is shared between records.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let record = Record::read(json)?;
        let (cluster, ignored) = record.cluster()?;
        answer.ignored = ignored;
        Ok::<Found, String>(found(&record, &cluster))
    }));
    match ran {
        Ok(Ok(found)) => answer.found = Some(found),
        Ok(Err(error)) => answer.error = Some(format!("line {number}: {error}")),
        Err(_) => answer.error = Some(format!("line {number}: a fault of the program")),
    }
    answer
}

fn found(record: &Record, cluster: &ClusterState<()>) -> Found {
    let choice = Choice::new(record.dialect());
    match record.sample() {
        Sample::Keys(keys) => {
            let pick = |key: &String| {
                let hash = hash_of(key.as_bytes());
                let picked = cluster.pick(&choice.with_hash(Some(hash)), hash);
                (key.clone(), picked.ok().map(|picked| picked.address()))
            };
            Found::Picks { picks: keys.iter().map(pick).collect() }
        }
        Sample::Draws { draws, seed } => {
            let mut random = fastrand::Rng::with_seed(*seed);
            let mut made = Shares::default();
            let tables = cluster.tables_of(record.dialect());
            made.panic = tables.loads().iter().any(|load| load.panic);
            for _ in 0..*draws {
                if let Some(category) = cluster.drop_overload(random.u64(..)) {
                    *made.dropped.entry(category.to_string()).or_default() += 1;
                    continue;
                }
                match cluster.pick(&choice, random.u64(..)) {
                    Ok(picked) => {
                        let address = picked.address();
                        *made.shares.entry(address).or_default() += 1;
                        let priority = record.priority(&address);
                        *made.priorities.entry(priority).or_default() += 1;
                    }
                    Err(_) => made.failed += 1,
                }
            }
            Found::Shares(made)
        }
    }
}
