//! From blocks to the pixels of a part: one row of MCUs after the other.

use std::ops::Range;

use super::entropy::{Bits, Coefficients, Wrong, unstuff};
use super::header::{Component, Header};
use super::huffman::{Code, Table};
use super::stages::transform_wide;
use super::{Declined, Picture, Stages};

/// Tables that are kept for the next picture; most pictures have the same four.
const KEPT: usize = 12;
/// Bytes of data for which memory is kept: most photos have fewer, and of more each takes so long
/// that taking memory is nothing.
const KEPT_BYTES: usize = 512 << 10;
/// Largest DC coefficient, multiplied by its step, where 1024 is white: what is beyond is damaged.
const MAX_DC: i32 = 32767;

/// Decodes pictures, with memory that it keeps from one to the next.
#[derive(Clone, Debug)]
pub struct Decoder {
    stages: Stages,
    tables: Vec<Table>,
    /// Entropy-coded data without stuffing, and where segments between restart markers end.
    data: Vec<u8>,
    ends: Vec<usize>,
    planes: [Plane; 3],
    rows: Rows,
}

/// Rows of samples on the way to pixels.
#[derive(Clone, Debug, Default)]
struct Rows {
    /// Chroma of one row of the picture, at its own width, with a neighbour on each side.
    narrow: Vec<u8>,
    /// At the picture's width.
    wide: [Vec<u8>; 2],
}

/// The samples of one component that the part needs, of one row of MCUs and the row above it.
#[derive(Clone, Debug)]
struct Plane {
    /// Blocks of an MCU across and down.
    across: usize,
    down: usize,
    /// Pixels of a sample across and down.
    wide: usize,
    tall: usize,
    /// Samples of a whole row, to the end of the last MCU.
    width: usize,
    /// Columns of blocks, and rows of samples, that the part needs.
    columns: Range<usize>,
    rows: Range<usize>,
    steps: [i16; 64],
    /// Which of the decoder's tables.
    dc: usize,
    ac: usize,
    /// The last row of the MCUs above, then the rows of these.
    samples: Vec<u8>,
}

/// A block of an MCU, in the order of the file.
#[derive(Clone, Copy, Default)]
struct Unit {
    component: usize,
    column: usize,
    row: usize,
    /// Whether the part needs this row of blocks.
    is_kept: bool,
}

impl Decoder {
    /// A decoder that computes samples with `stages`.
    pub fn new(stages: Stages) -> Decoder {
        Decoder {
            stages,
            tables: Vec::new(),
            data: Vec::new(),
            ends: Vec::new(),
            planes: std::array::from_fn(|_| Plane::new()),
            rows: Rows::default(),
        }
    }

    /// Decodes the part of a picture in these columns and rows: `out` becomes its red, green and
    /// blue, row by row, without a gap; its memory is used again.
    ///
    /// # Errors
    /// The part is empty or not within the picture, or its data are declined; `out` then holds
    /// anything.
    pub fn decode(
        &mut self,
        picture: &Picture,
        columns: Range<usize>,
        rows: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<(), Declined> {
        let done = self.decode_part(picture, columns, rows, out);
        // A decoder may live as long as its thread: what a large file took is given back.
        if self.data.capacity() > KEPT_BYTES {
            (self.data, self.ends) = (Vec::new(), Vec::new());
        }
        done
    }

    fn decode_part(
        &mut self,
        picture: &Picture,
        columns: Range<usize>,
        rows: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<(), Declined> {
        let header = &picture.header;
        let declines = |expected| Declined { at: header.scan, expected };
        let is_within = |range: &Range<usize>, end| range.start < range.end && range.end <= end;
        if !is_within(&columns, header.width) || !is_within(&rows, header.height) {
            return Err(declines("a part within the picture"));
        }
        let (across, down) = header.mcus();
        let segments = match header.interval {
            0 => 1,
            interval => (across * down).div_ceil(interval),
        };
        unstuff(picture.bytes, header.scan, segments, &mut self.data, &mut self.ends)?;
        if self.ends.len() != segments {
            return Err(declines("a restart marker for each interval"));
        }
        // A block has two codes, of at least a bit each; memory is taken for what can be there.
        let blocks: usize = header.components().iter().map(|part| part.across * part.down).sum();
        if 8 * self.data.len() < 2 * blocks * across * down {
            return Err(declines("data for all blocks"));
        }
        self.plan(header, &columns, &rows)?;
        out.resize(3 * columns.len() * rows.len(), 0);
        self.scan(header, &columns, &rows, out).map_err(|Wrong| declines("undamaged data"))
    }

    /// Finds what the part needs of each component.
    fn plan(
        &mut self,
        header: &Header,
        columns: &Range<usize>,
        rows: &Range<usize>,
    ) -> Result<(), Declined> {
        if self.tables.len() > KEPT {
            self.tables.clear();
        }
        let (mcu_width, mcu_height) = header.mcu();
        let (across, down) = header.mcus();
        for (index, component) in header.components().iter().enumerate() {
            let tables = header.tables(component)?;
            let (dc, ac) = (self.table(&tables.dc), self.table(&tables.ac));
            let &Component { across: blocks, down: blocks_down, .. } = component;
            let plane = &mut self.planes[index];
            (plane.across, plane.down) = (blocks, blocks_down);
            (plane.wide, plane.tall) = (mcu_width / 8 / blocks, mcu_height / 8 / blocks_down);
            plane.width = 8 * blocks * across;
            let needed = needed(columns, plane.wide, plane.width);
            plane.columns = needed.start / 8..needed.end.div_ceil(8);
            plane.rows = needed_rows(rows, plane.tall, 8 * blocks_down * down);
            (plane.steps, plane.dc, plane.ac) = (tables.quantisation, dc, ac);
            plane.samples.resize(plane.stride() * (1 + 8 * blocks_down), 0);
        }
        Ok(())
    }

    /// The table of a code, made where it is not kept.
    fn table(&mut self, code: &Code) -> usize {
        if let Some(index) = self.tables.iter().position(|table| table.is_of(code)) {
            return index;
        }
        self.tables.push(Table::new(code));
        self.tables.len() - 1
    }

    fn scan(
        &mut self,
        header: &Header,
        columns: &Range<usize>,
        rows: &Range<usize>,
        out: &mut [u8],
    ) -> Result<(), Wrong> {
        let planes = &mut self.planes[..header.components().len()];
        let (across, down) = header.mcus();
        let mut scan = Scan {
            bits: Bits::new(&self.data, 0),
            dc: [0; 3],
            ends: &self.ends,
            interval: header.interval,
            left: if header.interval == 0 { usize::MAX } else { header.interval },
            stages: self.stages,
            tables: &self.tables,
            coefficients: [0; 128],
        };
        let mcu_height = header.mcu().1;
        let is_tall = mcu_height > 8;
        for mcu_row in 0..down {
            scan.mcus(mcu_row, across, planes)?;
            // The last row of a pixel's chroma may need the row below it.
            let is_last = mcu_row + 1 == down;
            let begin = mcu_row * mcu_height - usize::from(is_tall && mcu_row > 0);
            let end = (mcu_row + 1) * mcu_height - usize::from(is_tall && !is_last);
            let above = mcu_row * mcu_height;
            for y in begin.max(rows.start)..end.min(rows.end) {
                let size = 3 * columns.len();
                let out = &mut out[(y - rows.start) * size..][..size];
                self.rows.pixels(&self.stages, planes, y, above, columns, is_last, out);
            }
            if end >= rows.end && !is_last {
                return Ok(());
            }
            for plane in planes.iter_mut().filter(|_| is_tall) {
                let stride = plane.stride();
                let last = plane.samples.len() - stride;
                plane.samples.copy_within(last.., 0);
            }
        }
        scan.finish()
    }
}

/// Samples that cover a range of pixels, with a neighbour on each side where samples are wider.
fn needed(pixels: &Range<usize>, ratio: usize, end: usize) -> Range<usize> {
    let (first, last) = (pixels.start / ratio, (pixels.end - 1) / ratio);
    match ratio {
        2 => first.saturating_sub(1)..(last + 2).min(end),
        _ => first..last + 1,
    }
}

/// Rows of samples that rows of pixels need: where there are half as many, an even one needs the
/// sample above as well, an odd one the sample below.
fn needed_rows(pixels: &Range<usize>, ratio: usize, end: usize) -> Range<usize> {
    match ratio {
        2 => (pixels.start.saturating_sub(1)) / 2..(pixels.end / 2 + 1).min(end),
        _ => pixels.clone(),
    }
}

impl Plane {
    fn new() -> Plane {
        Plane {
            across: 1,
            down: 1,
            wide: 1,
            tall: 1,
            width: 0,
            columns: 0..0,
            rows: 0..0,
            steps: [1; 64],
            dc: 0,
            ac: 0,
            samples: Vec::new(),
        }
    }

    fn stride(&self) -> usize {
        8 * self.columns.len()
    }

    /// A row of samples, counted from the row above these MCUs, in columns counted as in the whole
    /// component.
    fn row(&self, row: usize, columns: Range<usize>) -> &[u8] {
        let begin = row * self.stride() + columns.start - 8 * self.columns.start;
        &self.samples[begin..begin + columns.len()]
    }
}

/// The entropy-coded data on the way through the MCUs.
struct Scan<'a> {
    bits: Bits<'a>,
    /// The last DC coefficients.
    dc: [i32; 3],
    /// Ends of the segments from this one on.
    ends: &'a [usize],
    interval: usize,
    /// MCUs to the next restart marker.
    left: usize,
    stages: Stages,
    tables: &'a [Table],
    coefficients: Coefficients,
}

impl Scan<'_> {
    /// Decodes a row of MCUs, and transforms what the part needs of it.
    fn mcus(&mut self, row: usize, across: usize, planes: &mut [Plane]) -> Result<(), Wrong> {
        let mut units = [Unit::default(); 6];
        let mut count = 0;
        for (component, plane) in planes.iter().enumerate() {
            for unit in 0..plane.across * plane.down {
                let (column, block_row) = (unit % plane.across, unit / plane.across);
                let first = 8 * (row * plane.down + block_row);
                let is_kept = first < plane.rows.end && first + 8 > plane.rows.start;
                units[count] = Unit { component, column, row: block_row, is_kept };
                count += 1;
            }
        }
        for mcu in 0..across {
            if self.left == 0 {
                self.restart()?;
            }
            self.left -= 1;
            for unit in &units[..count] {
                self.unit(unit, mcu, &mut planes[unit.component])?;
            }
        }
        match self.ends.first().is_some_and(|&end| self.bits.used() <= 8 * end) {
            true => Ok(()),
            false => Err(Wrong),
        }
    }

    #[inline(always)]
    fn unit(&mut self, unit: &Unit, mcu: usize, plane: &mut Plane) -> Result<(), Wrong> {
        let (dc_table, ac_table) = (&self.tables[plane.dc], &self.tables[plane.ac]);
        let dc = &mut self.dc[unit.component];
        let column = mcu * plane.across + unit.column;
        if !unit.is_kept || !plane.columns.contains(&column) {
            self.bits.block::<false>(dc_table, ac_table, dc, &mut self.coefficients)?;
            return check_dc(*dc, plane.steps[0]).map(|_| ());
        }
        let last = self.bits.block::<true>(dc_table, ac_table, dc, &mut self.coefficients)?;
        let level = check_dc(*dc, plane.steps[0])?;
        let stride = plane.stride();
        let begin = (1 + 8 * unit.row) * stride + 8 * (column - plane.columns.start);
        let out = &mut plane.samples[begin..];
        if last == 0 {
            let sample = ((level + 4 + 1024) >> 3).clamp(0, 255) as u8;
            out.chunks_mut(stride).take(8).for_each(|row| row[..8].copy_from_slice(&[sample; 8]));
            return Ok(());
        }
        let (block, _) = self.coefficients.split_first_chunk_mut::<64>().ok_or(Wrong)?;
        block[0] = *dc as i16;
        let transform = match last < 10 {
            true => self.stages.transform_corner,
            false => self.stages.transform,
        };
        if !transform(block, &plane.steps, out, stride) {
            transform_wide(block, &plane.steps, out, stride);
        }
        *block = [0; 64];
        Ok(())
    }

    /// Goes on behind a restart marker.
    fn restart(&mut self) -> Result<(), Wrong> {
        self.finish()?;
        let (&end, ends) = self.ends.split_first().ok_or(Wrong)?;
        self.bits.jump(end);
        (self.ends, self.dc, self.left) = (ends, [0; 3], self.interval);
        Ok(())
    }

    /// Checks that a segment's data, but for less than a byte, are used.
    fn finish(&self) -> Result<(), Wrong> {
        let end = *self.ends.first().ok_or(Wrong)?;
        match self.bits.used().div_ceil(8) == end {
            true => Ok(()),
            false => Err(Wrong),
        }
    }
}

fn check_dc(dc: i32, step: i16) -> Result<i32, Wrong> {
    let level = dc * i32::from(step);
    match level.abs() <= MAX_DC {
        true => Ok(level),
        false => Err(Wrong),
    }
}

impl Rows {
    /// Writes a row of pixels, where `above` is the first row of these MCUs.
    fn pixels(
        &mut self,
        stages: &Stages,
        planes: &[Plane],
        y: usize,
        above: usize,
        columns: &Range<usize>,
        is_last: bool,
        out: &mut [u8],
    ) {
        let luma = planes[0].row(y + 1 - above, columns.clone());
        let [_, blue, red] = planes else {
            for (pixel, &luma) in out.as_chunks_mut().0.iter_mut().zip(luma) {
                *pixel = [luma; 3];
            }
            return;
        };
        for (plane, wide) in [blue, red].into_iter().zip(&mut self.wide) {
            let (near, far) = match plane.tall {
                2 => rows_around(y, above, plane.samples.len() / plane.stride(), is_last),
                _ => (y + 1 - above, y + 1 - above),
            };
            chroma(stages, plane, (near, far), columns, &mut self.narrow, wide);
        }
        let offset = columns.start % blue.wide;
        let [blue, red] = self.wide.each_ref().map(|wide| &wide[offset..][..columns.len()]);
        (stages.colours)(luma, blue, red, out);
    }
}

/// Brings chroma between two rows of a plane to the picture's width: `wide` becomes the samples of
/// these columns, from the first column that shares its sample with the first of them.
fn chroma(
    stages: &Stages,
    plane: &Plane,
    (near, far): (usize, usize),
    columns: &Range<usize>,
    narrow: &mut Vec<u8>,
    wide: &mut Vec<u8>,
) {
    let samples = needed(columns, plane.wide, plane.width);
    let (near, far) = (plane.row(near, samples.clone()), plane.row(far, samples.clone()));
    let first = columns.start / plane.wide;
    let count = (columns.end - 1) / plane.wide + 1 - first;
    // A neighbour on each side, then those of the columns between them.
    narrow.resize(count + 2, 0);
    let begin = samples.start + 1 - first;
    let end = begin + samples.len();
    match plane.tall {
        2 => (stages.blend)(near, far, &mut narrow[begin..end]),
        _ => narrow[begin..end].copy_from_slice(near),
    }
    wide.resize(plane.wide * count, 0);
    match plane.wide {
        2 => {
            // Beyond the first and the last sample of a row are the same again.
            if begin == 1 {
                narrow[0] = narrow[1];
            }
            if end == count + 1 {
                narrow[count + 1] = narrow[count];
            }
            (stages.widen)(narrow, wide);
        }
        4 => {
            for (out, &sample) in wide.as_chunks_mut().0.iter_mut().zip(&narrow[1..=count]) {
                *out = [sample; 4];
            }
        }
        _ => wide.copy_from_slice(&narrow[1..=count]),
    }
}

/// Of chroma with half of the rows, the row of a pixel and the next one on its side, counted from
/// the row above the MCUs whose first row of pixels is `above`.
fn rows_around(y: usize, above: usize, rows: usize, is_last: bool) -> (usize, usize) {
    let near = y / 2 + 1 - above / 2;
    let far = match y % 2 {
        0 if y == 0 => near,
        0 => near - 1,
        _ if is_last && near + 1 == rows => near,
        _ => near + 1,
    };
    (near, far)
}
