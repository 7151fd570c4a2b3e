//! Reading files, never more of them than can be meant.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::{IdentityFiles, RootFiles};
use crate::{Identity, LoadError, Trust};

/// The largest file that is read, in bytes. A system's some 150 roots have 220 KB.
const SIZE_LIMIT: u64 = 8 << 20;

pub(super) fn identity(
    files: &IdentityFiles,
    crypto: &Arc<CryptoProvider>,
) -> Result<Identity, LoadError> {
    let certificate = read(&files.certificate)?;
    let key = read(&files.private_key)?;
    Identity::from_pem(&certificate, &key, crypto)
        .map_err(|error| error.in_file(&files.certificate))
}

pub(super) fn trust(files: &RootFiles, crypto: &Arc<CryptoProvider>) -> Result<Trust, LoadError> {
    match files {
        RootFiles::Ca(path) => {
            Trust::from_pem(&read(path)?, crypto).map_err(|error| error.in_file(path))
        }
        RootFiles::SpiffeTrustBundleMap(path) => {
            Trust::from_spiffe_bundle_map(&read(path)?, crypto).map_err(|error| error.in_file(path))
        }
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |error| LoadError::because("cannot be read", error).in_file(path);
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        let text = format!("is longer than {SIZE_LIMIT} bytes");
        return Err(LoadError::new(text).in_file(path));
    }
    Ok(bytes)
}
