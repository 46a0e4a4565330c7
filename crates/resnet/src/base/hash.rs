//! FNV-1a of 64 bits: a number of some bytes, the same everywhere and for ever. It resists nobody
//! who wants two texts to have one.

/// The state before the first byte.
pub(crate) const BEGIN: u64 = 0xcbf2_9ce4_8422_2325;

/// The state after some bytes; that of texts one after another is that of their bytes.
pub(crate) fn fnv1a<'a>(state: u64, bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    let step = |state: u64, &byte: &u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(state, step)
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, fnv1a};

    #[test]
    fn published_values() {
        // Of Fowler, Noll and Vo's own test vectors.
        assert_eq!(fnv1a(BEGIN, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(BEGIN, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(BEGIN, b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(fnv1a(fnv1a(BEGIN, b"foo"), b"bar"), fnv1a(BEGIN, b"foobar"));
    }
}
