use mesh_core::resource::ActiveFault;
use smallvec::SmallVec;

/// What counts until the answer to a request has ended: faults that were injected, and the request
/// itself where its concurrency is limited. Seldom more than one, which takes no allocation.
pub(crate) type Faults = SmallVec<[ActiveFault; 1]>;
