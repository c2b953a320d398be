//! The certificate in use, and its successor when the files change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::certificate::{CertificateError, Files, Loaded, Paths};
use crate::config::TlsConfig;
use crate::counters::TlsCounters;

/// The certificate that new connections are shown.
#[derive(Debug)]
pub(crate) struct Certificates {
    current: ArcSwap<CertifiedKey>,
    expires: AtomicU64,
    reloads: AtomicU64,
    failures: AtomicU64,
}

/// Looks at the files.
pub(crate) struct Watcher {
    paths: Paths,
    interval: Duration,
    certificates: Arc<Certificates>,
    /// What the files held when they were found good last.
    used: Files,
    /// The complaint that was made last. It is not repeated while it stays the same.
    complaint: Option<String>,
}

impl Certificates {
    /// Reads the files for the first time.
    pub(crate) fn load(config: &TlsConfig) -> Result<(Arc<Self>, Watcher), CertificateError> {
        let paths = Paths::of(config)?;
        let used = paths.read()?;
        let Loaded { key, validity } = used.load()?;
        let certificates = Arc::new(Self {
            current: ArcSwap::new(key),
            expires: AtomicU64::new(validity.not_after),
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        let interval = config.reload_interval;
        let watcher = Watcher { paths, interval, certificates: Arc::clone(&certificates), used, complaint: None };
        Ok((certificates, watcher))
    }

    /// Says what is known of certificates.
    pub(crate) fn count_in(&self, counters: &mut TlsCounters) {
        counters.reloads = self.reloads.load(Ordering::Relaxed);
        counters.reload_failures = self.failures.load(Ordering::Relaxed);
        counters.certificate_expires = Some(self.expires.load(Ordering::Relaxed));
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl Watcher {
    /// Looks at the files until `stop`. They are compared by content: what puts them there may swap links.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(self.interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = stop.cancelled() => return,
            }
            // The disk may be slow, and others are waiting for this thread.
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            let looked = tokio::select! {
                looked = looked => looked,
                // A disk that has gone away may never answer.
                () = stop.cancelled() => return,
            };
            match looked {
                Ok(watcher) => self = watcher,
                Err(error) => return tracing::error!(%error, "the certificate is watched no more"),
            }
        }
    }

    fn look(&mut self) {
        let found = self.paths.read();
        if found.as_ref().is_ok_and(|found| found.is_same(&self.used)) {
            self.complaint = None;
            return;
        }
        match found.and_then(|found| Ok((found.load()?, found))) {
            Ok((Loaded { key, validity }, found)) => {
                let certificates = &self.certificates;
                certificates.current.store(key);
                certificates.expires.store(validity.not_after, Ordering::Relaxed);
                certificates.reloads.fetch_add(1, Ordering::Relaxed);
                self.used = found;
                self.complaint = None;
                tracing::info!(expires = validity.not_after, "a new certificate is in use");
            }
            Err(error) => self.complain(&error),
        }
    }

    fn complain(&mut self, error: &CertificateError) {
        let complaint = error.to_string();
        if self.complaint.as_ref() != Some(&complaint) {
            self.certificates.failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "the new certificate is refused, the old one stays in use");
            self.complaint = Some(complaint);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let large = directory.path().join("large");
        fs::write(&large, vec![b' '; (1 << 20) + 1]).unwrap();
        for (path, complaint) in [
            (large.as_path(), "more than 1048576 bytes"),
            (std::path::Path::new("/dev/zero"), "no regular file"),
            (directory.path(), "no regular file"),
        ] {
            let paths = (Some(path.to_owned()), Some(path.to_owned()));
            let config = TlsConfig { certificate: paths.0, key: paths.1, ..TlsConfig::default() };
            let error = Certificates::load(&config).map(drop).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn each_complaint_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
        let good = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let install = |text: &str| fs::write(&certificate, text).unwrap();
        fs::write(&key, good.signing_key.serialize_pem()).unwrap();
        install(&good.cert.pem());
        let config = TlsConfig { certificate: Some(certificate.clone()), key: Some(key), ..TlsConfig::default() };
        let (certificates, mut watcher) = Certificates::load(&config).unwrap();
        let mut looks_and_counts = |times: usize| {
            (0..times).for_each(|_| watcher.look());
            let mut counters = TlsCounters::default();
            certificates.count_in(&mut counters);
            (counters.reloads, counters.reload_failures)
        };
        assert_eq!(looks_and_counts(3), (0, 0));
        install("rubbish");
        assert_eq!(looks_and_counts(3), (0, 1));
        fs::remove_file(&certificate).unwrap();
        assert_eq!(looks_and_counts(3), (0, 2), "another complaint");
        install(&good.cert.pem());
        assert_eq!(looks_and_counts(3), (0, 2), "what is in use is good again");
        install("rubbish");
        assert_eq!(looks_and_counts(3), (0, 3), "and may be bad again");
    }
}
