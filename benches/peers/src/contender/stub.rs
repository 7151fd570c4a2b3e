pub(super) use mesh_benches::Stub;
use mesh_tower::Body;

use super::Contender;

/// Nothing between the request and the stub. With the mesh's own kind of body, which is larger
/// than the empty one the peers get, so what is left in doubt is in the peers' favour.
pub(crate) fn stub() -> Contender {
    Contender::new("bare stub", Stub, Body::empty)
}
