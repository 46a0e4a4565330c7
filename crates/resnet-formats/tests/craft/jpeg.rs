//! Makes JPEGs of random coefficients, damages them, and decodes them by the crate zune-jpeg.
#![allow(dead_code, unreachable_pub)] // each user takes what it needs

use resnet_formats::jpeg::{Declined, Decoder, Picture, Stages};
use resnet_kernels::jpeg::JpegStages;
use std::ops::Range;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Marsaglia's xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        ((self.bits() >> 32) as usize * end) >> 32
    }

    /// A range within `0..end`, not empty.
    pub fn range(&mut self, end: usize) -> Range<usize> {
        let (a, b) = (self.below(end), self.below(end));
        a.min(b)..a.max(b) + 1
    }
}

/// The stages of the decoder itself, and those in vectors where this CPU has them.
pub fn stages() -> Vec<(&'static str, Stages)> {
    let vectors = JpegStages::probe().map(|vectors| Stages {
        transform: vectors.transform,
        transform_corner: vectors.transform_corner,
        colours: vectors.colours,
        ..Stages::PORTABLE
    });
    let vectors = vectors.map(|stages| ("vectors", stages));
    [("loops", Stages::PORTABLE)].into_iter().chain(vectors).collect()
}

/// What a JPEG is like.
#[derive(Clone, Debug)]
pub struct Shape {
    pub width: usize,
    pub height: usize,
    /// Blocks of luma in an MCU, across and down; `None` for grey.
    pub sampling: Option<(usize, usize)>,
    /// MCUs between restart markers; 0 for none.
    pub interval: usize,
    /// Largest quantisation step.
    pub coarse: usize,
    /// Most coefficients of a block, and the largest size of one, in bits.
    pub dense: usize,
    pub large: usize,
    /// Whether codes fit the symbols, rather than some other frequencies.
    pub optimised: bool,
}

pub const SAMPLINGS: [Option<(usize, usize)>; 6] =
    [None, Some((1, 1)), Some((2, 1)), Some((1, 2)), Some((2, 2)), Some((4, 1))];

impl Shape {
    pub fn random(largest: usize, random: &mut Random) -> Shape {
        Shape {
            width: 1 + random.below(largest),
            height: 1 + random.below(largest),
            sampling: SAMPLINGS[random.below(SAMPLINGS.len())],
            interval: [0, 0, 1, 2, 3, 7, 50][random.below(7)],
            coarse: [1, 4, 16, 60, 255][random.below(5)],
            dense: [0, 1, 3, 8, 20, 63][random.below(6)],
            large: [1, 2, 3, 5, 7, 10][random.below(6)],
            optimised: random.below(3) > 0,
        }
    }
}

/// A symbol of one of four codes (DC and AC of luma, then of chroma), and the bits behind it.
struct Token {
    code: usize,
    symbol: u8,
    value: u32,
    size: u32,
}

impl Token {
    fn new(code: usize, run: usize, value: i32) -> Token {
        let size = 32 - value.unsigned_abs().leading_zeros();
        let value = if value < 0 { value - 1 } else { value } as u32 & ((1 << size) - 1);
        Token { code, symbol: (run << 4) as u8 | size as u8, value, size }
    }
}

/// A JPEG of this shape.
pub fn jpeg(shape: &Shape, random: &mut Random) -> Vec<u8> {
    let (across, down) = shape.sampling.unwrap_or((1, 1));
    let mcus = shape.width.div_ceil(8 * across) * shape.height.div_ceil(8 * down);
    let interval = if shape.interval == 0 { mcus } else { shape.interval };
    let steps: [[u8; 64]; 2] =
        std::array::from_fn(|_| std::array::from_fn(|_| 1 + random.below(shape.coarse) as u8));
    let mut units = vec![0; across * down];
    if shape.sampling.is_some() {
        units.extend([1, 2]);
    }
    let mut segments = Vec::new();
    let mut left = mcus;
    while left > 0 {
        let mut tokens = Vec::new();
        let mut last = [0; 3];
        for _ in 0..interval.min(left) {
            for &component in &units {
                let step = i32::from(steps[component.min(1)][0]);
                block(component, step, &mut last[component], shape, random, &mut tokens);
            }
        }
        left -= interval.min(left);
        segments.push(tokens);
    }
    let codes: [Vec<(u8, u32)>; 4] =
        std::array::from_fn(|code| lengths(code, &segments, shape.optimised, random));
    let mut file = vec![0xff, 0xd8];
    segment(&mut file, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    for (index, steps) in (0..).zip(&steps) {
        segment(&mut file, 0xdb, &[&[index], steps.as_slice()].concat());
    }
    let count = if shape.sampling.is_some() { 3 } else { 1 };
    let [h1, h0] = (shape.height as u16).to_be_bytes();
    let [w1, w0] = (shape.width as u16).to_be_bytes();
    let mut frame = vec![8, h1, h0, w1, w0, count];
    let mut scan = vec![count];
    for component in 0..count {
        let sampling = if component == 0 { across << 4 | down } else { 0x11 } as u8;
        frame.extend([component + 1, sampling, component.min(1)]);
        scan.extend([component + 1, component.min(1) * 0x11]);
    }
    segment(&mut file, 0xc0, &frame);
    for (target, code) in [0x00, 0x10, 0x01, 0x11].into_iter().zip(&codes) {
        let mut content = vec![target];
        content.extend((1..=16).map(|size| code.iter().filter(|c| c.1 == size).count() as u8));
        content.extend(code.iter().map(|&(symbol, _)| symbol));
        segment(&mut file, 0xc4, &content);
    }
    if shape.interval > 0 {
        segment(&mut file, 0xdd, &(shape.interval as u16).to_be_bytes());
    }
    scan.extend([0, 63, 0]);
    segment(&mut file, 0xda, &scan);
    let words = codes.map(|code| words(&code));
    for (index, tokens) in segments.iter().enumerate() {
        if index > 0 {
            file.extend([0xff, 0xd0 + (index as u8 - 1) % 8]);
        }
        write(tokens, &words, &mut file);
    }
    file.extend([0xff, 0xd9]);
    file
}

fn segment(file: &mut Vec<u8>, marker: u8, content: &[u8]) {
    file.extend([0xff, marker]);
    file.extend((content.len() as u16 + 2).to_be_bytes());
    file.extend(content);
}

fn block(
    component: usize,
    step: i32,
    last: &mut i32,
    shape: &Shape,
    random: &mut Random,
    tokens: &mut Vec<Token>,
) {
    let codes = 2 * component.min(1);
    let most = 1200 / step; // a little beyond white and black
    let target = (random.below(2 * most as usize + 1) as i32 - most).clamp(-1023, 1023);
    tokens.push(Token::new(codes, 0, target - *last));
    *last = target;
    let mut place = 0;
    for _ in 0..random.below(shape.dense + 1) {
        let mut run = match random.below(4) {
            0 => random.below(40),
            _ => random.below(3),
        };
        if place + run + 1 > 63 {
            break;
        }
        place += run + 1;
        while run > 15 {
            tokens.push(Token::new(codes + 1, 15, 0));
            run -= 16;
        }
        let size = 1 + random.below(shape.large);
        let value = 1 + random.below((1 << size) - 1) as i32;
        let value = if random.below(2) == 0 { value } else { -value };
        tokens.push(Token::new(codes + 1, run, value));
    }
    if place < 63 {
        tokens.push(Token::new(codes + 1, 0, 0));
    }
}

/// The symbols of a code with their lengths, the shortest first: Shannon's, which leave room for
/// the code of all ones.
fn lengths(
    code: usize,
    segments: &[Vec<Token>],
    optimised: bool,
    random: &mut Random,
) -> Vec<(u8, u32)> {
    let mut counts = [0u64; 256];
    for token in segments.iter().flatten().filter(|token| token.code == code) {
        counts[usize::from(token.symbol)] += 1;
    }
    for count in counts.iter_mut().filter(|count| **count > 0 && !optimised) {
        *count = 1 << random.below(30);
    }
    let total = counts.iter().sum::<u64>() + 1;
    let mut code: Vec<(u8, u32)> = (0..=255u8)
        .zip(counts)
        .filter(|&(_, count)| count > 0)
        .map(|(symbol, count)| {
            // No code is longer than 16 bits, so no symbol counts less than so.
            let share = (count as f64 / total as f64 * 0.99).max(1.0 / 65536.0 * 1.5);
            (symbol, (1.0 - share.log2()).floor().clamp(1.0, 16.0) as u32)
        })
        .collect();
    code.sort_by_key(|&(symbol, length)| (length, symbol));
    let taken: f64 = code.iter().map(|&(_, length)| 0.5f64.powi(length as i32)).sum();
    if taken > 1.0 - 1.0 / 65536.0 {
        for (_, length) in &mut code {
            *length = 8; // many rare symbols: all alike
        }
    }
    code
}

fn words(code: &[(u8, u32)]) -> Vec<Option<(u32, u32)>> {
    let mut words = vec![None; 256];
    let (mut next, mut last) = (0, 0);
    for &(symbol, length) in code {
        next <<= length - last;
        last = length;
        words[usize::from(symbol)] = Some((next, length));
        next += 1;
    }
    words
}

fn write(tokens: &[Token], words: &[Vec<Option<(u32, u32)>>; 4], file: &mut Vec<u8>) {
    let (mut buffer, mut count) = (0u64, 0);
    let mut put = |bits: u32, size: u32, file: &mut Vec<u8>| {
        buffer = buffer << size | u64::from(bits);
        count += size;
        while count >= 8 {
            count -= 8;
            let byte = (buffer >> count) as u8;
            file.push(byte);
            if byte == 0xff {
                file.push(0);
            }
        }
        count
    };
    for token in tokens {
        let (word, length) = words[token.code][usize::from(token.symbol)].expect("a code");
        put(word, length, file);
        put(token.value, token.size, file);
    }
    let rest = put(0, 0, file);
    if rest > 0 {
        put((1 << (8 - rest)) - 1, 8 - rest, file);
    }
}

/// A file with some bytes changed, cut, moved, or put in.
pub fn damaged(file: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..1 + random.below(3) {
        let length = bytes.len().max(1);
        let at = match random.below(3) {
            0 => random.below(length.min(700)), // segments before the scan
            _ => random.below(length),
        };
        match random.below(10) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 if at < bytes.len() => bytes[at] = random.bits() as u8,
            3 => bytes.truncate(at),
            4 => {
                let marker =
                    [0xc4, 0xd0, 0xd3, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xfe, 0xff, 0x00, 0xc2];
                let marker = marker[random.below(marker.len())];
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), [0xff, marker]);
            }
            5 => {
                let end = (at + 1 + random.below(20)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            6 => {
                let part = random.range(other.len());
                let part = part.start..part.end.min(part.start + 100);
                let at = at.min(bytes.len());
                bytes.splice(at..at, other[part].iter().copied());
            }
            7 => change_frame(&mut bytes, random),
            8 => put_in_segment(&mut bytes, random),
            _ if at + 1 < bytes.len() => {
                bytes[at] = 0xff;
                bytes[at + 1] = 0xd0 | random.below(8) as u8;
            }
            _ => {}
        }
    }
    bytes
}

/// Puts in a segment that some decoders read, long or short, at the start or before the frame.
fn put_in_segment(bytes: &mut Vec<u8>, random: &mut Random) {
    let contents: [(u8, &[u8]); 9] = [
        (0xe0, b"AVI1\0"),
        (0xe1, b"Exif\0\0"),
        (0xe1, b"http://ns.adobe.com/xap/1.0/\0"),
        (0xe1, b"http://ns.adobe.com/xmp/extension/\0"),
        (0xe2, b"ICC_PROFILE\0"),
        (0xe2, b"MPF\0"),
        (0xe2, b"urn:iso:std:iso:ts:21496:-1\0"),
        (0xed, b"Photoshop 3.0\0"),
        (0xee, b"Adobe\0\0\0\0\0\0"),
    ];
    let (marker, name) = contents[random.below(contents.len())];
    let mut content = name[..name.len() - random.below(2) * random.below(name.len())].to_vec();
    content.extend((0..random.below(50)).map(|_| random.bits() as u8 & 3));
    let mut added = Vec::new();
    segment(&mut added, marker, &content);
    if random.below(4) == 0 {
        added[3] = random.below(20) as u8;
    }
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap_or(2);
    let scan = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap_or(2);
    let at = [2, frame, scan][random.below(3)].min(bytes.len());
    bytes.splice(at..at, added);
}

/// Changes the size, the sampling or another field of the frame.
fn change_frame(bytes: &mut [u8], random: &mut Random) {
    let Some(at) = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]) else { return };
    let field = [5, 6, 7, 8, 9, 11, 12, 14, 15, 17, 18][random.below(11)];
    let values = [0, 1, 2, 3, 4, 8, 16, 17, 33, 34, 18, 65, 66, 255];
    if let Some(byte) = bytes.get_mut(at + field) {
        *byte = values[random.below(values.len())];
    }
}

/// A picture as red, green and blue.
#[derive(PartialEq, Eq)]
pub struct Pixels {
    pub width: usize,
    pub height: usize,
    pub bytes: Vec<u8>,
}

impl Pixels {
    /// The part in these columns and rows.
    pub fn part(&self, columns: &Range<usize>, rows: &Range<usize>) -> Vec<u8> {
        let rows = self.bytes.chunks_exact(3 * self.width).take(rows.end).skip(rows.start);
        rows.flat_map(|row| &row[3 * columns.start..3 * columns.end]).copied().collect()
    }
}

/// What zune-jpeg gives as the crate `image` calls it: `None` where it refuses.
pub fn expected(bytes: &[u8]) -> Option<Pixels> {
    std::panic::catch_unwind(|| decoded(bytes, DecoderOptions::default())).ok()?
}

/// The same from its functions for machines without vectors.
pub fn expected_scalar(bytes: &[u8]) -> Option<Pixels> {
    let options = DecoderOptions::new_safe();
    std::panic::catch_unwind(|| decoded(bytes, options)).ok()?
}

fn decoded(bytes: &[u8], options: DecoderOptions) -> Option<Pixels> {
    let options =
        options.set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    let (width, height) = decoder.dimensions()?;
    let is_grey = decoder.input_colorspace()? == ColorSpace::Luma;
    let colours = if is_grey { ColorSpace::Luma } else { ColorSpace::RGB };
    let options = options.jpeg_set_out_colorspace(colours);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let bytes = decoder.decode().ok()?;
    let bytes = match is_grey {
        true => bytes.iter().flat_map(|&level| [level; 3]).collect(),
        false => bytes,
    };
    Some(Pixels { width, height, bytes })
}

/// What the decoder gives for a whole picture of at most so many pixels.
pub fn whole(bytes: &[u8], most: u64, decoder: &mut Decoder) -> Result<Pixels, Declined> {
    let picture = Picture::open(bytes, most)?;
    let (width, height) = (picture.width(), picture.height());
    let mut pixels = Vec::new();
    decoder.decode(&picture, 0..width, 0..height, &mut pixels)?;
    Ok(Pixels { width, height, bytes: pixels })
}

/// Decodes the whole and a part of a file that may be damaged; both must be what the other decoder
/// gives, if they are anything. Tells whether the whole was.
pub fn check_damaged(bytes: &[u8], random: &mut Random, decoder: &mut Decoder) -> bool {
    const MOST: u64 = 1 << 20;
    let Ok(picture) = Picture::open(bytes, MOST) else { return false };
    let (columns, rows) = (random.range(picture.width()), random.range(picture.height()));
    let mut part = Vec::new();
    let part = decoder.decode(&picture, columns.clone(), rows.clone(), &mut part).map(|()| part);
    let whole = whole(bytes, MOST, decoder);
    if part.is_err() && whole.is_err() {
        return false;
    }
    let failure = match expected(bytes) {
        None => "a refused picture is read",
        Some(expected) if part.is_ok_and(|part| part != expected.part(&columns, &rows)) => {
            "a part differs"
        }
        Some(expected) if whole.as_ref().is_ok_and(|whole| *whole != expected) => "pixels differ",
        Some(_) => return whole.is_ok(),
    };
    std::fs::write("fuzz-failure.jpg", bytes).expect("a writable folder");
    panic!("{failure}: fuzz-failure.jpg, columns {columns:?}, rows {rows:?}");
}
