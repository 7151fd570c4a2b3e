//! Requests through the mesh: one for `fetch`, many for `load`.

mod failure;
mod grpc;
mod plain;

use std::time::{Duration, Instant};

use http::Extensions;
use mesh_tower::{Deadline, Mesh, Record};

use crate::answer::Answer;
use crate::command::{BodyArguments, RequestArguments};
use crate::error::Error;

/// Largest answer that is kept, for `fetch`: nobody reads more than 64 MiB at a prompt.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// What to do with the body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Put it into [`Answer::body`].
    Body,
    /// Read it to its end and forget it.
    Nothing,
}

/// How to treat each request.
#[derive(Clone, Copy, Debug)]
struct Handling {
    timeout: Option<Duration>,
    keep: Keep,
}

impl Handling {
    /// The extensions of one request: its deadline, and the record it fills in.
    fn extensions(self, record: &Record) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(record.clone());
        if let Some(timeout) = self.timeout {
            extensions.insert(Deadline(Instant::now() + timeout));
        }
        extensions
    }
}

/// A request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Plain(plain::Caller),
    Grpc(grpc::Caller),
}

impl Caller {
    /// Prepares the request. For gRPC this asks the server for the types of the method.
    pub(crate) async fn new(
        mesh: &Mesh,
        request: &RequestArguments,
        body: &BodyArguments,
        keep: Keep,
    ) -> Result<Self, Error> {
        let handling = Handling { timeout: body.timeout, keep };
        let data = body.data.as_deref();
        Ok(match &body.grpc {
            None => Self::Plain(plain::Caller::new(mesh, request, data, handling)?),
            Some(method) => {
                let data = data.unwrap_or_default();
                Self::Grpc(grpc::Caller::new(mesh, request, method, data, handling).await?)
            }
        })
    }

    /// Sends the request once. Never an error: what failed is in the answer.
    pub(crate) async fn call(&self) -> Answer {
        match self {
            Self::Plain(caller) => caller.call().await,
            Self::Grpc(caller) => caller.call().await,
        }
    }
}
