//! An encoded ClusterLoadAssignment, cut at its endpoints.
//!
//! Of ten thousand endpoints one changes at a time. What an endpoint is told by is compared with
//! what the one before it was told by, as bytes, and read only where it differs.

use mesh_pb::envoy::config::endpoint::v3 as pb;
use prost::Message;

/// The number of `ClusterLoadAssignment.endpoints`.
const LOCALITIES: u64 = 2;
/// The number of `LocalityLbEndpoints.lb_endpoints`.
const ENDPOINTS: u64 = 2;

/// An assignment without its endpoints, and these as they came.
#[derive(Debug)]
pub(super) struct Split<'b> {
    /// What is said beside.
    pub(super) rest: pb::ClusterLoadAssignment,
    /// The endpoints of each locality of it.
    pub(super) endpoints: Vec<Vec<&'b [u8]>>,
}

/// Cuts a message.
///
/// # Errors
/// When it is none. Of the endpoints nothing is known then.
pub(super) fn split(bytes: &[u8]) -> Result<Split<'_>, String> {
    let mut localities = Vec::new();
    let mut endpoints = Vec::new();
    let Some(rest) = take_out(bytes, LOCALITIES, &mut localities) else {
        return whole(bytes);
    };
    let mut made = read::<pb::ClusterLoadAssignment>(&rest)?;
    for locality in localities {
        let mut own = Vec::new();
        let Some(rest) = take_out(locality, ENDPOINTS, &mut own) else { return whole(bytes) };
        made.endpoints.push(read(&rest)?);
        endpoints.push(own);
    }
    Ok(Split { rest: made, endpoints })
}

/// The endpoints alone, where they can be found.
pub(super) fn endpoints(bytes: &[u8]) -> Option<Vec<Vec<&[u8]>>> {
    let mut localities = Vec::new();
    take_out(bytes, LOCALITIES, &mut localities)?;
    let own = localities.into_iter().map(|locality| {
        let mut own = Vec::new();
        take_out(locality, ENDPOINTS, &mut own).map(|_| own)
    });
    own.collect()
}

/// What cannot be cut cannot be read either, but for groups, which nobody sends.
fn whole<'b>(bytes: &[u8]) -> Result<Split<'b>, String> {
    read::<pb::ClusterLoadAssignment>(bytes)?;
    Err("it has a group".to_owned())
}

fn read<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    M::decode(bytes).map_err(|error| error.to_string())
}

/// Takes the submessages of that number out of a message; the rest is given back. `None` when it
/// cannot be read.
fn take_out<'b>(bytes: &'b [u8], number: u64, out: &mut Vec<&'b [u8]>) -> Option<Vec<u8>> {
    let mut rest = Vec::new();
    let mut left = bytes;
    while !left.is_empty() {
        let field = left;
        let key = varint(&mut left)?;
        let value = value(key & 7, &mut left)?;
        match value {
            Some(value) if key >> 3 == number => out.push(value),
            _ => rest.extend_from_slice(&field[..field.len() - left.len()]),
        }
    }
    Some(rest)
}

/// Passes over a value. Gives back the content of one with a length.
fn value<'b>(wire_type: u64, left: &mut &'b [u8]) -> Option<Option<&'b [u8]>> {
    let length = match wire_type {
        0 => return varint(left).map(|_| None),
        1 => 8,
        2 => usize::try_from(varint(left)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (taken, rest) = left.split_at_checked(length)?;
    *left = rest;
    Some((wire_type == 2).then_some(taken))
}

fn varint(left: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    // Ten bytes of seven bits, of which the last may have one.
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = left.split_first()?;
        *left = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proptest::{collection::vec, prop_assert_eq};

    use super::*;

    /// What is cut, put together again.
    fn joined(bytes: &[u8]) -> Result<pb::ClusterLoadAssignment, String> {
        let Split { mut rest, endpoints } = split(bytes)?;
        assert_eq!(self::endpoints(bytes), Some(endpoints.clone()));
        for (locality, own) in rest.endpoints.iter_mut().zip(endpoints) {
            for endpoint in own {
                locality.lb_endpoints.push(read(endpoint)?);
            }
        }
        Ok(rest)
    }

    #[test]
    fn cut_and_joined_is_what_prost_reads() {
        let sample = crate::sample::endpoints("x", &[1, 2, 70_000]).value;
        let whole = pb::ClusterLoadAssignment::decode(&*sample).unwrap();
        assert_eq!(joined(&sample).unwrap(), whole);
        assert_eq!(split(&sample).unwrap().endpoints[0].len(), 3);
    }

    #[test]
    fn groups_are_refused() {
        assert!(split(&[0x0b, 0x0c]).is_err());
        assert!(endpoints(&[0x0b, 0x0c]).is_none());
    }

    proptest! {
        #[test]
        fn any_change_of_a_byte_is_read_as_prost_reads_it(at in any::<usize>(), byte in any::<u8>()) {
            let mut bytes = crate::sample::endpoints("x", &[1, 2, 70_000]).value;
            let at = at % bytes.len();
            bytes[at] = byte;
            let whole = pb::ClusterLoadAssignment::decode(&*bytes).ok();
            let has_group = bytes[at] & 7 == 3;
            if !has_group {
                prop_assert_eq!(joined(&bytes).ok(), whole);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..64)) {
            let _ = joined(&bytes);
        }
    }
}
