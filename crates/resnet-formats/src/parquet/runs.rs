//! Small numbers in runs: each repeated, or packed by bits, eight at once.

/// The numbers of some bytes.
pub(super) struct Runs<'a> {
    bytes: &'a [u8],
    width: u32,
    /// What is left of a run of one number.
    repeated: (u64, u32),
    /// What is left of packed numbers, and the bit that the next begins with.
    packed: (u64, u64),
}

impl<'a> Runs<'a> {
    /// Numbers of `width` bits, at most 32.
    pub(super) fn new(bytes: &'a [u8], width: u32) -> Runs<'a> {
        Runs { bytes, width, repeated: (0, 0), packed: (0, 0) }
    }

    fn start(&mut self) -> Option<()> {
        let mut head = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            head |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 != 0 {
                continue;
            }
            if head & 1 == 1 {
                self.packed = ((head >> 1).saturating_mul(8), 0);
                return Some(());
            }
            let bytes = self.width.div_ceil(8) as usize;
            let (value, rest) = self.bytes.split_at_checked(bytes)?;
            let value = value.iter().rev().fold(0u64, |all, &byte| all << 8 | u64::from(byte));
            self.bytes = rest;
            self.repeated = (head >> 1, value as u32);
            return Some(());
        }
        None
    }

    fn bits(&mut self) -> Option<u32> {
        let (left, bit) = self.packed;
        let mut value = 0u64;
        let first = (bit / 8) as usize;
        let last = (bit + u64::from(self.width)).div_ceil(8) as usize;
        for (at, &byte) in self.bytes.get(first..last)?.iter().enumerate() {
            value |= u64::from(byte) << (8 * at);
        }
        self.packed = (left - 1, bit + u64::from(self.width));
        if left == 1 {
            self.bytes = self.bytes.get(self.packed.1.div_ceil(8) as usize..)?;
        }
        Some((value >> (bit % 8) & ((1 << self.width) - 1)) as u32)
    }
}

impl Iterator for Runs<'_> {
    type Item = u32;

    /// Nothing where the bytes end.
    fn next(&mut self) -> Option<u32> {
        loop {
            if self.repeated.0 > 0 {
                self.repeated.0 -= 1;
                return Some(self.repeated.1);
            }
            if self.packed.0 > 0 {
                return self.bits();
            }
            self.start()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_packed_numbers_follow_each_other() {
        // The specification's example: 0 to 7 of 3 bits each, after five times 4.
        let bytes = [10, 4, 3, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        let all: Vec<u32> = Runs::new(&bytes, 3).collect();
        assert_eq!(all, [4, 4, 4, 4, 4, 0, 1, 2, 3, 4, 5, 6, 7]);
        let wide = [2, 1, 2, 3, 4, 3, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Runs::new(&wide, 32).collect::<Vec<_>>(), [0x0403_0201, u32::MAX]);
        assert_eq!(Runs::new(&[6], 0).collect::<Vec<_>>(), [0, 0, 0]);
        assert_eq!(Runs::new(&[3, 1], 9).next(), None);
        assert_eq!(Runs::new(&[0xff; 11], 9).next(), None);
        assert_eq!(Runs::new(&[4], 9).next(), None);
    }
}
