//! Square convolutions: forward, and the gradients of input, weights and bias.
//!
//! ```text
//! x: [n, h, w, c_in]   w: [kernel, kernel, c_in / groups, c_out]   y: [n, h_out, w_out, c_out]
//! y[n,i,j,o] = Σ x[n, i·s - p + ki, j·s - p + kj, c] · w[ki,kj,c,o] + b[o]
//! ```
//!
//! All passes of the direct kernel are products of small matrices over pointers into the map: no
//! matrix of patches is ever made (compare Georganas et al. 2018, "Anatomy of high-performance deep
//! learning convolutions", and Dukhan 2019, "The indirect convolution algorithm").

mod axis;
#[cfg(target_arch = "x86_64")]
mod bf16;
mod bias;
mod cut;
mod direct;
mod epilogue;
mod outputs;
mod packed;
mod partials;
mod shape;
mod table;
mod tile;
#[cfg(target_arch = "x86_64")]
pub(crate) mod unit;
mod winograd;

pub use epilogue::Epilogue;
pub use shape::Conv2dShape;
use table::Rows;

use crate::{Bf16, Cpu, Isa, Number, Scratch, ScratchLen};

/// A [`Number`] whose maps there are convolutions for. Every number is one; code that convolves
/// maps and does other things with them as well needs no other bound.
#[expect(private_bounds, reason = "sealed: the table of kernels is this crate's")]
pub trait Map: Number + Rows {}

impl Map for f32 {}

impl Map for Bf16 {}

/// A convolution of one shape, with maps stored as `T`, and the kernel chosen for it. Weights and
/// their gradients are f32; with maps of [`Bf16`] a kernel may round the weights to it
/// as well before it multiplies them; sums are f32 until they are written.
pub struct Conv2d<T: Map = f32> {
    shape: Conv2dShape,
    row: &'static table::Row<T>,
    isa: Isa,
    threads: usize,
    packed_len: usize,
    scratch_len: ScratchLen,
}

/// How a kernel lays weights out for its forward pass. Where two are equal, [`Conv2d::pack`] writes
/// the same words, and what one has packed serves the other; images may differ in number and size,
/// the step and the rim as well.
///
/// A kernel may begin its words at a cache line, so that copies are alike word by word only in
/// memory that is aligned alike; each of them serves in either.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packing {
    /// Of the kernel: its instruction set's vectors, its tiles, and what maps are stored as.
    name: &'static str,
    /// The shape of w.
    kernel: usize,
    c_in: usize,
    c_out: usize,
    groups: usize,
}

impl<T: Map> Conv2d<T> {
    /// The best kernel for `shape` on this CPU.
    ///
    /// # Panics
    /// If the shape does not pass [`Conv2dShape::check`].
    pub fn choose(cpu: &Cpu, shape: &Conv2dShape) -> Conv2d<T> {
        if let Err(reason) = shape.check() {
            panic!("convolution {shape}: {reason}");
        }
        Conv2d::with_row(cpu, shape, table::choose(cpu, shape))
    }

    /// Every kernel for `shape` with the CPU's instruction set, the best first, those that are
    /// switched off among them: to compare them.
    ///
    /// # Panics
    /// If the shape does not pass [`Conv2dShape::check`].
    pub fn candidates(cpu: &Cpu, shape: &Conv2dShape) -> Vec<Conv2d<T>> {
        if let Err(reason) = shape.check() {
            panic!("convolution {shape}: {reason}");
        }
        table::candidates(cpu, shape).map(|row| Conv2d::with_row(cpu, shape, row)).collect()
    }

    fn with_row(cpu: &Cpu, shape: &Conv2dShape, row: &'static table::Row<T>) -> Conv2d<T> {
        let packed_len = (row.packed_len)(cpu, shape);
        let packed = ScratchLen { shared: packed::len(cpu, packed_len), own: 0 };
        Conv2d {
            shape: *shape,
            row,
            isa: cpu.isa(),
            threads: cpu.threads(),
            packed_len,
            scratch_len: packed.max((row.scratch_len)(cpu, shape)),
        }
    }

    /// Whether all passes sum as the formula is written, so that integers come out exact.
    /// Winograd's transforms do not.
    pub fn is_direct(&self) -> bool {
        self.row.direct
    }

    /// Whether products are of bf16 numbers, for which the CPU has instructions of their own.
    pub fn multiplies_bf16(&self) -> bool {
        self.row.multiplies_bf16
    }

    /// The forward kernel's name, for reports: operation, precision, register tile, instruction
    /// set.
    pub fn name(&self) -> &'static str {
        self.row.name
    }

    /// The shape it was chosen for.
    pub fn shape(&self) -> &Conv2dShape {
        &self.shape
    }

    /// Words of scratch that each of the passes needs.
    pub fn scratch_len(&self) -> ScratchLen {
        self.scratch_len
    }

    /// Words of scratch that [`Conv2d::forward_packed`] needs.
    pub fn packed_scratch_len(&self) -> ScratchLen {
        ScratchLen { shared: 0, ..self.scratch_len }
    }

    /// Words of the weights as the forward pass reads them.
    pub fn packed_len(&self) -> usize {
        self.packed_len
    }

    /// How [`Conv2d::pack`] lays weights out.
    pub fn packing(&self) -> Packing {
        let Conv2dShape { kernel, c_in, c_out, groups, .. } = self.shape;
        Packing { name: self.row.name, kernel, c_in, c_out, groups }
    }

    /// Lays weights out as [`Conv2d::forward_packed`] reads them, for weights that are used more
    /// than once.
    ///
    /// # Panics
    /// If a length does not fit, or `cpu` is not like the one the kernel was chosen for.
    pub fn pack(&self, cpu: &Cpu, w: &[f32], packed: &mut [f32]) {
        self.check_cpu(cpu);
        let fits = w.len() == self.shape.w_len() && packed.len() == self.packed_len;
        assert!(fits, "convolution {}: wrong length of w or packed", self.shape);
        (self.row.pack)(cpu, &self.shape, w, packed);
    }

    /// [`Conv2d::forward`] with weights that [`Conv2d::pack`] has laid out.
    ///
    /// # Panics
    /// If a length does not fit, or `cpu` is not like the one the kernel was chosen for.
    pub fn forward_packed(
        &self,
        cpu: &Cpu,
        x: &[T],
        packed: &[f32],
        epilogue: Epilogue<T>,
        y: &mut [T],
        scratch: Scratch,
    ) {
        let shape = &self.shape;
        self.check_cpu(cpu);
        assert!(
            x.len() == shape.x_len() && y.len() == shape.y_len() && packed.len() == self.packed_len,
            "convolution {shape}: wrong length of x, packed or y"
        );
        self.multiply(cpu, x, packed, epilogue, y, scratch);
    }

    /// y from one copy of the packed weights, or from each thread's.
    fn multiply(
        &self,
        cpu: &Cpu,
        x: &[T],
        packed: &[f32],
        epilogue: Epilogue<T>,
        y: &mut [T],
        scratch: Scratch,
    ) {
        let shape = &self.shape;
        assert!(
            scratch.holds(cpu, self.packed_scratch_len()) && epilogue.fits(shape.c_out, y.len()),
            "convolution {shape}: wrong length of scratch, scale, shift or residual"
        );
        (self.row.forward)(cpu, shape, x, packed, epilogue, y, scratch);
    }

    /// y = x * w, and what `epilogue` makes of it; a bias is its shift.
    ///
    /// # Panics
    /// If a length does not fit, or `cpu` is not like the one the kernel was chosen for.
    pub fn forward(
        &self,
        cpu: &Cpu,
        x: &[T],
        w: &[f32],
        epilogue: Epilogue<T>,
        y: &mut [T],
        mut scratch: Scratch,
    ) {
        self.check(cpu, x, w, y, &scratch);
        let packed = packed::by_threads(cpu, self.packed_len, &mut scratch, |packed| {
            self.pack(cpu, w, packed);
        });
        self.multiply(cpu, x, packed, epilogue, y, scratch);
    }

    /// dx = the gradient of x, or dx += it if `accumulate`.
    ///
    /// # Panics
    /// If a length does not fit, or `cpu` is not like the one the kernel was chosen for.
    pub fn backward_input(
        &self,
        cpu: &Cpu,
        dy: &[T],
        w: &[f32],
        dx: &mut [T],
        accumulate: bool,
        scratch: Scratch,
    ) {
        self.check(cpu, dx, w, dy, &scratch);
        (self.row.backward_input)(cpu, &self.shape, dy, w, dx, accumulate, scratch);
    }

    /// dw = the gradient of w, db = that of the bias.
    ///
    /// # Panics
    /// If a length does not fit, or `cpu` is not like the one the kernel was chosen for.
    pub fn backward_weight(
        &self,
        cpu: &Cpu,
        x: &[T],
        dy: &[T],
        dw: &mut [f32],
        db: Option<&mut [f32]>,
        scratch: Scratch,
    ) {
        self.check(cpu, x, dw, dy, &scratch);
        let fits = db.as_ref().is_none_or(|db| db.len() == self.shape.c_out);
        assert!(fits, "convolution {}: wrong length of db", self.shape);
        (self.row.backward_weight)(cpu, &self.shape, x, dy, dw, db, scratch);
    }

    fn check(&self, cpu: &Cpu, x: &[T], w: &[f32], y: &[T], scratch: &Scratch) {
        let shape = &self.shape;
        assert!(
            x.len() == shape.x_len() && w.len() == shape.w_len() && y.len() == shape.y_len(),
            "convolution {shape}: x, w, y have {}, {}, {} numbers instead of {}, {}, {}",
            x.len(),
            w.len(),
            y.len(),
            shape.x_len(),
            shape.w_len(),
            shape.y_len()
        );
        self.check_cpu(cpu);
        assert!(
            scratch.holds(cpu, self.scratch_len),
            "convolution {shape}: scratch is shorter than {:?}",
            self.scratch_len
        );
    }

    fn check_cpu(&self, cpu: &Cpu) {
        let shape = &self.shape;
        assert!(
            cpu.threads() == self.threads && cpu.isa() == self.isa,
            "convolution {shape}: chosen for {} threads and {}, called with {} and {}",
            self.threads,
            self.isa,
            cpu.threads(),
            cpu.isa()
        );
    }
}

impl<T: Map> Clone for Conv2d<T> {
    fn clone(&self) -> Conv2d<T> {
        Conv2d { ..*self }
    }
}

impl<T: Map> std::fmt::Debug for Conv2d<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.row.name, self.shape)
    }
}
