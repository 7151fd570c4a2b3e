//! Writes the Rust code of our own protocol buffers, which is committed: building the workspace
//! needs neither `protoc` nor a build script.
//!
//! For each package it writes `PACKAGE.rs` (messages, client, server) and `PACKAGE.bin` (the
//! encoded `FileDescriptorSet`, for reflection) into a folder named `generated`. It also writes
//! the descriptors of the xDS messages, see [`descriptors`].
//!
//! ```text
//! cargo run              writes the files anew
//! cargo run -- --check   exits 1 when a committed file differs from what would be written
//! ```

mod descriptors;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use protox::Compiler;

/// One folder of protocol buffers and where its code goes, from the root of the repository.
struct Source {
    proto: &'static str,
    files: &'static [&'static str],
    generated: &'static str,
}

const SOURCES: &[Source] = &[
    Source {
        proto: "crates/meshctl/proto",
        files: &["mesh/echo/v1/echo.proto"],
        generated: "crates/meshctl/src/generated",
    },
    Source {
        proto: "examples/proto",
        files: &["bookinfo/ratings/v1/ratings.proto"],
        generated: "examples/src/generated",
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => false,
        ["--check"] => true,
        _ => {
            eprintln!("usage: codegen [--check]");
            return ExitCode::from(2);
        }
    };
    match run(check) {
        Ok(differing) if differing.is_empty() => ExitCode::SUCCESS,
        Ok(differing) => {
            for path in differing {
                eprintln!("{} differs: run `cargo run` in codegen/", path.display());
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Generates everything; returns the committed files that differ when only checking.
fn run(check: bool) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("codegen/ has no parent folder")?;
    let mut files = vec![(root.join(descriptors::PATH), descriptors::generate(root)?)];
    for source in SOURCES {
        let folder = root.join(source.generated);
        let generated = generate(root, source)?.into_iter();
        files.extend(generated.map(|file| (folder.join(file.name), file.content)));
    }
    let mut differing = Vec::new();
    for (path, content) in files {
        if fs::read(&path).is_ok_and(|committed| committed == content) {
            continue;
        }
        if check {
            differing.push(path);
        } else {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&path, content)?;
            println!("wrote {}", path.display());
        }
    }
    Ok(differing)
}

/// One file to be committed.
struct Generated {
    name: String,
    content: Vec<u8>,
}

/// Everything that comes of one source.
fn generate(root: &Path, source: &Source) -> Result<Vec<Generated>, Box<dyn Error>> {
    let mut compiler = Compiler::new([root.join(source.proto)])?;
    compiler.include_source_info(true).include_imports(true).open_files(source.files)?;
    let descriptors = compiler.file_descriptor_set();

    let out = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds(descriptors.clone())?;

    let mut files = vec![descriptor_set(descriptors)];
    for entry in fs::read_dir(out.path())? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| "generated name is not text")?;
        files.push(Generated { name, content: fs::read(entry.path())? });
    }
    Ok(files)
}

/// The descriptors as reflection serves them. Comments and positions stay out: they would make
/// the binary change with every edit of the prose.
fn descriptor_set(mut descriptors: FileDescriptorSet) -> Generated {
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    let package = descriptors.file.last().map_or("", |file| file.package());
    Generated { name: format!("{package}.bin"), content: descriptors.encode_to_vec() }
}
