use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::resource::ServerListener;

use super::tls::ChainTls;
use crate::mesh::{Governing, Inner, Unserving};

/// Whether a server takes connections (gRFC A36).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServingMode {
    /// It does.
    Serving,
    /// Its configuration is not there, was taken back, or is not for it; with the reason.
    NotServing(String),
}

/// What configuration says of a server.
pub(super) struct Serving {
    mesh: Arc<Inner>,
    governing: Governing,
    local: SocketAddr,
    mode: ServingMode,
    /// By which connections are taken; what its mode says follows from it.
    listener: Option<Arc<ServerListener>>,
    /// Why there is none.
    absent: String,
    tls: Option<ChainTls>,
    unserving: Option<Unserving>,
    told: Option<Told>,
}

/// Who is told of each change of mode.
pub(super) type Told = Box<dyn FnMut(&ServingMode) + Send>;

impl Serving {
    pub(super) fn new(mesh: &Arc<Inner>, governing: Governing, local: SocketAddr) -> Self {
        let absent = "its configuration has not come".to_owned();
        let mode = ServingMode::NotServing(absent.clone());
        let unserving = Some(mesh.standings.unserving());
        let mesh = mesh.clone();
        Self {
            mesh,
            governing,
            local,
            mode,
            listener: None,
            absent,
            tls: None,
            unserving,
            told: None,
        }
    }

    /// Tells each change of mode from now on, and the mode now if it serves.
    pub(super) fn tell(&mut self, mut told: Told) {
        if self.mode == ServingMode::Serving {
            told(&self.mode);
        }
        self.told = Some(told);
    }

    pub(super) fn governing(&self) -> &Governing {
        &self.governing
    }

    /// What has to be found out of a connection before it is known what takes it.
    pub(super) fn tls(&self) -> Option<&ChainTls> {
        self.tls.as_ref()
    }

    pub(super) fn serves(&self) -> bool {
        self.listener.is_some()
    }

    /// Looks at what is in force now. Whether connections that were taken before go by another
    /// listener from now on.
    ///
    /// To be [settled](Self::settle) once it is known whether connections can come.
    pub(super) fn look(&mut self) -> bool {
        let before = self.listener.take();
        match self.find() {
            Ok(listener) => self.listener = Some(listener),
            Err(why) => self.absent = why,
        }
        let is_same = match (&before, &self.listener) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        if !is_same {
            let providers = &self.mesh.providers;
            self.tls = self.listener.as_ref().and_then(|it| ChainTls::of(it, providers));
        }
        before.is_some() && !is_same
    }

    /// Tells who asked how it stands, given why it cannot listen.
    pub(super) fn settle(&mut self, trouble: Option<&io::Error>) {
        let mode = match (&self.listener, trouble) {
            (Some(_), None) => ServingMode::Serving,
            (Some(_), Some(error)) => ServingMode::NotServing(format!("cannot listen: {error}")),
            (None, _) => ServingMode::NotServing(self.absent.clone()),
        };
        if mode != self.mode {
            tracing::info!(listener = %self.governing.listener, ?mode, "serving mode");
            self.unserving = match mode {
                ServingMode::Serving => None,
                ServingMode::NotServing(_) => {
                    let unserving = self.unserving.take();
                    unserving.or_else(|| Some(self.mesh.standings.unserving()))
                }
            };
            if let Some(told) = &mut self.told {
                told(&mode);
            }
            self.mode = mode;
        }
    }

    fn find(&self) -> Result<Arc<ServerListener>, String> {
        let name = &self.governing.listener;
        let hold = self.mesh.hold();
        let entry = hold.server(name).ok_or("its configuration has not come")?;
        let Some(listener) = &entry.value else {
            let cause = entry.failure.as_ref().map(|failure| &**failure as &dyn Error);
            return Err(cause.map_or_else(|| "it has no listener".to_owned(), |it| it.to_string()));
        };
        if !listener.is_for(self.local) {
            let (address, local) = (listener.address, self.local);
            return Err(format!("listener {name:?} is for {address}, and this is {local}"));
        }
        match listener.refused_by_grpc {
            Some(why) => Err(format!("listener {name:?} cannot be served by: {why}")),
            None => Ok(listener.clone()),
        }
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("mode", &self.mode).finish_non_exhaustive()
    }
}
