//! All that surrounds the products, on any CPU: plain loops stand in for the unit that multiplies.

use crate::conv::table::{Row, Rows};
use crate::conv::{Conv2dShape, Epilogue};
use crate::memory::CACHE_LINE;
use crate::{Bf16, Cpu, Isa, Number, Scratch};

/// Rims, steps, groups, few and many channels, blocks of several images and of parts of one,
/// several parts of the reduction.
const SHAPES: [&str; 24] = [
    "n2 ic64 ih7 oc64 k3 p1",
    "n3 ic32 ih14 oc48 k3 p1",
    "n2 ic16 ih32 oc16 k3 p1",
    "n2 ic16 ih12 oc32 k3 s2 p1",
    "n2 ic16 ih9 oc32 k1 s2",
    "n1 ic3 ih34 oc64 k7 s2 p3",
    "n2 ic3 ih16 oc16 k3 p1",
    "n1 ic256 ih7 oc40 k1",
    "n2 ic64 ih9 oc96 k1",
    "n1 ic288 ih6 oc17 k3 p1",
    "n1 ic32 ih5 iw9 oc33 k2",
    "n2 ic48 ih8 iw5 oc20 k3 s3 p2",
    "n1 ic40 ih9 oc24 k1 s3",
    "n2 ic64 ih6 oc64 k3 p1 g2",
    "n1 ic16 ih23 oc16 k3 p2",
    "n2 ic16 ih10 oc16 k3",
    "n1 ic5 ih11 oc16 k5 p2",
    "n7 ic16 ih4 oc16 k3 p1",
    "n1 ic24 ih4 oc16 k4",
    "n4 ic512 ih1 oc30 k1",
    "n1 ic20 ih3 oc18 k3 p3",
    "n1 ic32 ih47 oc32 k3 p1",
    "n1 ic32 ih9 oc160 k3 p2",
    "n1 ic608 ih10 oc32 k3",
];

/// A value that no sum of these integers is.
const CANARY: f32 = -1e30;

struct Results {
    y: Vec<Bf16>,
    y_all: Vec<Bf16>,
    dx: Vec<Bf16>,
    dw: Vec<f32>,
    db: Vec<f32>,
}

/// Small integers: their sums are exact in f32 in any order.
fn integers(len: usize, seed: &mut u32) -> Vec<f32> {
    let mut next = || {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*seed >> 24) as f32 % 7.0 - 3.0
    };
    (0..len).map(|_| next()).collect()
}

fn stored(x: &[f32]) -> Vec<Bf16> {
    x.iter().map(|&x| Bf16::of(x)).collect()
}

/// The kernels that multiply bf16 by any unit, and in tests by the plain one.
fn rows(shape: &Conv2dShape) -> impl Iterator<Item = &'static Row<Bf16>> {
    let rows = Bf16::ROWS.iter();
    rows.filter(|row| row.isa == Isa::Avx512Bf16 && (row.accepts)(shape))
}

/// All passes by this kernel, or by the plain one.
fn results(cpu: &Cpu, shape: &Conv2dShape, row: Option<&Row<Bf16>>) -> Results {
    let mut seed = 5;
    let x = stored(&integers(shape.x_len(), &mut seed));
    let dy = stored(&integers(shape.y_len(), &mut seed));
    let old = stored(&integers(shape.x_len(), &mut seed));
    let w = integers(shape.w_len(), &mut seed);
    let [scale, shift] = [(); 2].map(|()| integers(shape.c_out, &mut seed));
    let all =
        Epilogue { scale: Some(&scale), shift: Some(&shift), residual: Some(&dy), relu: true };
    let nothing = Epilogue::default();
    let mut r = Results {
        y: vec![Bf16::of(f32::NAN); dy.len()],
        y_all: vec![Bf16::of(f32::NAN); dy.len()],
        dx: old,
        dw: vec![f32::NAN; w.len()],
        db: vec![f32::NAN; shape.c_out],
    };
    let Some(row) = row else {
        let conv = crate::Conv2d::<Bf16>::choose(cpu, shape);
        let len = conv.scratch_len();
        let mut memory = vec![f32::NAN; len.total(cpu)];
        let mut s = Scratch::new(cpu, &mut memory, len);
        conv.forward(cpu, &x, &w, nothing, &mut r.y, s.again());
        conv.forward(cpu, &x, &w, all, &mut r.y_all, s.again());
        conv.backward_input(cpu, &dy, &w, &mut r.dx, true, s.again());
        conv.backward_weight(cpu, &x, &dy, &mut r.dw, Some(&mut r.db), s);
        return r;
    };
    let (packed_len, len) = ((row.packed_len)(cpu, shape), (row.scratch_len)(cpu, shape));
    let mut packed = vec![f32::NAN; packed_len];
    let (total, line) = (len.total(cpu), CACHE_LINE / size_of::<f32>());
    let mut memory = vec![CANARY; total + line];
    // What is not in whole cache lines is nobody's.
    let start = memory.as_ptr().align_offset(CACHE_LINE);
    let end = start + total - line;
    memory[start..end].fill(f32::NAN);
    (row.pack)(cpu, shape, &w, &mut packed);
    let mut s = Scratch::new(cpu, &mut memory[start..start + total], len);
    (row.forward)(cpu, shape, &x, &packed, nothing, &mut r.y, s.again());
    (row.forward)(cpu, shape, &x, &packed, all, &mut r.y_all, s.again());
    (row.backward_input)(cpu, shape, &dy, &w, &mut r.dx, true, s.again());
    (row.backward_weight)(cpu, shape, &x, &dy, &mut r.dw, Some(&mut r.db), s);
    let mut around = memory[..start].iter().chain(&memory[end..]);
    let whole = around.all(|&x| x == CANARY);
    assert!(whole, "{shape}: wrote outside its scratch");
    r
}

/// Small integers fit bf16 even where Winograd's transforms have added them up.
#[test]
fn integers_are_exact_for_any_number_of_threads() {
    let plain = Cpu::with_isa(Isa::Scalar, 1).unwrap().with_winograd(false);
    for shape in SHAPES {
        let shape: Conv2dShape = shape.parse().unwrap();
        let expected = results(&plain, &shape, None);
        assert!(rows(&shape).count() > 0, "{shape}");
        for (row, threads) in rows(&shape).flat_map(|row| [(row, 1), (row, 3)]) {
            let cpu = Cpu::with_isa(Isa::best_up_to(Isa::Avx512), threads).unwrap();
            let found = results(&cpu, &shape, Some(row));
            let name = row.name;
            let same = |what: &str, found: Vec<f32>, expected: Vec<f32>| {
                let off = found.iter().zip(&expected).position(|(a, b)| a != b);
                assert_eq!(off, None, "{name} {shape}, {threads} threads: {what} differs");
            };
            let wide = |x: &[Bf16]| x.iter().map(|x| x.get()).collect::<Vec<f32>>();
            same("y", wide(&found.y), wide(&expected.y));
            let (all, expected_all) = (wide(&found.y_all), wide(&expected.y_all));
            same("y with epilogue", all, expected_all);
            same("dx", wide(&found.dx), wide(&expected.dx));
            same("dw", found.dw, expected.dw.clone());
            same("db", found.db, expected.db.clone());
        }
    }
}
