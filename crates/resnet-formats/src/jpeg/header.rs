//! The segments before a scan: sizes, tables and sampling (ITU T.81, annex B).

use super::huffman::Code;
use super::{Declined, ZIGZAG};

/// Segments before the scan; files of programs have some tens.
const MAX_SEGMENTS: usize = 1000;

/// A component of a frame, and the tables its scan names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Component {
    id: u8,
    /// Blocks of an MCU across and down.
    pub(super) across: usize,
    pub(super) down: usize,
    quantisation: usize,
    dc: usize,
    ac: usize,
}

/// What a baseline JPEG says before its entropy-coded data.
#[derive(Clone, Debug)]
pub(super) struct Header<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    components: [Component; 3],
    count: usize,
    quantisation: [Option<[i16; 64]>; 4],
    /// DC codes, then AC codes.
    codes: [[Option<Code<'a>>; 4]; 2],
    /// MCUs between restart markers; 0 where there are none.
    pub(super) interval: usize,
    /// Where the entropy-coded data begin.
    pub(super) scan: usize,
}

/// The tables of a component.
pub(super) struct Tables<'a> {
    pub(super) quantisation: [i16; 64],
    pub(super) dc: Code<'a>,
    pub(super) ac: Code<'a>,
}

impl<'a> Header<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Header<'a>, Declined> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.pair()? != 0xffd8 {
            return Err(reader.declines("the start of an image"));
        }
        let mut header = Header {
            width: 0,
            height: 0,
            components: [Component::default(); 3],
            count: 0,
            quantisation: [None; 4],
            codes: [[None; 4]; 2],
            interval: 0,
            scan: 0,
        };
        for _ in 0..MAX_SEGMENTS {
            let marker = reader.pair()?;
            let mut segment = reader.segment()?;
            match marker {
                0xffc0 => header.frame(&mut segment)?,
                0xffc4 => header.codes(&mut segment)?,
                0xffdb => header.quantisation(&mut segment)?,
                0xffdd => {
                    header.interval = usize::from(segment.pair()?);
                    segment.ends()?;
                }
                0xffda => {
                    header.scan(&mut segment)?;
                    header.scan = reader.at;
                    return Ok(header);
                }
                0xffe0 if segment.rest().len() < 5 => {
                    return Err(segment.declines("a name in the JFIF segment"));
                }
                0xffe1 => extended_xmp(&segment)?,
                0xffee => header.adobe(&segment)?,
                0xffe0..=0xffef | 0xfffe => {}
                _ => return Err(reader.declines("a segment of a baseline JPEG")),
            }
        }
        Err(reader.declines("fewer segments before the scan"))
    }

    /// The components of the frame: one, or luma and two of chroma.
    pub(super) fn components(&self) -> &[Component] {
        &self.components[..self.count]
    }

    /// Pixels of an MCU across and down.
    pub(super) fn mcu(&self) -> (usize, usize) {
        (8 * self.components[0].across, 8 * self.components[0].down)
    }

    /// MCUs across and down.
    pub(super) fn mcus(&self) -> (usize, usize) {
        let (width, height) = self.mcu();
        (self.width.div_ceil(width), self.height.div_ceil(height))
    }

    /// The tables that a component of the scan names.
    pub(super) fn tables(&self, component: &Component) -> Result<Tables<'a>, Declined> {
        let missing = |expected| Declined { at: self.scan, expected };
        Ok(Tables {
            quantisation: self.quantisation[component.quantisation]
                .ok_or(missing("a quantisation table for each component"))?,
            dc: self.codes[0][component.dc].ok_or(missing("a DC code for each component"))?,
            ac: self.codes[1][component.ac].ok_or(missing("an AC code for each component"))?,
        })
    }

    fn frame(&mut self, segment: &mut Reader) -> Result<(), Declined> {
        if self.count != 0 {
            return Err(segment.declines("one frame"));
        }
        if segment.byte()? != 8 {
            return Err(segment.declines("8 bits a sample"));
        }
        self.height = segment.pair()?.into();
        self.width = segment.pair()?.into();
        if self.width == 0 || self.height == 0 {
            return Err(segment.declines("at least one pixel"));
        }
        self.count = segment.byte()?.into();
        if self.count != 1 && self.count != 3 {
            return Err(segment.declines("one or three components"));
        }
        for component in &mut self.components[..self.count] {
            component.id = segment.byte()?;
            let sampling = segment.byte()?;
            component.across = usize::from(sampling >> 4);
            component.down = usize::from(sampling & 15);
            component.quantisation = segment.index()?;
        }
        segment.ends()?;
        let sampling = self.components.map(|component| (component.across, component.down));
        let is_known = matches!(
            (self.count, sampling),
            (1, [(1, 1), ..]) | (3, [(1, 1) | (2, 1) | (1, 2) | (2, 2) | (4, 1), (1, 1), (1, 1)])
        );
        if !is_known {
            return Err(segment.declines("grey, 4:4:4, 4:2:2, 4:4:0, 4:2:0 or 4:1:1"));
        }
        let ids = self.components.map(|component| component.id);
        // Components of these names hold red, green and blue.
        if self.count == 3 && (ids == *b"RGB" || ids[0] == ids[1] || ids[1] == ids[2]) {
            return Err(segment.declines("luma and chroma"));
        }
        match self.count == 3 && ids[0] == ids[2] {
            true => Err(segment.declines("three different components")),
            false => Ok(()),
        }
    }

    fn codes(&mut self, segment: &mut Reader<'a>) -> Result<(), Declined> {
        while !segment.is_empty() {
            let target = segment.byte()?;
            let (class, index) = (usize::from(target >> 4), usize::from(target & 15));
            if class > 1 || index > 3 {
                return Err(segment.declines("a code for DC or AC of number 0 to 3"));
            }
            let counts = segment.array::<16>()?;
            let symbols = counts.iter().map(|&count| usize::from(count)).sum();
            let symbols = segment.take(symbols)?;
            let code =
                Code::new(class == 0, counts, symbols).ok_or(segment.declines("a Huffman code"))?;
            self.codes[class][index] = Some(code);
        }
        Ok(())
    }

    fn quantisation(&mut self, segment: &mut Reader) -> Result<(), Declined> {
        while !segment.is_empty() {
            let index = segment.index()?; // above 3 where steps are of 16 bits
            let steps = segment.array::<64>()?;
            let mut table = [0; 64];
            for (&step, &place) in steps.iter().zip(&ZIGZAG) {
                table[usize::from(place)] = i16::from(step);
            }
            if steps.contains(&0) {
                return Err(segment.declines("quantisation steps above 0"));
            }
            self.quantisation[index] = Some(table);
        }
        Ok(())
    }

    fn scan(&mut self, segment: &mut Reader) -> Result<(), Declined> {
        if self.count == 0 {
            return Err(segment.declines("a frame before the scan"));
        }
        if usize::from(segment.byte()?) != self.count {
            return Err(segment.declines("all components in one scan"));
        }
        for component in &mut self.components[..self.count] {
            if segment.byte()? != component.id {
                return Err(segment.declines("the components in the order of the frame"));
            }
            let codes = segment.byte()?;
            (component.dc, component.ac) = (usize::from(codes >> 4), usize::from(codes & 15));
            if component.dc > 3 || component.ac > 3 {
                return Err(segment.declines("codes of number 0 to 3"));
            }
        }
        if *segment.array::<3>()? != [0, 63, 0] {
            return Err(segment.declines("a sequential scan of all coefficients"));
        }
        segment.ends()
    }

    /// Adobe's segment names the colours; of three components only YCbCr are read here. For grey,
    /// decoders differ once the frame is known.
    fn adobe(&mut self, segment: &Reader) -> Result<(), Declined> {
        match segment.rest() {
            [b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, 1, ..] if self.count != 1 => Ok(()),
            _ => Err(segment.declines("YCbCr, if Adobe's segment is there")),
        }
    }
}

/// Decoders refuse a part of extended XMP that is too short for its own header.
fn extended_xmp(segment: &Reader) -> Result<(), Declined> {
    const NAME: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
    match segment.rest().strip_prefix(NAME).is_some_and(|rest| rest.len() < 40) {
        true => Err(segment.declines("a whole header of extended XMP")),
        false => Ok(()),
    }
}

/// Reads a file, or one of its segments.
struct Reader<'a> {
    /// The file up to where this reader may go.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn declines(&self, expected: &'static str) -> Declined {
        Declined { at: self.at, expected }
    }

    fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Declined> {
        let taken = self.rest().get(..count).ok_or(self.declines("more bytes"))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Declined> {
        let taken = self.rest().first_chunk().ok_or(self.declines("more bytes"))?;
        self.at += N;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Declined> {
        self.array::<1>().map(|&[byte]| byte)
    }

    fn pair(&mut self) -> Result<u16, Declined> {
        self.array().map(|&pair| u16::from_be_bytes(pair))
    }

    /// The number of a quantisation table.
    fn index(&mut self) -> Result<usize, Declined> {
        match self.byte()? {
            index @ 0..=3 => Ok(index.into()),
            _ => Err(self.declines("a quantisation table of bytes, of number 0 to 3")),
        }
    }

    /// What follows a marker: its length, itself included, then its content.
    fn segment(&mut self) -> Result<Reader<'a>, Declined> {
        let length = usize::from(self.pair()?);
        let at = self.at;
        let content = length.checked_sub(2).ok_or(self.declines("a length of 2 or more"))?;
        self.take(content)?;
        Ok(Reader { bytes: &self.bytes[..self.at], at })
    }

    fn ends(&self) -> Result<(), Declined> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(self.declines("the end of the segment")),
        }
    }
}
