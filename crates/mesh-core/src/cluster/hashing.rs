//! Hashes as Envoy computes them: a key must lead to the same endpoint from here and from there.

use twox_hash::XxHash64;

/// What a hash policy hashes the value of a header, cookie or query parameter to: XXH64, seed 0.
pub fn hash_of(value: &[u8]) -> u64 {
    xx_hash(value, 0)
}

pub(super) fn xx_hash(bytes: &[u8], seed: u64) -> u64 {
    XxHash64::oneshot(seed, bytes)
}

/// MurmurHash2 of 64 bits as libstdc++ has it (`MurmurHash64A` with a mixed tail), with its seed.
pub(super) fn murmur_hash2(bytes: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xc70f_6907;
    let mix = |value: u64| value ^ (value >> 47);
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let data = mix(u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
        hash = (hash ^ data).wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    mix(mix(hash).wrapping_mul(MULTIPLIER))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published vectors of XXH64.
    #[test]
    fn xx_hash_of_known_texts() {
        assert_eq!(xx_hash(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(hash_of(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(hash_of(b"abc"), 0x44bc_2cf5_ad77_0999);
    }

    /// `std::hash<std::string>` of libstdc++ on a 64-bit machine.
    #[test]
    fn murmur_hash2_of_known_texts() {
        assert_eq!(murmur_hash2(b""), 6_142_509_188_972_423_790);
        assert_eq!(murmur_hash2(b"12345678"), 10_113_836_418_918_046_885);
        assert_eq!(murmur_hash2(b"a"), 4_993_892_634_952_068_459);
        assert_eq!(murmur_hash2(b"hello world"), 5_577_293_430_985_752_569);
    }
}
