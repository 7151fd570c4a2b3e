use mesh_core::{ResourceId, ResourceType};
use mesh_pb::google::protobuf::Any;
use proptest::prelude::*;
use prost::Message;

use super::super::{decode, unwrap};
use crate::sample;

/// The bytes of a message of field `tag` nested that deep.
fn nested(tag: u8, depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..depth {
        let mut outer = vec![tag << 3 | 2];
        prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
        outer.extend_from_slice(&bytes);
        bytes = outer;
    }
    bytes
}

#[test]
fn deep_nesting_is_an_error_on_a_small_stack() {
    let run = || {
        for kind in ResourceType::ALL {
            for tag in 1..16 {
                // Refused or passed over; what counts is that it comes back.
                let _ = decode(&ResourceId::new(kind, "x"), &nested(tag, 5_000));
            }
        }
    };
    // The smallest stack that runtimes give their threads.
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    thread.join().unwrap();
}

#[test]
fn every_truncation_of_a_good_resource_comes_back() {
    let samples = [
        (ResourceType::Listener, sample::listener("a", "r")),
        (ResourceType::RouteConfiguration, sample::routes("a", &["b", "c"])),
        (ResourceType::Cluster, sample::cluster("a")),
        (ResourceType::ClusterLoadAssignment, sample::endpoints("a", &[1, 2])),
    ];
    for (kind, sample) in samples {
        for length in 0..sample.value.len() {
            let _ = decode(&ResourceId::new(kind, "a"), &sample.value[..length]);
        }
        assert!(decode(&ResourceId::new(kind, "a"), &sample.value).is_ok(), "{kind}");
    }
}

proptest! {
    #[test]
    fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for kind in ResourceType::ALL {
            let type_url = crate::session::type_url(kind).to_owned();
            if let Ok(raw) = unwrap(kind, Any { type_url, value: bytes.clone() }) {
                let _ = decode(&ResourceId::new(kind, raw.name), &raw.bytes);
            }
        }
    }

    #[test]
    fn any_changed_byte_comes_back(place in 0_usize..400, byte in any::<u8>()) {
        let mut bytes = sample::listener("a", "r").encode_to_vec();
        let length = bytes.len();
        bytes[place % length] = byte;
        if let Ok(any) = Any::decode(bytes.as_slice())
            && let Ok(raw) = unwrap(ResourceType::Listener, any)
        {
            let _ = decode(&ResourceId::new(ResourceType::Listener, raw.name), &raw.bytes);
        }
    }
}

#[test]
fn fault_of_ours_while_decoding_refuses_that_resource_alone() {
    let id = ResourceId::new(ResourceType::Cluster, "c");
    let refusal = super::super::contained(&id, || panic!("index out of bounds")).unwrap_err();
    assert_eq!(refusal.to_string(), "Cluster \"c\": decoding failed by a fault of the client");
}
