use std::collections::{HashMap, HashSet};

use resnet_kernels::{
    Bf16, CACHE_LINE, Conv2d, Conv2dShape, Cpu, Epilogue, Isa, Map, Packing, Scratch, line_start,
    reference,
};

use crate::support::{
    Fenced, Random, assert_near, assert_same_bits, cpus, rounded, rounding, stored, wide,
};

/// Layers of real networks at a small batch, and shapes that leave something over everywhere.
const SHAPES: &str = "
    n2 ic3 ih32 oc16 k3 p1
    n3 ic16 ih32 oc16 k3 p1
    n2 ic16 ih32 oc32 k3 s2 p1
    n2 ic16 ih32 oc32 k1 s2
    n3 ic32 ih16 oc32 k3 p1
    n7 ic64 ih8 oc64 k3 p1
    n1 ic3 ih64 oc64 k7 s2 p3
    n1 ic64 ih14 oc64 k3 p1
    n1 ic64 ih14 oc256 k1
    n2 ic256 ih7 oc64 k1
    n1 ic256 ih8 oc200 k1 s2
    n1 ic128 ih14 oc64 k3 s2 p1
    n2 ic512 ih7 oc48 k3 p1
    n1 ic40 ih7 oc512 k3 p1
    n1 ic128 ih14 oc128 k3 p1 g32
    n1 ic128 ih14 oc128 k3 s2 p1 g32
    n2 ic12 ih9 oc18 k3 s2 p1 g3
    n2 ic32 ih6 oc16 k1 g2
    n1 ic8 ih6 oc8 k3 p1 g8
    n4 ic512 ih1 oc10 k1
    n9 ic700 ih1 oc37 k1
    n1 ic1 ih28 oc6 k5 p2
    n2 ic5 ih7 iw11 oc3 k3 s3 p2
    n1 ic2 ih5 iw3 oc33 k2 s1 p0
    n2 ic3 ih6 iw7 oc9 k1 s3
    n1 ic4 ih9 oc5 k2 s4
    n1 ic3 ih4 oc2 k4
    n1 ic7 ih3 oc17 k3 p3
    n1 ic65 ih2 oc31 k3 s2 p2
    n3 ic32 ih13 iw22 oc48 k3 p1
    n1 ic16 ih23 oc16 k3 p2
    n4 ic48 ih10 iw12 oc80 k3
    n13 ic16 ih5 iw6 oc32 k3 p1
    n5 ic304 ih9 oc16 k3 p1
    n5 ic16 ih32 oc80 k3 p1
    n1 ic8 ih8 iw3 oc8 k1 s7 p2
    n8 ic16 ih8 oc272 k3 p1
    n1 ic32 ih91 oc32 k3 p1
    n1 ic32 ih9 oc160 k3 p2
    n1 ic608 ih10 oc32 k3
    n2 ic16 ih10 oc16 k3
    n5 ic1 ih1 oc1 k1";

pub(crate) fn shapes() -> Vec<Conv2dShape> {
    let listed =
        SHAPES.lines().filter(|line| !line.trim().is_empty()).map(|line| line.parse().unwrap());
    listed.chain(random_shapes(40)).collect()
}

/// Odd shapes: every remainder of pixels and channels by the tiles' sides comes up.
fn random_shapes(count: usize) -> Vec<Conv2dShape> {
    let mut random = Random(1);
    let mut shapes = Vec::new();
    while shapes.len() < count {
        let groups = [1, 1, 1, 2, 3][random.below(5)];
        let shape = Conv2dShape {
            n: 1 + random.below(3),
            h: 1 + random.below(9),
            w: 1 + random.below(9),
            c_in: groups * (1 + random.below(20)),
            c_out: groups * (1 + random.below(40)),
            kernel: 1 + random.below(4),
            stride: 1 + random.below(3),
            padding: random.below(3),
            groups,
        };
        if shape.check().is_ok() {
            shapes.push(shape);
        }
    }
    shapes
}

struct Operands {
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    dy: Vec<f32>,
    dx: Vec<f32>,
    scale: Vec<f32>,
}

/// How numbers are drawn.
type Make = fn(&mut Random, usize) -> Vec<f32>;

impl Operands {
    /// What is multiplied or read from a map is rounded to `T`.
    fn new<T: Map>(shape: &Conv2dShape, make: Make) -> Operands {
        let mut random = Random(7);
        let make_rounded = |random: &mut Random, len| rounded::<T>(make(random, len));
        Operands {
            x: make_rounded(&mut random, shape.x_len()),
            w: make_rounded(&mut random, shape.w_len()),
            b: make(&mut random, shape.c_out),
            dy: make_rounded(&mut random, shape.y_len()),
            dx: make_rounded(&mut random, shape.x_len()),
            scale: make(&mut random, shape.c_out),
        }
    }
}

/// Results of all passes in order: y, with bias, with everything an epilogue has (dy being the
/// residual), dx, dx added to, dw, dw again, db.
fn run<T: Map>(cpu: &Cpu, conv: &Conv2d<T>, o: &Operands) -> [Vec<f32>; 8] {
    let shape = conv.shape();
    let what = format!("{} {shape}", conv.name());
    let len = conv.scratch_len();
    let mut memory = Fenced::scratch(len.total(cpu));
    let mut scratch = Scratch::new(cpu, memory.get(), len);
    let [x, dy] = [&o.x, &o.dy].map(|from| from.iter().map(|&x| T::of(x)).collect::<Vec<T>>());
    let nan = |len| Fenced::<T>::new(&vec![f32::NAN; len]);
    let [mut y, mut y_bias, mut y_all] = [(); 3].map(|()| nan(shape.y_len()));
    let [mut dx, mut dx_added] = [nan(shape.x_len()), Fenced::new(&o.dx)];
    let lens = [shape.w_len(), shape.w_len(), shape.c_out];
    let [mut dw, mut dw_alone, mut db] = lens.map(Fenced::<f32>::scratch);
    let mut forward = |epilogue, y: &mut Fenced<T>| {
        conv.forward(cpu, &x, &o.w, epilogue, y.get(), scratch.again());
    };
    let bias = Epilogue { shift: Some(&o.b), ..Epilogue::default() };
    let all = Epilogue { scale: Some(&o.scale), residual: Some(&dy), relu: true, ..bias };
    forward(Epilogue::default(), &mut y);
    forward(bias, &mut y_bias);
    forward(all, &mut y_all);
    conv.backward_input(cpu, &dy, &o.w, dx.get(), false, scratch.again());
    conv.backward_input(cpu, &dy, &o.w, dx_added.get(), true, scratch.again());
    conv.backward_weight(cpu, &x, &dy, dw.get(), Some(db.get()), scratch.again());
    conv.backward_weight(cpu, &x, &dy, dw_alone.get(), None, scratch);
    // The scratch is cut to whole cache lines, so that some numbers around it are nobody's.
    let skip = memory.get().as_ptr().align_offset(CACHE_LINE);
    let memory = memory.take(&what);
    let end = memory.len() - CACHE_LINE / size_of::<f32>() + skip;
    let mut around = memory[..skip].iter().chain(&memory[end..]);
    assert!(around.all(|x| x.is_nan()), "{what}: wrote outside its scratch");
    let [y, y_bias, y_all, dx, dx_added] =
        [y, y_bias, y_all, dx, dx_added].map(|mut buffer| buffer.take(&what));
    let [dw, dw_alone, db] = [dw, dw_alone, db].map(|mut buffer| buffer.take(&what));
    [y, y_bias, y_all, dx, dx_added, dw, dw_alone, db]
}

/// Every kernel that takes `shape`, with the CPU it is for.
fn kernels<'a, T: Map>(
    cpus: &'a [Cpu],
    shape: &'a Conv2dShape,
) -> impl Iterator<Item = (&'a Cpu, Conv2d<T>)> {
    cpus.iter().flat_map(|cpu| {
        let candidates = Conv2d::candidates(cpu, shape).into_iter();
        candidates.map(move |conv| (cpu, conv))
    })
}

fn expected(shape: &Conv2dShape, o: &Operands) -> [Vec<f64>; 8] {
    let (x, w, b, dy) = (wide(&o.x), wide(&o.w), wide(&o.b), wide(&o.dy));
    let y = reference::conv2d_forward(shape, &x, &w, None);
    let y_bias = reference::conv2d_forward(shape, &x, &w, Some(&b));
    let y_all = y.iter().zip(&dy).enumerate().map(|(i, (y, r))| {
        let c = i % shape.c_out;
        (y * f64::from(o.scale[c]) + b[c] + r).max(0.0)
    });
    let y_all = y_all.collect();
    let dx = reference::conv2d_backward_input(shape, &dy, &w);
    let dx_added = dx.iter().zip(wide(&o.dx)).map(|(a, b)| a + b).collect();
    let dw = reference::conv2d_backward_weight(shape, &x, &dy);
    let db = reference::conv2d_backward_bias(shape.c_out, &dy);
    [y, y_bias, y_all, dx, dx_added, dw.clone(), dw, db]
}

const NAMES: [&str; 8] =
    ["y", "y with bias", "y with epilogue", "dx", "dx added to", "dw", "dw without db", "db"];

/// How many of the results are maps, stored as `T`.
const MAPS: usize = 5;

#[test]
fn integers_are_exact() {
    integers_are_exact_as::<f32>();
    integers_are_exact_as::<Bf16>();
}

/// Maps are the exact results, rounded once.
fn integers_are_exact_as<T: Map>() {
    let cpus = cpus();
    for shape in shapes() {
        let operands = Operands::new::<T>(&shape, Random::integers);
        let mut expected = expected(&shape, &operands);
        for map in &mut expected[..MAPS] {
            *map = stored::<T>(map);
        }
        for (cpu, conv) in kernels::<T>(&cpus, &shape).filter(|(_, conv)| conv.is_direct()) {
            for ((name, found), expected) in
                NAMES.iter().zip(run(cpu, &conv, &operands)).zip(&expected)
            {
                assert_near(&format!("{name}, {conv:?}"), &found, expected, 0.0, 0.0);
            }
        }
    }
}

#[test]
fn reals_stay_within_the_error_of_f32_sums() {
    reals_stay_within_the_error_of_f32_sums_as::<f32>();
    reals_stay_within_the_error_of_f32_sums_as::<Bf16>();
}

fn reals_stay_within_the_error_of_f32_sums_as<T: Map>() {
    let cpus = cpus();
    for shape in shapes() {
        let operands = Operands::new::<T>(&shape, Random::reals);
        let expected = expected(&shape, &operands);
        let pixels = shape.y_len() / shape.c_out;
        let depth = shape.w_len() / shape.c_out;
        let width = depth / (shape.c_in / shape.groups) * (shape.c_out / shape.groups);
        let terms = [depth, depth + 1, depth + 2, width, width + 1, pixels, pixels, pixels];
        for (cpu, conv) in kernels::<T>(&cpus, &shape) {
            for (i, found) in run(cpu, &conv, &operands).iter().enumerate() {
                // Terms are below 1; a sum of k of them is off by at most k roundings of k halves
                // of an epsilon.
                let k = terms[i] as f64;
                let direct = f64::from(f32::EPSILON) * (1.0 + k * k.sqrt());
                let bound = if conv.is_direct() || NAMES[i] == "db" {
                    direct
                } else if conv.multiplies_bf16() {
                    // The points are rounded: a sum is typically off by a quarter of its terms'
                    // rounding.
                    direct.max(2.0 * rounding::<Bf16>() * k.sqrt())
                } else {
                    // The tiles' transforms have rows that sum to as much as ten, twice; the
                    // typical error is a few times that of the sum itself (see below), the worst of
                    // many numbers more.
                    direct.max(f64::from(f32::EPSILON) * 100.0 * k.sqrt())
                };
                let relative = if i < MAPS { rounding::<T>() } else { 0.0 };
                let what = format!("{}, {conv:?}", NAMES[i]);
                assert_near(&what, found, &expected[i], bound, relative);
            }
        }
    }
}

#[test]
fn winograd_costs_less_than_four_bits() {
    let shape: Conv2dShape = "n4 ic64 ih16 oc64 k3 p1".parse().unwrap();
    let operands = Operands::new::<f32>(&shape, Random::reals);
    let expected = expected(&shape, &operands);
    let cpus = [Cpu::with_isa(Isa::best_up_to(Isa::Avx512), 2).unwrap()];
    let rms = |direct: bool| -> Vec<f64> {
        let (cpu, conv) =
            kernels::<f32>(&cpus, &shape).find(|(_, conv)| conv.is_direct() == direct).unwrap();
        let error = |(found, expected): (&Vec<f32>, &Vec<f64>)| {
            let squares = found.iter().zip(expected).map(|(&a, b)| (f64::from(a) - b).powi(2));
            (squares.sum::<f64>() / expected.len() as f64).sqrt()
        };
        run(cpu, &conv, &operands).iter().zip(&expected).map(error).collect()
    };
    for (i, (direct, winograd)) in rms(true).into_iter().zip(rms(false)).enumerate() {
        assert!(
            winograd < 16.0 * direct,
            "{}: {winograd:e} against {direct:e} of the plain sum",
            NAMES[i]
        );
    }
}

#[test]
fn winograd_is_taken_where_it_pays_and_can_be_switched_off() {
    let cpu = Cpu::with_isa(Isa::best_up_to(Isa::Avx512), 1).unwrap();
    let direct =
        |cpu: &Cpu, shape: &str| Conv2d::<f32>::choose(cpu, &shape.parse().unwrap()).is_direct();
    for taken in ["n128 ic16 ih32 oc16 k3 p1", "n1 ic512 ih7 oc512 k3 p1"] {
        assert!(!direct(&cpu, taken), "{taken}");
    }
    for other in
        ["n128 ic16 ih32 oc32 k3 s2 p1", "n8 ic64 ih56 oc256 k1", "n1 ic512 ih4 oc512 k3 p1"]
    {
        assert!(direct(&cpu, other), "{other}");
    }
    assert!(direct(&cpu.with_winograd(false), "n128 ic16 ih32 oc16 k3 p1"));
}

#[test]
fn an_epilogue_keeps_nan() {
    an_epilogue_keeps_nan_as::<f32>();
    an_epilogue_keeps_nan_as::<Bf16>();
}

fn an_epilogue_keeps_nan_as<T: Map>() {
    let cpus = cpus();
    // Vectors that are filled, and that are not.
    for shape in ["n2 ic16 ih12 oc16 k3 p1", "n2 ic16 ih12 oc48 k3 p1"] {
        let shape: Conv2dShape = shape.parse().unwrap();
        for part in 0..4 {
            let mut o = Operands::new::<T>(&shape, Random::reals);
            // x, shift, scale, residual.
            [&mut o.x, &mut o.b, &mut o.scale, &mut o.dy][part][5] = f32::NAN;
            for (cpu, conv) in kernels::<T>(&cpus, &shape) {
                let [_, _, y, ..] = run(cpu, &conv, &o);
                assert!(y.iter().any(|y| y.is_nan()), "{conv:?}, part {part}");
            }
        }
    }
}

#[test]
fn packed_weights_are_for_the_cpu_that_the_kernel_was_chosen_for() {
    let shape: Conv2dShape = "ic2 ih4 oc3 k3 p1".parse().unwrap();
    let conv = Conv2d::<f32>::choose(&Cpu::with_isa(Isa::Scalar, 1).unwrap(), &shape);
    let pack = |cpu: Cpu| {
        let mut packed = vec![0.0; conv.packed_len()];
        let w = vec![0.0; shape.w_len()];
        let packed = std::panic::AssertUnwindSafe(|| conv.pack(&cpu, &w, &mut packed));
        let refused = std::panic::catch_unwind(packed).unwrap_err();
        refused.downcast_ref::<String>().cloned().unwrap_or_default()
    };
    let error = pack(Cpu::with_isa(Isa::Scalar, 2).unwrap());
    assert!(error.contains("chosen for 1 threads and scalar, called with 2"), "{error}");
    // A machine with nothing better has no other instruction set to mix up.
    let best = Isa::best_up_to(Isa::Amx);
    if best > Isa::Scalar {
        let error = pack(Cpu::with_isa(best, 1).unwrap());
        assert!(error.contains("chosen for 1 threads and scalar, called with 1"), "{error}");
    }
}

/// The weights as `conv` lays them out, in zeroed memory from a cache line on.
fn pack<T: Map>(cpu: &Cpu, conv: &Conv2d<T>, w: &[f32]) -> Vec<f32> {
    let mut memory = vec![0.0; conv.packed_len() + CACHE_LINE];
    let start = line_start(&memory);
    let packed = &mut memory[start..][..conv.packed_len()];
    conv.pack(cpu, w, packed);
    packed.to_vec()
}

#[test]
fn equal_packings_are_the_same_words() {
    equal_packings_are_the_same_words_as::<f32>();
    equal_packings_are_the_same_words_as::<Bf16>();
}

/// Every kernel has one packing for all images, steps and rims, and for any number of threads.
fn equal_packings_are_the_same_words_as<T: Map>() {
    let mut packed: HashMap<Packing, (String, Vec<f32>)> = HashMap::new();
    for isa in Isa::available() {
        let cpus = [1, 2].map(|threads| Cpu::with_isa(isa, threads).unwrap());
        for shape in shapes() {
            let w = Random(7).reals(shape.w_len());
            let mut found: HashMap<&str, Packing> = HashMap::new();
            for shape in [
                shape,
                Conv2dShape { n: shape.n + 20, ..shape },
                Conv2dShape { h: shape.h + 9, w: shape.w + 6, ..shape },
                Conv2dShape { stride: shape.stride + 1, ..shape },
                Conv2dShape { padding: shape.padding + 1, h: shape.h + 1, ..shape },
            ] {
                for (cpu, conv) in kernels::<T>(&cpus, &shape) {
                    let packing = conv.packing();
                    let same = found.entry(conv.name()).or_insert_with(|| packing.clone());
                    assert_eq!(*same, packing, "{conv:?}");
                    let words = pack(cpu, &conv, &w);
                    let what = format!("{conv:?}, {} threads", cpu.threads());
                    let (first, expected) =
                        packed.entry(packing).or_insert_with(|| (what.clone(), words.clone()));
                    assert_same_bits(&format!("{what} and {first}"), &words, expected);
                }
            }
        }
    }
}

#[test]
fn packings_of_other_weights_differ() {
    let cpu = Cpu::new(1);
    let packing = |shape: &str| Conv2d::<f32>::choose(&cpu, &shape.parse().unwrap()).packing();
    let all = [
        "ic8 ih4 oc8 k3 p1",
        "ic8 ih4 oc8 k1",
        "ic4 ih4 oc8 k3 p1",
        "ic8 ih4 oc4 k3 p1",
        "ic8 ih4 oc8 k3 p1 g2",
    ];
    let different: HashSet<Packing> = all.into_iter().map(packing).collect();
    assert_eq!(different.len(), all.len());
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    any_number_of_threads_gives_the_same_bits_as::<f32>();
    any_number_of_threads_gives_the_same_bits_as::<Bf16>();
}

fn any_number_of_threads_gives_the_same_bits_as<T: Map>() {
    for isa in Isa::available() {
        for shape in shapes() {
            let operands = Operands::new::<T>(&shape, Random::reals);
            let results = |threads| -> Vec<_> {
                let cpus = [Cpu::with_isa(isa, threads).unwrap()];
                kernels::<T>(&cpus, &shape)
                    .map(|(cpu, conv)| (format!("{conv:?}"), run(cpu, &conv, &operands)))
                    .collect()
            };
            let one = results(1);
            for threads in [2, 3, 7] {
                for ((conv, one), (_, more)) in one.iter().zip(results(threads)) {
                    for ((name, one), more) in NAMES.iter().zip(one).zip(&more) {
                        assert_same_bits(&format!("{name}, {conv}, {threads} threads"), more, one);
                    }
                }
            }
        }
    }
}

/// What all threads have packed serves each of them alone.
#[test]
fn a_solo_cpu_gives_the_bits_of_the_whole() {
    a_solo_cpu_gives_the_bits_of_the_whole_as::<f32>();
    a_solo_cpu_gives_the_bits_of_the_whole_as::<Bf16>();
}

fn a_solo_cpu_gives_the_bits_of_the_whole_as<T: Map>() {
    for isa in Isa::available() {
        for switch in [true, false] {
            let whole = Cpu::with_isa(isa, 3).unwrap().with_winograd(switch);
            let solo = whole.solo();
            assert_eq!((solo.threads(), solo.isa(), solo.winograd()), (1, isa, switch));
            for shape in shapes() {
                let o = Operands::new::<T>(&shape, Random::reals);
                let x: Vec<T> = o.x.iter().map(|&x| T::of(x)).collect();
                let [packed_by, alone] =
                    [&whole, &solo].map(|cpu| Conv2d::<T>::choose(cpu, &shape));
                assert_eq!(packed_by.packing(), alone.packing());
                let packed = pack(&whole, &packed_by, &o.w);
                let [one, other] = [(&whole, &packed_by), (&solo, &alone)].map(|(cpu, conv)| {
                    let len = conv.packed_scratch_len();
                    let mut memory = vec![f32::NAN; len.total(cpu)];
                    let scratch = Scratch::new(cpu, &mut memory, len);
                    let mut y = vec![T::of(f32::NAN); shape.y_len()];
                    conv.forward_packed(cpu, &x, &packed, Epilogue::default(), &mut y, scratch);
                    y.iter().map(|y| y.get()).collect::<Vec<f32>>()
                });
                assert_same_bits(&format!("{alone:?}"), &other, &one);
            }
        }
    }
}

#[test]
#[should_panic(
    expected = "convolution n1 ic2 ih4 iw4 oc3 k3 s1 p1 g1: x, w, y have 31, 54, 48 numbers instead of 32"
)]
fn a_wrong_length_is_named() {
    let cpu = Cpu::new(1);
    let conv = Conv2d::choose(&cpu, &"ic2 ih4 oc3 k3 p1".parse().unwrap());
    let mut memory = vec![0.0; conv.scratch_len().total(&cpu)];
    let scratch = Scratch::new(&cpu, &mut memory, conv.scratch_len());
    conv.forward(&cpu, &[0.0; 31], &[0.0; 54], Epilogue::default(), &mut [0.0; 48], scratch);
}
