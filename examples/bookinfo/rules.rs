//! The mesh's configuration: a folder of Istio YAML, edited while requests flow.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::clock;
use crate::process::Process;

/// Shares of reviews v1, v2 and v3 in percent.
pub(crate) type Split = [u32; 3];

/// What a VirtualService of reviews says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) title: &'static str,
    /// For requests with `end-user: jason`; as everyone when `None`.
    pub(crate) jason: Option<Split>,
    pub(crate) everyone: Split,
}

/// The edits of a run, in order.
pub(crate) const EDITS: [Rules; 4] = [
    Rules { title: "all to v1", jason: None, everyone: [100, 0, 0] },
    Rules { title: "v1 90, v2 10", jason: None, everyone: [90, 10, 0] },
    Rules { title: "jason to v2", jason: Some([0, 100, 0]), everyone: [100, 0, 0] },
    Rules { title: "v1 50, v3 50", jason: None, everyone: [50, 0, 50] },
];

/// The edit after the control plane's restart.
pub(crate) const LAST_EDIT: Rules =
    Rules { title: "all to v3", jason: None, everyone: [0, 0, 100] };

/// What `--serve` begins with.
pub(crate) const ALL_VERSIONS: Rules =
    Rules { title: "a third each", jason: None, everyone: [34, 33, 33] };

impl Rules {
    /// The YAML. Each route sets the generation, so that a request tells by which edit it went.
    pub(crate) fn virtual_service(&self, generation: usize) -> String {
        let mut yaml = String::from(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: reviews\n\
             spec:\n  hosts:\n  - reviews\n  http:\n",
        );
        if let Some(split) = self.jason {
            yaml += "  - match:\n    - headers:\n        end-user:\n          exact: jason\n";
            yaml += "    route:\n";
            push_route(&mut yaml, split, generation);
        }
        yaml += "  - route:\n";
        push_route(&mut yaml, self.everyone, generation);
        yaml
    }
}

fn push_route(yaml: &mut String, split: Split, generation: usize) {
    const VALID: &str = "writing to a string";
    for (version, weight) in (1..).zip(split).filter(|(_, weight)| *weight > 0) {
        write!(
            yaml,
            "    - destination:\n        host: reviews\n        subset: v{version}\n      \
             weight: {weight}\n"
        )
        .expect(VALID);
    }
    write!(
        yaml,
        "    headers:\n      request:\n        set:\n          \
         x-route-generation: \"{generation}\"\n"
    )
    .expect(VALID);
}

/// The folder that the control plane watches. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Folder {
    temporary: TempDir,
    path: PathBuf,
}

impl Folder {
    /// With the services, and reviews under `rules` as generation 1.
    pub(crate) fn new(rules: &Rules) -> io::Result<Self> {
        let temporary = tempfile::Builder::new().prefix("bookinfo-").tempdir()?;
        let path = temporary.path().join("mesh");
        std::fs::create_dir(&path)?;
        let folder = Self { temporary, path };
        folder.write("services.yaml", SERVICES)?;
        folder.write(REVIEWS, &rules.virtual_service(1))?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that is edited.
    pub(crate) fn reviews(&self) -> PathBuf {
        self.path.join(REVIEWS)
    }

    /// Saves new rules for reviews; returns when, on the clock of [`clock::now_us`].
    pub(crate) fn edit(&self, rules: &Rules, generation: usize) -> io::Result<u64> {
        self.write(REVIEWS, &rules.virtual_service(generation))
    }

    /// Tells where the workloads are, now that they are somewhere.
    pub(crate) fn add_workloads(&self, applications: &[Process]) -> io::Result<u64> {
        self.write("workloads.yaml", &workloads(applications))
    }

    /// Saves a file whole: whoever reads it sees the old content or the new one.
    fn write(&self, name: &str, text: &str) -> io::Result<u64> {
        // Beside the watched folder, so that half a file is never in it.
        let mut file = NamedTempFile::new_in(self.temporary.path())?;
        file.write_all(text.as_bytes())?;
        let saved_at = clock::now_us();
        file.persist(self.path.join(name))?;
        Ok(saved_at)
    }
}

fn workloads(applications: &[Process]) -> String {
    let mut yaml = String::new();
    for process in applications {
        let (name, address) = (process.role.name(), process.address);
        let (app, version) = process.role.labels();
        let (ip, port) = (address.ip(), address.port());
        write!(
            yaml,
            "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata:\n  \
             name: {name}\nspec:\n  address: {ip}\n  ports:\n    http: {port}\n    grpc: {port}\n  \
             labels:\n    app: {app}\n    version: {version}\n"
        )
        .expect("writing to a string");
    }
    yaml
}

const SERVICES: &str = include_str!("mesh/services.yaml");
const REVIEWS: &str = "reviews.yaml";

#[cfg(test)]
mod tests {
    use mesh_istio::{Model, Options, Source};

    use super::*;

    #[test]
    fn every_edit_is_valid_istio_configuration() {
        for rules in EDITS.iter().chain([&LAST_EDIT, &ALL_VERSIONS]) {
            let sources = [
                Source::new("services.yaml", SERVICES),
                Source::new(REVIEWS, rules.virtual_service(7)),
            ];
            let checked = Model::read(&sources, &Options::default());
            assert!(checked.diagnostics.is_empty(), "{}: {:?}", rules.title, checked.diagnostics);
        }
    }

    #[test]
    fn shares_are_whole() {
        for rules in EDITS.iter().chain([&LAST_EDIT, &ALL_VERSIONS]) {
            assert_eq!(rules.everyone.iter().sum::<u32>(), 100, "{}", rules.title);
        }
    }
}
