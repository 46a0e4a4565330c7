use super::*;
use crate::data::testing::Refused;
use crate::data::{Memory, OpenOptions, open};

fn memory(shape: Shape, pixels: Vec<u8>) -> Memory {
    let count = pixels.len() / shape.len();
    Memory::new("train", shape, pixels, vec![0u8; count], vec!["a".into()]).unwrap()
}

fn channel(normalize: Normalize) -> (Vec<f32>, Vec<f32>) {
    match normalize {
        Normalize::Channel { mean, std } => (mean, std),
        Normalize::Pixel { .. } => panic!("per pixel"),
    }
}

#[test]
fn means_and_deviations_by_hand() {
    let data = memory(Shape::new(3, 1, 2), vec![0, 10, 255, 255, 10, 0, 0, 10, 255, 255, 10, 0]);
    let (mean, std) = channel(Normalize::channel(&data, 3).unwrap());
    assert_eq!(mean, [0.5, 10.0 / 255.0, 0.5]);
    assert_eq!(std, [0.5, 1.0, 0.5]);
    let grey = memory(Shape::new(1, 1, 2), vec![0, 255]);
    assert_eq!(channel(Normalize::channel(&grey, 3).unwrap()), (vec![0.5; 3], vec![0.5; 3]));
    let (mean, _) = channel(Normalize::channel(&data, 1).unwrap());
    assert!(
        (mean[0] - 0.5 * f32::from(luma([0, 10, 255]) + luma([255, 10, 0])) / 255.0).abs() < 1e-6
    );
}

#[test]
fn mean_picture_by_hand() {
    let data = memory(Shape::new(1, 1, 2), vec![0, 255, 255, 255]);
    let pixel = Normalize::pixel(&data, Shape::new(1, 1, 2)).unwrap();
    assert_eq!(pixel, Normalize::Pixel { mean: vec![0.5, 1.0] });
    let error = Normalize::pixel(&data, Shape::new(1, 2, 2)).unwrap_err().to_string();
    assert!(error.contains("input's 2 x 2 pixels, but these are 1 x 2"), "{error}");
}

#[test]
fn means_are_not_taken_of_what_the_system_happened_to_read() {
    let shape = Shape::new(1, 1, 2);
    let with = |kind| {
        let data = memory(shape, vec![0, 0, 255, 255]);
        let data = Refused { data: std::sync::Arc::new(data), index: 0, kind };
        [Normalize::channel(&data, 1), Normalize::pixel(&data, shape)]
    };
    for found in with(std::io::ErrorKind::OutOfMemory) {
        assert!(found.unwrap_err().is_of_system());
    }
    let [channel, pixel] = with(std::io::ErrorKind::PermissionDenied);
    assert_eq!(channel.unwrap(), Normalize::Channel { mean: vec![1.0], std: vec![1.0] });
    assert_eq!(pixel.unwrap(), Normalize::Pixel { mean: vec![1.0; 2] });
}

/// Published for all of Fashion-MNIST: mean 0.2860, standard deviation 0.3530; the selection is a
/// fifth of it.
#[test]
fn builtin_statistics() {
    let data = open("builtin", &OpenOptions::default()).unwrap().train;
    let (mean, std) = channel(Normalize::channel(data.as_ref(), 1).unwrap());
    assert!((mean[0] - 0.2860).abs() < 2e-3 && (std[0] - 0.3530).abs() < 2e-3, "{mean:?} {std:?}");
    assert_eq!(channel(Normalize::channel(data.as_ref(), 1).unwrap()), (mean, std));
}

#[test]
fn travels_as_json() {
    let mut preprocess = Preprocess {
        shape: Shape::new(3, 224, 224),
        resize: Some(256),
        normalize: Normalize::Channel { mean: vec![0.5, 0.25, 0.125], std: vec![1.0; 3] },
    };
    let text = serde_json::to_string(&preprocess).unwrap();
    assert_eq!(
        text,
        r#"{"shape":[3,224,224],"resize":256,"normalize":{"channel":{"mean":[0.5,0.25,0.125],"std":[1.0,1.0,1.0]}}}"#
    );
    assert_eq!(serde_json::from_str::<Preprocess>(&text).unwrap(), preprocess);

    preprocess.shape = Shape::new(1, 1, 2);
    preprocess.resize = None;
    preprocess.normalize = Normalize::Pixel { mean: vec![0.5, 0.5] };
    let text = serde_json::to_string(&preprocess).unwrap();
    assert_eq!(text, r#"{"shape":[1,1,2],"normalize":{"pixel":{}}}"#);
    let mut read: Preprocess = serde_json::from_str(&text).unwrap();
    assert!(read.check().unwrap_err().to_string().contains("mean has 0 numbers, the input 2"));
    read.set_pixel_mean(vec![0.5, 0.5]).unwrap();
    assert_eq!(read, preprocess);
    assert!(read.set_pixel_mean(vec![0.5]).is_err());
}

#[test]
fn nonsense_is_refused() {
    let good = |c: usize| Preprocess {
        shape: Shape::new(c, 4, 6),
        resize: None,
        normalize: Normalize::Channel { mean: vec![0.0; c], std: vec![1.0; c] },
    };
    good(3).check().unwrap();
    let refused = |change: &dyn Fn(&mut Preprocess)| {
        let mut preprocess = good(3);
        change(&mut preprocess);
        preprocess.check().unwrap_err().to_string()
    };
    assert!(good(2).check().is_err());
    assert!(refused(&|p| p.shape.w = 0).contains("4 x 0"));
    assert!(refused(&|p| p.shape.h = 1 << 40).contains("65535"));
    assert!(refused(&|p| p.resize = Some(5)).contains("resize is 5"));
    for std in [vec![1.0, 1.0], vec![0.0; 3], vec![-1.0; 3], vec![f32::NAN; 3]] {
        assert!(
            !refused(&|p| p.normalize = Normalize::Channel {
                mean: vec![0.0; 3],
                std: std.clone()
            })
            .is_empty()
        );
    }
}
