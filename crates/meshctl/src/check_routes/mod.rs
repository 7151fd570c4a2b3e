//! What the client pipeline does with a request, without a network: records in, outcomes out.
//!
//! A record holds a configuration and a request. Its configuration is decoded as if a control
//! plane had sent it, the request is taken through the code of the data path as if it had come
//! from an external peer over HTTP/1.1 in plain text, and the upstream is a stand-in that answers
//! as the record says, or 200.

mod configuration;
mod hops;
mod outcome;
mod record;
mod run;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde_json::Value;

use crate::lines::Judged;

use outcome::Expect;
use record::Record;

/// What is told of a record.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    id: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<Expect>,
    /// Why the record could not be run. What is wrong with its configuration is an outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Paths of what the record says and nothing was done with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
}

impl Judged for Answer {
    fn unreadable(number: usize, error: &str) -> Self {
        let error = format!("line {number}: {error}");
        Self { id: Value::Null, expect: None, error: Some(error), ignored: Vec::new() }
    }

    fn is_complete(&self) -> bool {
        self.expect.is_some()
    }
}

/// Runs one record.
pub(crate) fn check(number: usize, line: &str) -> Answer {
    let json: Value = match serde_json::from_str(line) {
        Ok(json) => json,
        Err(error) => return Answer::unreadable(number, &error.to_string()),
    };
    let id = json.get("id").cloned().unwrap_or_default();
    let mut answer = Answer { id, expect: None, error: None, ignored: Vec::new() };
    // A record that trips over a fault of ours must not take the records after it along; nothing
    // is shared between records.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let record = Record::read(json)?;
        answer.ignored = record.ignored();
        run::record(&record, &mut answer.ignored)
    }));
    match ran {
        Ok(Ok(expect)) => answer.expect = Some(expect),
        Ok(Err(error)) => answer.error = Some(format!("line {number}: {error}")),
        Err(_) => answer.error = Some(format!("line {number}: a fault of the program")),
    }
    answer
}
