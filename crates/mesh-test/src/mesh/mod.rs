//! A mesh in one process. See [`TestMesh`].

mod answer;
mod builder;
mod configured;
mod running;
#[cfg(test)]
mod tests;

pub use answer::{Answer, get, send};
pub use builder::Builder;
pub use configured::service_entry;
pub use running::TestMesh;
