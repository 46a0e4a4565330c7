//! Entropy-coded data: its bytes without stuffing, and blocks of coefficients (ITU T.81, annex F).

use super::huffman::{ADVANCE, END, LENGTH, LOOK, NOTHING, PARTIAL, Table, VALUE, extend};
use super::{Declined, ZIGZAG};

/// Zeros behind the data, so that reading past a segment is noticed rather than checked each time.
const PADDING: usize = 16;

/// Takes the stuffed zeros out of the entropy-coded data that begin at `scan` of a file, and finds
/// the segments between restart markers: where each ends in `data`.
///
/// All data up to the end of the image are looked at, since a marker that does not belong there
/// makes decoders refuse a picture. There are to be so many `segments`.
pub(super) fn unstuff(
    bytes: &[u8],
    scan: usize,
    segments: usize,
    data: &mut Vec<u8>,
    ends: &mut Vec<usize>,
) -> Result<(), Declined> {
    data.clear();
    ends.clear();
    let mut at = scan;
    loop {
        let expected = "the end of the image behind its data";
        let run = find_ff(&bytes[at..]).ok_or(Declined { at: bytes.len(), expected })?;
        data.extend_from_slice(&bytes[at..at + run]);
        at += run;
        match bytes.get(at + 1) {
            Some(0) => data.push(0xff),
            Some(0xd9) => break,
            Some(restart @ 0xd0..=0xd7)
                if usize::from(restart & 7) == ends.len() % 8 && ends.len() + 1 < segments =>
            {
                ends.push(data.len());
            }
            _ => {
                return Err(Declined {
                    at,
                    expected: "data, restart markers in turn, and the end",
                });
            }
        }
        at += 2;
    }
    ends.push(data.len());
    data.extend_from_slice(&[0; PADDING]);
    Ok(())
}

/// Where the first byte of all ones is.
fn find_ff(bytes: &[u8]) -> Option<usize> {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = word & HIGH & ((word & !HIGH) + ONES);
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&byte| byte == 0xff).map(|place| 8 * words.len() + place)
}

/// The coefficients of a block, row by row, and room for those that a damaged block has beyond.
pub(super) type Coefficients = [i16; 128];

/// Where a coefficient goes, by its place in the zigzag; those beyond the last go behind the block.
const PLACES: [u8; 128] = {
    let mut places = [64; 128];
    let mut index = 0;
    while index < 64 {
        places[index] = ZIGZAG[index];
        index += 1;
    }
    places
};

/// Bits of one segment between restart markers.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, from the highest on.
    buffer: u64,
    /// How many of them are there, in its low 6 bits.
    count: u32,
}

/// Why a block is not decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wrong;

impl<'a> Bits<'a> {
    /// Bits from this byte on.
    pub(super) fn new(data: &'a [u8], at: usize) -> Bits<'a> {
        Bits { data, at, buffer: 0, count: 0 }
    }

    /// Goes on at another byte.
    pub(super) fn jump(&mut self, at: usize) {
        *self = Bits::new(self.data, at);
    }

    /// Bits used so far, counted from the first byte of all data.
    pub(super) fn used(&self) -> usize {
        8 * self.at - (self.count & 63) as usize
    }

    /// Makes at least 56 bits be there, zeros where the data have ended.
    #[inline(always)]
    fn refill(&mut self) {
        let count = self.count & 63;
        if let Some(word) = self.data.get(self.at..).and_then(|rest| rest.first_chunk()) {
            self.buffer |= u64::from_be_bytes(*word) >> count;
        }
        self.at += ((63 - count) >> 3) as usize;
        self.count = count | 56;
    }

    /// Uses as many bits as the low 6 bits of an entry say.
    #[inline(always)]
    fn skip(&mut self, entry: u32) {
        self.buffer = self.buffer.wrapping_shl(entry);
        self.count = self.count.wrapping_sub(entry & 63);
    }

    /// The value of `size` bits, 1 to 11.
    #[inline(always)]
    fn value(&mut self, size: u32) -> i32 {
        let bits = (self.buffer >> (64 - size)) as u32;
        self.skip(size);
        extend(bits, size)
    }

    // What is rare takes the bits by value and gives them back, so that they stay in registers
    // where it is not called.

    /// The difference of a DC coefficient, from a partial entry.
    #[inline(never)]
    fn long_dc(mut self, table: &Table, mut entry: u32) -> Result<(Bits<'a>, i32), Wrong> {
        if entry & 63 == 0 {
            entry = table.find(self.buffer).ok_or(Wrong)?;
        }
        self.skip(entry);
        let value = match entry >> VALUE {
            0 => 0,
            size => self.value(size),
        };
        Ok((self, value))
    }

    /// What is behind a partial entry: a whole one, whose bits are used already.
    #[inline(never)]
    fn long_ac(mut self, table: &Table, mut entry: u32) -> Result<(Bits<'a>, u32), Wrong> {
        self.refill();
        if entry & 63 == 0 {
            entry = table.find(self.buffer).ok_or(Wrong)?;
        }
        self.skip(entry);
        let value = match entry & PARTIAL {
            0 => 0,
            _ => self.value(entry >> VALUE) as u32,
        };
        Ok((self, entry & 0xff00 | value << VALUE))
    }

    /// Decodes a block: adds the difference to `dc`, writes the other coefficients where `KEEP`
    /// says so, and returns the place in the zigzag of the last one.
    #[inline(always)]
    pub(super) fn block<const KEEP: bool>(
        &mut self,
        dc_table: &Table,
        ac_table: &Table,
        dc: &mut i32,
        coefficients: &mut Coefficients,
    ) -> Result<u32, Wrong> {
        let mut bits = *self;
        bits.refill();
        let entry = dc_table.look(bits.buffer) as u32;
        if entry & PARTIAL == 0 {
            bits.skip(entry);
            *dc += entry as i32 >> VALUE;
        } else {
            let (behind, value) = bits.long_dc(dc_table, entry)?;
            bits = behind;
            *dc += value;
        }
        let mut last = 0;
        loop {
            if bits.count & 63 < LOOK {
                bits.refill();
            }
            let before = bits;
            let entry = ac_table.look(bits.buffer);
            let (mut entry, mut second) = (entry as u32, (entry >> 32) as u32);
            if entry & PARTIAL == 0 {
                bits.skip(entry);
            } else {
                (bits, entry) = bits.long_ac(ac_table, entry)?;
                second = entry & !(0xff << ADVANCE);
            }
            let first = last + (entry >> ADVANCE & 0xff);
            last = first + (second >> ADVANCE & 0xff);
            if KEEP {
                let mut write = |place: u32, entry: u32| {
                    let place = PLACES[(place & 127) as usize];
                    coefficients[usize::from(place & 127)] = (entry >> VALUE) as i16;
                };
                write(first, entry);
                write(last, second);
            }
            if last < 63 {
                continue;
            }
            let is_end_alone = first >= END && entry >> VALUE == 0;
            if first > 63 && !is_end_alone || last & NOTHING != 0 && first < 63 {
                return Err(Wrong);
            }
            // A block ends at its last place: a look may have taken what follows for a part of it.
            if first == 63 && last > 63 {
                bits = before;
                bits.skip(second & LENGTH);
            } else if last == END + 63 {
                bits = before;
                bits.skip((entry & LENGTH) - ac_table.end);
            }
            *self = bits;
            return Ok(if first == 63 { 63 } else { last & 63 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_of_all_ones_is_found_anywhere() {
        for length in 0..40 {
            assert_eq!(find_ff(&vec![0x7f; length]), None);
            for place in 0..length {
                let mut bytes = vec![0xfe; length];
                bytes[place..].fill(0xff);
                assert_eq!(find_ff(&bytes), Some(place), "{place} of {length}");
            }
        }
    }

    #[test]
    fn stuffing_goes_and_restart_markers_end_segments() {
        let bytes = [9, 1, 0xff, 0, 2, 0xff, 0xd0, 3, 0xff, 0xd1, 0xff, 0, 0xff, 0xd9, 7];
        let (mut data, mut ends) = (Vec::new(), Vec::new());
        assert!(
            unstuff(&bytes, 1, 2, &mut data, &mut ends).is_err(),
            "more segments than there are"
        );
        assert!(unstuff(&bytes, 1, 3, &mut data, &mut ends).is_ok());
        assert_eq!(data[..data.len() - PADDING], [1, 0xff, 2, 3, 0xff]);
        assert_eq!(ends, [3, 4, 5]);
        for (place, byte) in [(6, 0xd1), (6, 0xff), (12, 0xfe), (13, 0xda)] {
            let mut bytes = bytes;
            bytes[place] = byte;
            let error = unstuff(&bytes, 1, 3, &mut data, &mut ends);
            assert!(error.is_err(), "byte {place} as {byte:#x}");
        }
    }
}
