/// Whose rules a request follows where Envoy and gRPC differ for the same xDS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Plain HTTP: as Envoy does.
    Http,
    /// gRPC: as the gRFCs say.
    Grpc,
}
