use super::*;
use crate::data::{Normalize, Preprocess};
use crate::measure::predict::Predictor;
use crate::model::{self, Model};
use crate::net::Arch;
use resnet_engine::exec::{self, Session};
use resnet_engine::graph::Shape;
use resnet_engine::plan::{Options, Plan};
use resnet_engine::step::Precision;

fn predictor() -> Predictor {
    let arch = Arch::parse("resnet8").unwrap();
    let shape = Shape::new(3, 32, 32);
    let graph = arch.graph(shape, 2).unwrap();
    let plan = Plan::build(&graph, Options::infer(1)).unwrap();
    let mut session = Session::new(exec::cpu(1).unwrap().as_ref(), plan).unwrap();
    model::initialise(&mut session, &graph, 5).unwrap();
    let normalize = Normalize::Channel { mean: vec![0.5; 3], std: vec![0.25; 3] };
    let preprocess = Preprocess { shape, resize: None, normalize };
    let classes = ["Ameise (rot)", "Käfer"].map(String::from).to_vec();
    let model = Model::of(&session, arch, classes, preprocess).unwrap();
    Predictor::new(model, Precision::F32, exec::cpu(1).unwrap().as_ref()).unwrap()
}

/// A map whose left half is empty and whose right edge is strong.
fn cam() -> Cam {
    let values = vec![0.0, 0.0, 0.5, 1.0];
    Cam { class: 1, height: 1, width: 4, alpha: vec![], values }
}

fn filled(width: usize, height: usize, colour: [u8; 3]) -> Image {
    Image { width, height, channels: 3, pixels: colour.repeat(width * height) }
}

fn drawn(cam: &Cam, image: &Image) -> image::RgbImage {
    image::load_from_memory(&predictor().overlay(cam, image)).unwrap().into_rgb8()
}

fn distance(a: &image::Rgb<u8>, b: &image::Rgb<u8>) -> u32 {
    a.0.iter().zip(b.0).map(|(a, b)| u32::from(a.abs_diff(b))).sum()
}

#[test]
fn a_map_is_seen_on_a_picture_of_any_colour() {
    let levels = [0, 127, 255];
    for i in 0..27 {
        let colour = [levels[i / 9], levels[i / 3 % 3], levels[i % 3]];
        let overlay = drawn(&cam(), &filled(64, 64, colour));
        // 64 pixels are enlarged six times.
        let [empty, middle, full] = [40, 250, 380].map(|x| overlay.get_pixel(x, 200));
        for (a, b) in [(empty, middle), (middle, full), (empty, full)] {
            assert!(distance(a, b) > 90, "{colour:?}: {a:?} beside {b:?}");
        }
        let row: Vec<u8> = (0..384)
            .map(|x| overlay.get_pixel(x, 200).0)
            .filter(|p| *p == [0; 3] || *p == [255; 3])
            .map(|p| p[0])
            .collect();
        assert!(
            row.windows(2).any(|p| p == [0, 255]),
            "{colour:?}: no line around the strong part"
        );
    }
}

#[test]
fn an_overlay_has_the_picture_its_unseen_rim_and_a_legend() {
    let image = filled(960, 480, [200, 100, 50]);
    let overlay = drawn(&cam(), &image);
    assert_eq!((overlay.width(), overlay.height()), (640, 320 + 56));
    // The network sees the middle 320 columns; those beside are dark and striped.
    let dark = (0.299 * 200.0 + 0.587 * 100.0 + 0.114 * 50.0) * UNSEEN;
    assert_eq!(overlay.get_pixel(1, 0).0, [dark.round() as u8; 3]);
    assert_eq!(overlay.get_pixel(0, 0).0, STRIPE.1);
    // The scale runs from the first colour to the last.
    let row: Vec<[u8; 3]> = (0..640).map(|x| overlay.get_pixel(x, 320 + 40).0).collect();
    for colour in [HEAT[0], HEAT[4]] {
        assert!(row.contains(&colour), "{row:?}");
    }
}

#[test]
fn the_legend_tells_classes_apart_and_says_where_there_is_nothing() {
    let image = filled(20, 30, [9; 3]);
    let strip = |cam: &Cam| {
        let overlay = drawn(cam, &image);
        assert!(overlay.width() >= 320);
        overlay.into_raw().split_off(384 * 3)
    };
    let mut empty = cam();
    empty.values.fill(0.0);
    let other = Cam { class: 0, ..cam() };
    assert_ne!(strip(&cam()), strip(&other));
    assert_ne!(strip(&cam()), strip(&empty));
}

#[test]
fn a_picture_of_any_shape_has_a_legend_that_fits() {
    for (width, height) in [(1, 1), (1, 900), (1300, 3), (28, 28), (321, 200)] {
        let overlay = drawn(&cam(), &filled(width, height, [80; 3]));
        assert!(overlay.width() >= 320 && overlay.height() > 56, "{width} x {height}");
    }
    let long = "a class whose name goes on and on ".repeat(20);
    let (width, pixels) = legend::below(vec![[0; 3]; 10], 10, &long, false);
    assert_eq!((width, pixels.len()), (320, 320 * 57));
}
