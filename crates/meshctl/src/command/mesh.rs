use mesh_tower::Mesh;

use crate::error::Error;

/// Joins the mesh that the environment names, with the random draws fixed by a seed.
pub(crate) fn join(seed: Option<u64>) -> Result<Mesh, Error> {
    let off = std::env::var_os("MESH").is_some_and(|value| value == "off");
    let mesh = match seed {
        // Without a mesh nothing is drawn.
        Some(seed) if !off => Mesh::builder().bootstrap_from_env().seed(seed).build(),
        _ => Mesh::from_env(),
    };
    mesh.map_err(|error| Error::usage("cannot join the mesh").because(error))
}
