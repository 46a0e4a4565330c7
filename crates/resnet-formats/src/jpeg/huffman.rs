//! Huffman codes (ITU T.81, annexes C and F), as tables that decode coefficients at one look.
//!
//! An entry of a table is two numbers of 32 bits. The lower one says how many bits are used, how
//! far its coefficient is behind the last one, and its value. Where the look holds the next
//! coefficient as well, the upper one says so of that, with the bits that the first alone used;
//! where not, it is the first again, no further behind.

/// Bits of a look: most codes with the value behind them.
pub(super) const LOOK: u32 = 11;

/// Low bits of an entry: how many bits are used, or in its upper half by the first coefficient.
pub(super) const LENGTH: u32 = 63;
/// The entry tells less than a whole coefficient: a look is too short for its value or its code.
pub(super) const PARTIAL: u32 = 1 << 6;
/// Where an entry says how far its coefficient is behind the last one.
pub(super) const ADVANCE: u32 = 8;
/// Added to the place of the last coefficient where the block ends with it.
pub(super) const END: u32 = 128;
/// Added besides where the entry holds no coefficient.
pub(super) const NOTHING: u32 = 64;
/// Where an entry has its value, or the size of a value that is not looked at.
pub(super) const VALUE: u32 = 16;

/// Largest sizes of values in baseline JPEGs of 8 bits (table F.1, F.2).
const MAX_DC_SIZE: u8 = 11;
const MAX_AC_SIZE: u8 = 10;

/// A code as its segment defines it, known to be a prefix code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code<'a> {
    is_dc: bool,
    /// How many symbols have codes of 1, 2, ... 16 bits.
    counts: &'a [u8; 16],
    symbols: &'a [u8],
}

impl<'a> Code<'a> {
    /// `None` where the lengths are those of no prefix code, a code is all ones, a symbol is none
    /// that DC coefficients can have, or two codes end a block.
    pub(super) fn new(is_dc: bool, counts: &'a [u8; 16], symbols: &'a [u8]) -> Option<Code<'a>> {
        let mut next = 0u32;
        for (&count, length) in counts.iter().zip(1..) {
            next = 2 * next + u32::from(count);
            if count > 0 && next >= 1 << length {
                return None;
            }
        }
        let is_known = |&symbol: &u8| !is_dc || symbol <= 15;
        // Where a look joins the end of a block to what is before it, that must have one length.
        let one_end = is_dc || symbols.iter().filter(|&&symbol| symbol == 0).count() <= 1;
        (symbols.len() <= 256 && one_end && symbols.iter().all(is_known)).then_some(Code {
            is_dc,
            counts,
            symbols,
        })
    }

    /// Whether baseline JPEGs of 8 bits have this symbol; some codes define others as well.
    fn knows(is_dc: bool, symbol: u8) -> bool {
        match (is_dc, symbol >> 4, symbol & 15) {
            (true, _, _) => symbol <= MAX_DC_SIZE,
            (false, 0 | 15, 0) => true,
            (false, _, size) => (1..=MAX_AC_SIZE).contains(&size),
        }
    }

    /// Codes, left-aligned in 16 bits, with their lengths and symbols.
    fn words(&self) -> impl Iterator<Item = (u32, u32, u8)> {
        let lengths = self
            .counts
            .iter()
            .zip(1..)
            .flat_map(|(&count, length)| (0..count).map(move |_| length));
        let mut next = 0;
        lengths.zip(self.symbols).map(move |(length, &symbol)| {
            let word = next;
            next += 1 << (16 - length);
            (word, length, symbol)
        })
    }
}

/// A code, ready to decode.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Entries by the next [`LOOK`] bits.
    look: Box<[u64; 1 << LOOK]>,
    /// Behind the last code of each length, left-aligned in 16 bits.
    limits: [u32; 17],
    /// What to add to a code to find its symbol.
    offsets: [i32; 17],
    /// Bits of the end of a block.
    pub(super) end: u32,
    symbols: [u8; 256],
    count: usize,
    counts: [u8; 16],
    is_dc: bool,
}

impl Table {
    pub(super) fn new(code: &Code) -> Table {
        let mut table = Table {
            look: vec![0; 1 << LOOK].try_into().unwrap_or_else(|_| Box::new([0; 1 << LOOK])),
            limits: [0; 17],
            offsets: [0; 17],
            end: 0,
            symbols: [0; 256],
            count: 0,
            counts: [0; 16],
            is_dc: false,
        };
        table.fill(code);
        table
    }

    /// Whether it was made from `code`.
    pub(super) fn is_of(&self, code: &Code) -> bool {
        self.is_dc == code.is_dc
            && self.counts == *code.counts
            && self.symbols[..self.count] == *code.symbols
    }

    /// Makes it from another code, in the same memory.
    pub(super) fn fill(&mut self, code: &Code) {
        let mut singles = [PARTIAL; 1 << LOOK];
        self.count = code.symbols.len();
        self.symbols[..self.count].copy_from_slice(code.symbols);
        (self.counts, self.is_dc) = (*code.counts, code.is_dc);
        let (mut next, mut first) = (0, 0);
        for length in 1..=16 {
            let count = u32::from(code.counts[length - 1]);
            self.offsets[length] = first - next as i32;
            next += count;
            first += count as i32;
            self.limits[length] = next << (16 - length);
            next *= 2;
        }
        for (word, length, symbol) in code.words() {
            if length > LOOK || !Code::knows(code.is_dc, symbol) {
                continue;
            }
            if symbol == 0 {
                self.end = length;
            }
            let begin = (word >> (16 - LOOK)) as usize;
            let entries = &mut singles[begin..begin + (1 << (LOOK - length))];
            match code.is_dc {
                true => fill_dc(entries, length, symbol),
                false => fill_ac(entries, length, symbol),
            }
        }
        for (index, entry) in self.look.iter_mut().enumerate() {
            *entry = match code.is_dc {
                true => singles[index].into(),
                false => joined(&singles, index),
            };
        }
    }

    /// The entry of the next bits.
    #[inline(always)]
    pub(super) fn look(&self, bits: u64) -> u64 {
        self.look[(bits >> (64 - LOOK)) as usize]
    }

    /// The partial entry of a code longer than a look; `None` where the bits are no code
    /// of a known symbol.
    pub(super) fn find(&self, bits: u64) -> Option<u32> {
        let word = (bits >> 48) as u32;
        let length = (1..=16).find(|&length| word < self.limits[length])?;
        let place = (word >> (16 - length)) as i32 + self.offsets[length];
        let symbol =
            self.symbols[usize::try_from(place).ok().filter(|&place| place < self.count)?];
        if !Code::knows(self.is_dc, symbol) {
            return None;
        }
        Some(match self.is_dc {
            true => PARTIAL | length as u32 | u32::from(symbol) << VALUE,
            false => partial(length as u32, symbol),
        })
    }
}

/// The AC entry of these bits: what one look holds of two coefficients and the end of the block.
fn joined(singles: &[u32; 1 << LOOK], index: usize) -> u64 {
    let first = singles[index];
    let used = first & LENGTH;
    // What follows bits that are used, if all of it is in the look.
    let next = |used: u32| {
        let next = singles[index << used & ((1 << LOOK) - 1)];
        (next & PARTIAL == 0 && used + (next & LENGTH) <= LOOK).then_some(next)
    };
    let is_end = |entry: u32| entry >> ADVANCE == END + NOTHING;
    let pair = |length: u32, second: u32| {
        u64::from(first & !LENGTH | length) | u64::from(second & !LENGTH | used) << 32
    };
    let again = first & !(0xff << ADVANCE);
    if first & PARTIAL != 0 || first >> VALUE == 0 {
        return pair(used, again);
    }
    match next(used) {
        Some(end) if is_end(end) => pair(used + (end & LENGTH), again | END << ADVANCE),
        Some(second) if second >> VALUE != 0 => {
            let used = used + (second & LENGTH);
            match next(used).filter(|&end| is_end(end)) {
                Some(end) => pair(used + (end & LENGTH), second | END << ADVANCE),
                None => pair(used, second),
            }
        }
        _ => pair(used, again),
    }
}

/// The entry of an AC code whose value is still to be read, or that has none.
fn partial(length: u32, symbol: u8) -> u32 {
    let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
    match (run, size) {
        (0, 0) => length | (END + NOTHING) << ADVANCE,
        (_, 0) => length | 16 << ADVANCE,
        _ => PARTIAL | length | (run + 1) << ADVANCE | size << VALUE,
    }
}

fn fill_ac(entries: &mut [u32], length: u32, symbol: u8) {
    let size = u32::from(symbol & 15);
    let entry = partial(length, symbol);
    if size == 0 || length + size > LOOK {
        entries.fill(entry);
        return;
    }
    let each = entries.len() >> size;
    for (bits, entries) in entries.chunks_exact_mut(each).enumerate() {
        let value = extend(bits as u32, size) as u32;
        entries.fill(((entry & 0xffff & !PARTIAL) + size) | (value << VALUE));
    }
}

fn fill_dc(entries: &mut [u32], length: u32, symbol: u8) {
    let size = u32::from(symbol);
    if length + size > LOOK {
        entries.fill(PARTIAL | length | size << VALUE);
        return;
    }
    let each = entries.len() >> size;
    for (bits, entries) in entries.chunks_exact_mut(each).enumerate() {
        entries.fill((length + size) | (extend(bits as u32, size) as u32) << VALUE);
    }
}

/// The value of `size` bits: those that begin with 0 stand for negative numbers (F.2.2.1).
#[inline(always)]
pub(super) fn extend(bits: u32, size: u32) -> i32 {
    let most = (1 << size) - 1;
    bits as i32 - if 2 * bits <= most { most as i32 } else { 0 }
}
