//! Weight gradient: dw[k][o] = Σ over output pixels of x[pixel][k] · dy[pixel][o], k running over
//! taps and channels.
//!
//! Where the unit multiplies columns, pairs of pixels of x and of dy are multiplied as they lie
//! (`columns`, and `narrow` for sixteen channels). AMX wants rows of x transposed (`rows`), and
//! they are faster too where few channels share what is laid out, or do not fill vectors.
//!
//! Blocks are cut into chunks by shape alone; each chunk's dw is kept apart and they are added in
//! order, so the number of threads changes nothing. Where dw is large there are few chunks, and
//! channels on both sides are split instead.

mod columns;
mod narrow;
mod plan;
mod rows;

use super::transpose;
use crate::conv::bias;
use crate::conv::partials::add_partials;
use crate::conv::shape::Conv2dShape;
use crate::conv::unit::Unit;
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::split::range;
use crate::{Bf16, Cpu, Scratch, ScratchLen, scratch};
use plan::{Gradient, Plan, Way};

/// The best way for `shape`.
fn way(unit: Unit, shape: &Conv2dShape) -> Way {
    if !unit.multiplies_columns() {
        Way::Rows
    } else if narrow::accepts(shape) {
        Way::Narrow
    } else if columns::accepts(shape) {
        Way::Columns
    } else {
        Way::Rows
    }
}

/// Words of scratch.
pub(super) fn scratch_len(cpu: &Cpu, shape: &Conv2dShape) -> ScratchLen {
    let len = plan_len(&Plan::new(way(Unit::of(cpu), shape), shape));
    ScratchLen { shared: len.shared.max(bias::scratch_len(shape)), ..len }
}

/// Words of scratch, without a bias.
fn plan_len(plan: &Plan) -> ScratchLen {
    let shared = plan.partial();
    match plan.way {
        Way::Rows => ScratchLen::of(shared, &rows::parts(plan)),
        Way::Columns => ScratchLen::of(shared, &columns::parts(plan)),
        Way::Narrow => ScratchLen::of(shared, &narrow::parts(plan)),
    }
}

/// dw = the gradient of w, db = that of the bias.
pub(in crate::conv) fn backward_weight(
    cpu: &Cpu,
    shape: &Conv2dShape,
    x: &[Bf16],
    dy: &[Bf16],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    mut scratch: Scratch,
) {
    if let Some(db) = db {
        bias::backward(cpu, dy, db, scratch.again().shared());
    }
    let unit = Unit::of(cpu);
    let plan = Plan::new(way(unit, shape), shape);
    run(cpu, unit, &plan, x, dy, dw, scratch);
}

fn run(
    cpu: &Cpu,
    unit: Unit,
    plan: &Plan,
    x: &[Bf16],
    dy: &[Bf16],
    dw: &mut [f32],
    mut scratch: Scratch,
) {
    let Conv2dShape { c_out, groups, .. } = plan.shape;
    let len = plan.shape.w_len();
    let partial = scratch.take(plan.partial());
    let single = plan.chunks == 1;
    let target = Parts::new(if single { &mut *dw } else { &mut *partial });
    let splits = plan.split_in * plan.split_out;
    let tasks = plan.chunks * groups * splits;
    scratch::parallel(cpu, tasks, scratch, |own, task| {
        let (task, part) = (task / splits, task % splits);
        let channels = range(c_out / groups, plan.part_out(), part % plan.split_out);
        let (group, chunk) = (task % groups, task / groups);
        if !channels.is_empty() {
            cpu.run(Gradient {
                plan,
                unit,
                group,
                chunk,
                part: part / plan.split_out,
                channels,
                x,
                dy,
                dw: target.start_of(chunk * len..(chunk + 1) * len),
                scratch: own.memory,
            });
        }
    });
    if !single {
        add_partials(cpu, partial, dw);
    }
}

impl Task for Gradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.plan.way {
            Way::Rows => rows::run(s, self),
            Way::Columns => columns::run(s, self),
            Way::Narrow => narrow::run(s, self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Number};

    /// Rims, steps, groups, odd numbers of outputs, blocks of several images and of parts of one,
    /// several blocks in a chunk, a row longer than a block, parts of channels on both sides, with
    /// several blocks that are fetched ahead and with larger ones.
    const SHAPES: [&str; 17] = [
        "n2 ic64 ih9 oc96 k1",
        "n3 ic40 ih7 oc16 k1 s2",
        "n2 ic16 ih12 oc32 k3 s2 p1",
        "n7 ic16 ih4 oc16 k3 p1",
        "n1 ic16 ih23 oc16 k3 p2",
        "n1 ic48 ih31 oc32 k3 s2 p1",
        "n2 ic48 ih8 iw5 oc48 k3 s3 p2",
        "n2 ic64 ih6 oc64 k3 p1 g2",
        "n1 ic24 ih4 oc16 k4",
        "n4 ic512 ih1 oc48 k1",
        "n1 ic1024 ih7 oc544 k1",
        "n1 ic256 ih6 oc512 k3 s2 p1",
        "n1 ic128 ih23 oc512 k3 p1 g2",
        "n1 ic16 ih2 iw300 oc64 k3 p1",
        "n5 ic16 ih32 oc16 k3 p1",
        "n1 ic256 ih20 oc512 k1",
        "n1 ic512 ih20 oc768 k1",
    ];

    #[test]
    fn every_way_sums_up_the_same_integers() {
        let cpu = Cpu::with_isa(Isa::best_up_to(Isa::Avx512), 3).unwrap();
        let unit = Unit::of(&cpu);
        let integers = |len: usize, step: usize| -> Vec<Bf16> {
            let number = |i: usize| (i * step % 31 % 7) as f32 - 3.0;
            (0..len).map(|i| Bf16::of(number(i))).collect()
        };
        for shape in SHAPES {
            let shape: Conv2dShape = shape.parse().unwrap();
            let (x, dy) = (integers(shape.x_len(), 5), integers(shape.y_len(), 11));
            let by = |plan: Plan| {
                let len = plan_len(&plan);
                let mut memory = vec![f32::NAN; len.total(&cpu)];
                let scratch = Scratch::new(&cpu, &mut memory, len);
                let mut dw = vec![f32::NAN; shape.w_len()];
                run(&cpu, unit, &plan, &x, &dy, &mut dw, scratch);
                dw
            };
            let expected = by(Plan::new(Way::Rows, &shape));
            assert!(expected.iter().any(|&dw| dw != 0.0), "{shape}");
            let others =
                [(Way::Columns, columns::accepts(&shape)), (Way::Narrow, narrow::accepts(&shape))];
            for (way, _) in others.into_iter().filter(|&(_, accepts)| accepts) {
                let plan = Plan::new(way, &shape);
                // In a single chunk blocks follow each other.
                for plan in [plan, Plan { chunks: 1, ..plan }] {
                    assert!(by(plan) == expected, "{shape}: {way:?} and rows differ");
                }
            }
        }
    }
}
