//! The task of a client: it keeps a link to each server in use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::Options;
use super::core::Core;
use super::interests::Interests;
use super::link::Link;
use crate::session::ServerIndex;

/// How long after a fault of ours a link is made anew: soon, and not in a loop.
const REPAIR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Task {
    core: Arc<Core>,
    interests: Arc<Interests>,
    options: Options,
    /// Ended with the task.
    tasks: JoinSet<()>,
    links: HashMap<ServerIndex, AbortHandle>,
}

impl Task {
    pub(super) fn new(core: Arc<Core>, interests: Arc<Interests>, options: Options) -> Self {
        Self { core, interests, options, tasks: JoinSet::new(), links: HashMap::new() }
    }

    /// Sees to interests, deadlines and links, until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.follow();
            let deadline = self.core.next_deadline();
            let expired = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.interests.changed() => {
                    self.core.set_interests(self.interests.take(), now());
                }
                () = self.core.names_changed() => self.core.take_names(now()),
                () = expired => self.core.expire(now()),
                () = self.core.changed() => {}
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
            }
        }
    }

    /// Makes and ends links, so that there is one to each server in use.
    fn follow(&mut self) {
        for server in self.core.servers() {
            if !self.core.is_in_use(server) {
                if let Some(link) = self.links.remove(&server) {
                    tracing::info!(server = %self.core.server(server).uri, "no longer in use");
                    link.abort();
                    self.core.unlinked(server);
                }
            } else if !self.links.contains_key(&server) {
                let link = Link::new(self.core.clone(), server, self.options.clone());
                self.links.insert(server, self.tasks.spawn(link.run()));
            }
        }
    }

    /// A link ended: because it was no longer wanted, or by a fault of ours.
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        // One that was cancelled is not wanted any more, or the runtime is ending.
        let Some(error) = ended.err().filter(JoinError::is_panic) else { return };
        let id = error.id();
        let found = self.links.iter().find(|(_, link)| link.id() == id).map(|(server, _)| *server);
        let Some(server) = found else { return };
        tracing::error!(server = %self.core.server(server).uri, "a task ended by a fault: {error}");
        self.core.stream_down(server, "a task of the client failed", now());
        let link = Link::new(self.core.clone(), server, self.options.clone());
        let task = async move {
            tokio::time::sleep(REPAIR).await;
            link.run().await;
        };
        self.links.insert(server, self.tasks.spawn(task));
    }
}

/// The runtime's clock, which tests can hold.
pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::Ask;
    use crate::client::core::tests::core;

    /// A task with a link to a server that is not there.
    fn task() -> Task {
        let options = Options::default();
        let (core, _updates) = core("127.0.0.1:1", Ask::Native, &options);
        let mut task = Task::new(core, Arc::default(), options);
        task.follow();
        task
    }

    async fn end(task: &mut Task) {
        let ended = task.tasks.join_next_with_id().await.unwrap();
        task.ended(ended);
    }

    #[tokio::test]
    async fn link_that_ends_with_its_runtime_is_not_made_again() {
        let mut task = task();
        assert_eq!((task.links.len(), task.tasks.len()), (1, 1));
        task.links.values().for_each(AbortHandle::abort);
        end(&mut task).await;
        assert!(task.tasks.is_empty());
    }

    #[tokio::test]
    async fn link_that_ends_by_a_fault_of_ours_is_made_again() {
        let mut task = task();
        let server = *task.links.keys().next().unwrap();
        task.links.values().for_each(AbortHandle::abort);
        end(&mut task).await;
        let faulty = task.tasks.spawn(async { panic!("as the test wants it") });
        task.links.insert(server, faulty);
        end(&mut task).await;
        assert_eq!(task.tasks.len(), 1);
        let error = task.core.status().servers[0].error.clone();
        assert!(error.unwrap().0.contains("a task of the client failed"));
    }
}
