//! The ratings service of Bookinfo over gRPC, generated from
//! `proto/bookinfo/ratings/v1/ratings.proto` by `codegen/`.

include!("generated/bookinfo.ratings.v1.rs");
