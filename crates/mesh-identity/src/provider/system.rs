use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use tokio::time::Instant;

use crate::{LoadError, Trust};

/// What the operating system trusts: read when it is first wanted, and again while that fails.
pub(super) struct System {
    read: Read,
    attempts: Mutex<Attempts>,
}

pub(super) type Read = fn(&Arc<CryptoProvider>) -> Result<Trust, LoadError>;

/// The reads that failed so far.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failures: u32,
    again: Option<Instant>,
}

/// After the first read that failed; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// As often as files that a context names are looked at.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl System {
    pub(super) fn new(read: Read) -> Self {
        Self { read, attempts: Mutex::default() }
    }

    /// Held while it is read, so that one reads for all who wait.
    pub(super) fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads, unless that failed a short while ago.
    pub(super) fn read(
        &self,
        attempts: &mut Attempts,
        crypto: &Arc<CryptoProvider>,
    ) -> Option<Result<Trust, LoadError>> {
        let now = Instant::now();
        if attempts.again.is_some_and(|again| now < again) {
            return None;
        }
        let read = (self.read)(crypto);
        if read.is_err() {
            let pause = FIRST_PAUSE * 2_u32.saturating_pow(attempts.failures.min(10));
            attempts.again = Some(now + pause.min(LONGEST_PAUSE));
            attempts.failures = attempts.failures.saturating_add(1);
        }
        Some(read)
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::CertificateProvider;
    use super::*;
    use crate::default_crypto;

    static READS: AtomicU32 = AtomicU32::new(0);

    /// Fails twice.
    fn read(crypto: &Arc<CryptoProvider>) -> Result<Trust, LoadError> {
        if READS.fetch_add(1, Ordering::Relaxed) < 2 {
            return Err(LoadError::new("no file is there"));
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Trust::from_pem(params.self_signed(&key).unwrap().pem().as_bytes(), crypto)
    }

    #[tokio::test(start_paused = true)]
    async fn failed_reads_are_told_and_tried_again_after_longer_and_longer_pauses() {
        let provider = CertificateProvider::system_by(read, default_crypto().unwrap());
        let reads = || READS.load(Ordering::Relaxed);
        let wait = async |millis| tokio::time::advance(Duration::from_millis(millis)).await;
        for _ in 0..3 {
            assert!(provider.trust().is_none() && provider.trust_and_names().is_none());
        }
        assert_eq!(provider.status().roots_error.as_deref(), Some("no file is there"));
        assert_eq!(reads(), 1);
        wait(999).await;
        assert!(provider.trust().is_none() && reads() == 1);
        wait(1).await;
        assert!(provider.trust().is_none() && reads() == 2);
        wait(1_999).await;
        assert!(provider.trust().is_none() && reads() == 2);
        wait(1).await;
        assert_eq!((provider.trust().unwrap().len(), reads()), (1, 3));
        assert_eq!(provider.status().roots_error, None);
        wait(1_000_000).await;
        assert!(provider.trust().is_some() && reads() == 3);
    }
}
