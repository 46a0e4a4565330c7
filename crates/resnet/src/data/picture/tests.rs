use super::super::testing::{TempDir, cases, flat_png, jpeg, pattern, png, shared};
use super::*;

fn read(bytes: &[u8]) -> Result<Image, String> {
    let dir = TempDir::new("picture");
    let mut image = Image::default();
    // The name says nothing: content decides.
    match read_picture(&dir.write("picture.txt", bytes), &mut image) {
        Ok(()) => Ok(image),
        Err(error) => {
            let text = error.to_string();
            let (_, reason) = text.split_once("picture.txt: ").expect("the error names the file");
            Err(reason.to_string())
        }
    }
}

fn reason(bytes: &[u8]) -> String {
    read(bytes).expect_err("the picture was read")
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(&a, &b)| a.abs_diff(b)).max().unwrap_or(0)
}

/// Puts a segment of EXIF data with an orientation behind the start of a JPEG.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif =
        b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
    exif[25] = orientation;
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn every_orientation_stands_upright() {
    // Four grey corners, in a picture of 48 x 32: what is stored, clockwise from the top left, is
    // 0, 80, 160, 240.
    let mut stored = Image { width: 48, height: 32, channels: 1, pixels: vec![0; 48 * 32] };
    for (at, pixel) in stored.pixels.iter_mut().enumerate() {
        let (right, low) = (at % 48 >= 24, at / 48 >= 16);
        *pixel = [[0, 80], [240, 160]][usize::from(low)][usize::from(right)];
    }
    let plain = jpeg(&stored, 95);
    // The same corners when the picture stands upright, by the EXIF standard: 3 is turned half, 6 a
    // quarter clockwise, ...
    let upright: [[u8; 4]; 8] = [
        [0, 80, 160, 240],
        [80, 0, 240, 160],
        [160, 240, 0, 80],
        [240, 160, 80, 0],
        [0, 240, 160, 80],
        [240, 0, 80, 160],
        [160, 80, 0, 240],
        [80, 160, 240, 0],
    ];
    for (orientation, corners) in (1..=8).zip(upright) {
        let image = read(&with_orientation(&plain, orientation)).unwrap();
        let (w, h) = (image.width, image.height);
        assert_eq!((w, h), if orientation < 5 { (48, 32) } else { (32, 48) });
        let at = |x: usize, y: usize| image.pixels[(y * w + x) * 3];
        let found = [at(4, 4), at(w - 5, 4), at(w - 5, h - 5), at(4, h - 5)];
        assert!(
            largest_difference(&found, &corners) <= 2,
            "orientation {orientation}: {found:?}, not {corners:?}"
        );
    }
    for orientation in [0, 9, 255] {
        assert_eq!(read(&with_orientation(&plain, orientation)).unwrap(), read(&plain).unwrap());
    }
}

#[test]
fn jpegs_of_every_colour_become_rgb() {
    let color = read(&jpeg(&pattern(20, 10, 3), 100)).unwrap();
    assert_eq!((color.width, color.height, color.channels), (20, 10, 3));
    let grey = read(&jpeg(&pattern(20, 10, 1), 100)).unwrap();
    assert!(grey.pixels.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b));

    let cmyk = read(include_bytes!("../fixtures/cmyk.jpg")).unwrap();
    let difference = largest_difference(&cmyk.pixels, include_bytes!("../fixtures/cmyk.rgb"));
    assert!(difference <= 3, "{difference}");
    assert!(
        largest_difference(&cmyk.pixels[..3], &[0, 255, 255]) <= 3,
        "cyan is {:?}",
        &cmyk.pixels[..3]
    );

    let progressive = read(include_bytes!("../fixtures/progressive.jpg")).unwrap();
    let expected = include_bytes!("../fixtures/progressive.rgb");
    let difference: u64 =
        progressive.pixels.iter().zip(expected).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum();
    assert!(difference <= 2 * expected.len() as u64, "{difference}");
}

#[test]
fn pngs_of_every_kind_become_rgb() {
    let image = read(&flat_png(3, 2, [1, 2, 3])).unwrap();
    assert_eq!((image.width, image.height, image.channels), (3, 2, 3));
    assert_eq!(image.pixels, [1, 2, 3].repeat(6));

    let deep = read(&png(
        [2, 1],
        16,
        2,
        &[],
        &[vec![0xff, 0xff, 0x80, 0x80, 0, 0, 0x12, 0x34, 0x56, 0x78, 0, 1]],
    ))
    .unwrap();
    assert!(
        largest_difference(&deep.pixels, &[255, 128, 0, 0x12, 0x56, 0]) <= 1,
        "{:?}",
        deep.pixels
    );
    let deep_grey = read(&png([2, 1], 16, 0, &[], &[vec![0xff, 0xff, 0, 0]])).unwrap();
    assert_eq!(deep_grey.pixels, [255, 255, 255, 0, 0, 0]);

    let bits = read(&png([8, 1], 1, 0, &[], &[vec![0b1010_0000]])).unwrap();
    assert_eq!(bits.pixels[..9], [255, 255, 255, 0, 0, 0, 255, 255, 255]);

    let palette: (&[u8; 4], &[u8]) = (b"PLTE", &[9, 8, 7, 100, 110, 120]);
    let indexed = read(&png([2, 1], 8, 3, &[palette], &[vec![1, 0]])).unwrap();
    assert_eq!(indexed.pixels, [100, 110, 120, 9, 8, 7]);
}

#[test]
fn transparency_is_laid_over_white() {
    let rgba = png([3, 1], 8, 6, &[], &[vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 51]]);
    assert_eq!(read(&rgba).unwrap().pixels, [10, 20, 30, 255, 255, 255, 204, 224, 244]);
    let grey = png([2, 1], 8, 4, &[], &[vec![0, 0, 50, 255]]);
    assert_eq!(read(&grey).unwrap().pixels, [255, 255, 255, 50, 50, 50]);
    let chunks: [(&[u8; 4], &[u8]); 2] = [(b"PLTE", &[9, 8, 7, 1, 2, 3]), (b"tRNS", &[0])];
    let indexed = png([2, 1], 8, 3, &chunks, &[vec![0, 1]]);
    assert_eq!(read(&indexed).unwrap().pixels, [255, 255, 255, 1, 2, 3]);
}

#[test]
fn an_animation_is_its_first_frame() {
    use image::codecs::gif::GifEncoder;
    use image::{Frame, Rgba, RgbaImage};
    let mut file = Vec::new();
    let mut encoder = GifEncoder::new(&mut file);
    for color in [[200, 0, 0, 255], [0, 0, 200, 255]] {
        encoder.encode_frame(Frame::new(RgbaImage::from_pixel(5, 4, Rgba(color)))).unwrap();
    }
    drop(encoder);
    let image = read(&file).unwrap();
    assert_eq!((image.width, image.height), (5, 4));
    assert_eq!(image.pixels, [200, 0, 0].repeat(20));
    // Cut off in its first frame it is broken; behind that, nothing is missed.
    let whole = (0..file.len()).find(|&length| read(&file[..length]).is_ok()).unwrap();
    assert!(whole > file.len() / 2);
    for length in whole..file.len() {
        assert_eq!(read(&file[..length]).unwrap(), image);
    }
}

#[test]
fn webp_is_read() {
    let Image { pixels, .. } = pattern(17, 9, 3);
    let mut file = Vec::new();
    image::codecs::webp::WebPEncoder::new_lossless(&mut file)
        .encode(&pixels, 17, 9, image::ExtendedColorType::Rgb8)
        .unwrap();
    assert_eq!(read(&file).unwrap().pixels, pixels);
    for length in 0..file.len() {
        reason(&file[..length]);
    }
    assert!(reason(&file[..file.len() - 1]).contains("is cut off"));
}

#[test]
fn cut_off_files_are_told() {
    for file in [
        jpeg(&pattern(40, 30, 3), 90),
        flat_png(40, 30, [7, 80, 200]),
        include_bytes!("../fixtures/progressive.jpg").to_vec(),
    ] {
        read(&file).unwrap();
        for length in 0..file.len() {
            let text = reason(&file[..length]);
            let told = ["is empty", "is cut off", "is not a JPEG", "ends before", "is damaged"]
                .iter()
                .any(|start| text.starts_with(start));
            assert!(told, "{length} of {}: {text}", file.len());
        }
        read(&[file.as_slice(), b"trailing bytes"].concat()).unwrap();
    }
}

/// No change of a byte may end in a panic or in memory that the file does not warrant; damage may
/// well pass.
#[test]
fn damaged_files_never_panic() {
    let files = [
        jpeg(&pattern(24, 16, 3), 80),
        with_orientation(&jpeg(&pattern(24, 16, 1), 80), 6),
        include_bytes!("../fixtures/cmyk.jpg").to_vec(),
        png([8, 8], 8, 6, &[], &vec![(0..32).collect(); 8]),
    ];
    for file in files {
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << (at % 8);
            if let Ok(header) =
                header::read(Cursor::new(&damaged), damaged.len() as u64, max_pixels())
                && u64::from(header.width) * u64::from(header.height) < 1 << 20
                && let Ok(decoded) = decode_bytes(&damaged, header)
            {
                assert_eq!(
                    to_rgb(decoded.clone()).len(),
                    decoded.width() as usize * decoded.height() as usize * 3
                );
            }
        }
    }
}

#[test]
fn hostile_headers_are_refused_before_decoding() {
    assert_eq!(reason(&[]), "is empty (0 bytes)");
    let text = reason(&png([60_000, 60_000], 8, 2, &[], &[vec![0; 16]]));
    assert!(text.starts_with("declares 60000 x 60000 pixels; at most 134217728"), "{text}");
    assert!(text.ends_with("RESNET_MAX_PIXELS to 3600000000"), "{text}");
    assert!(reason(&png([100_000, 1], 8, 0, &[], &[vec![0; 16]])).contains("65535 a side"));
    assert!(reason(&png([0, 5], 8, 0, &[], &[])).contains("declares 0 x 5 pixels"));

    let mut huge = jpeg(&pattern(16, 16, 1), 80);
    let frame = huge.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    huge[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    assert!(reason(&huge).contains("declares 60000 x 60000 pixels"));

    let gif = [b"GIF89a".as_slice(), &[0x60, 0xea, 0x60, 0xea, 0, 0, 0]].concat();
    assert!(reason(&gif).contains("declares 60000 x 60000 pixels"));
    let webp =
        [b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0".as_slice(), &[0x5f, 0xea, 0, 0x5f, 0xea, 0]]
            .concat();
    assert!(reason(&webp).contains("declares 60000 x 60000 pixels"), "{}", reason(&webp));

    // Allowed by the header, but the picture is not there: refused without the 300 MB it asks for.
    let text = reason(&png([10_000, 10_000], 8, 2, &[], &[vec![0; 16]]));
    assert!(text.contains("bytes cannot hold"), "{text}");
}

#[test]
fn a_few_bytes_that_declare_many_pixels_are_refused() {
    let Some(folder) = cases("pictures") else {
        return;
    };
    for name in ["screen.gif", "anim.webp"] {
        let text = reason(&std::fs::read(folder.join(name)).unwrap());
        assert!(text.starts_with("declares 10000 x 10000 pixels, which its"), "{name}: {text}");
    }
}

/// The mean of each colour, in the order of [`Image::pixels`].
fn means(image: &Image) -> [f64; 3] {
    let (pixels, _) = image.pixels.as_chunks::<3>();
    [0, 1, 2].map(|c| pixels.iter().map(|p| f64::from(p[c])).sum::<f64>() / pixels.len() as f64)
}

#[test]
fn jpegs_in_several_scans_are_those_in_one() {
    let Some(folder) = cases("jpeg-scans") else {
        return;
    };
    for kind in ["444", "422", "440", "420", "411", "grey"] {
        for restarts in ["r0", "r2"] {
            let [one, several] = ["inter", "nonint"].map(|scans| {
                let name = format!("{kind}-48x40-{scans}-{restarts}.jpg");
                read(&std::fs::read(folder.join(name)).unwrap()).unwrap()
            });
            assert_eq!((one.width, one.height), (48, 40));
            let apart = one.pixels.iter().zip(&several.pixels).map(|(a, b)| a.abs_diff(*b));
            let apart = apart.map(f64::from).sum::<f64>() / one.pixels.len() as f64;
            assert!(apart < 0.5, "{kind} {restarts}: {apart} apart");
            let expected = if kind == "grey" { [131.9; 3] } else { [118.05, 137.95, 137.35] };
            for image in [&one, &several] {
                let means = means(image);
                let near = means.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.5);
                assert!(near, "{kind} {restarts}: {means:?}, expected {expected:?}");
            }
        }
    }
}

#[test]
fn plain_formats_are_read_and_damaged_ones_refused() {
    use image::{ImageFormat, codecs::pnm};
    let Image { pixels, .. } = pattern(17, 9, 3);
    let rgb = image::RgbImage::from_raw(17, 9, pixels.clone()).unwrap();
    let written = |format| {
        let mut file = Cursor::new(Vec::new());
        rgb.write_to(&mut file, format).unwrap();
        file.into_inner()
    };
    let [binary, ascii] = [pnm::SampleEncoding::Binary, pnm::SampleEncoding::Ascii].map(|how| {
        let mut file = Vec::new();
        let subtype = pnm::PnmSubtype::Pixmap(how);
        let encoder = pnm::PnmEncoder::new(&mut file).with_subtype(subtype);
        rgb.write_with_encoder(encoder).unwrap();
        file
    });
    let commented = [b"P6 # a photo\n17 # wide\n9\n255\n".as_slice(), &pixels].concat();
    for file in [written(ImageFormat::Bmp), written(ImageFormat::Tiff), binary, ascii, commented] {
        let image = read(&file).unwrap();
        assert_eq!((image.width, image.height), (17, 9));
        assert_eq!(image.pixels, pixels);
        for length in 0..file.len() * 3 / 4 {
            reason(&file[..length]);
        }
        let mut damaged = file.clone();
        for at in 0..file.len().min(200) {
            damaged[at] ^= 1 << (at % 8);
            let _ = read(&damaged);
            damaged[at] ^= 1 << (at % 8);
        }
    }
    let grey = read(b"P5\n2 2\n255\n\0\x40\x80\xff").unwrap();
    assert_eq!(grey.pixels, [0, 0, 0, 64, 64, 64, 128, 128, 128, 255, 255, 255]);
    assert!(reason(b"P6\n9000 9000\n255\n...").contains("bytes cannot hold"));
    let mut bmp = written(ImageFormat::Bmp);
    bmp[18..26].copy_from_slice(&[0x10, 0x27, 0, 0, 0x10, 0x27, 0, 0]);
    assert!(reason(&bmp).contains("declares 10000 x 10000 pixels, which its"));
    let floats = image::Rgb32FImage::from_pixel(4, 4, image::Rgb([0.5, 900.0, -3.0]));
    let mut file = Cursor::new(Vec::new());
    image::DynamicImage::ImageRgb32F(floats).write_to(&mut file, ImageFormat::Tiff).unwrap();
    assert!(reason(&file.into_inner()).contains("32-bit floats"));
}

#[test]
fn other_files_are_named() {
    let arithmetic = |marker: u8, precision: u8| {
        let frame = [0xff, marker, 0, 11, precision, 0, 8, 0, 8, 1, 1, 0x11, 0];
        reason(&[&[0xff, 0xd8], &frame[..], &[0xff, 0xd9]].concat())
    };
    assert!(
        arithmetic(0xc9, 8).contains("arithmetic coding")
            && arithmetic(0xca, 8).contains("jpegtran")
    );
    assert!(arithmetic(0xc3, 8).contains("lossless JPEG"));
    assert!(arithmetic(0xc1, 12).contains("12 bits a sample"));
    for (start, part) in [
        (b"\0\0\0\x20ftypheic\0\0\0\0".as_slice(), "HEIC picture, as iPhones take them"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "is a video"),
        (b"\xff\x0a\0\0\0\0\0\0\0\0\0\0", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS\0\x01\0\0\0\0\0\0", "Photoshop"),
        (b"II\x2a\0\x10\0\0\0CR\x02\0", "raw picture"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "is not a JPEG, PNG, WebP, GIF, BMP, TIFF or PNM picture"),
    ] {
        let text = reason(start);
        assert!(text.contains(part), "{text}");
    }
    let dir = TempDir::new("no-file");
    let mut image = Image::default();
    let error = read_picture(dir.path(), &mut image).unwrap_err().to_string();
    assert!(error.ends_with("is not a file"), "{error}");
}

/// A photo with orientation 6, one of 75 x 56 pixels, and grey ones are among them.
#[test]
fn real_photos_are_read() {
    let Some(folder) = shared("imagenet/samples") else {
        return;
    };
    for (name, size) in
        [("n02951585_can_opener.JPEG", None), ("n01871265_tusker.JPEG", Some((75, 56)))]
    {
        let mut image = Image::default();
        read_picture(&folder.join(name), &mut image).unwrap();
        assert_eq!(image.pixels.len(), image.width * image.height * 3);
        match size {
            Some(size) => assert_eq!((image.width, image.height), size),
            None => assert!(image.height > image.width, "it stands upright"),
        }
    }
}

#[test]
fn pictures_in_memory_are_refused_by_kind() {
    let ppm = b"P6 4 2 255\n0123456789abcdefghijklmn";
    let mut image = Image::default();
    let packed = Packed::open(ppm, 8).unwrap();
    assert_eq!(packed.pixels(), 8);
    packed.decode(&mut image).unwrap();
    assert_eq!((image.width, image.height), (4, 2));
    let fault = |bytes: &[u8], most| Packed::open(bytes, most).map(|_| ()).unwrap_err();
    let texts = [fault(ppm, 7), fault(b"%PDF-1.7 1 0 obj", 8), fault(b"", 8)];
    assert!(matches!(
        texts,
        [PictureFault::TooLarge(_), PictureFault::Format(_), PictureFault::Damaged(_)]
    ));
    assert_eq!(texts[0].to_string(), "declares 4 x 2 pixels; at most 7 are decoded");
}

/// A picture decoded as it would be without the decoder of plain JPEGs, and its header.
fn elsewhere(file: &[u8]) -> (Image, Header) {
    let header = header::read(&mut Cursor::new(file), file.len() as u64, 1 << 30).unwrap();
    let decoded = decode_bytes(file, header).unwrap();
    (Image::rgb(decoded.width() as usize, decoded.height() as usize, to_rgb(decoded)), header)
}

/// Decodes parts of a plain JPEG and compares them with those of the whole.
fn compare_parts(file: &[u8], whole: &Image, header: Header, name: &str) {
    let Image { width, height, .. } = *whole;
    let inner = (height / 3..height - height / 4, width / 5..width - width / 3);
    for area in [(0..height, 0..width), inner, (height - 1..height, 0..1)] {
        let mut image = Image::default();
        let wanted = |h: usize, w: usize| {
            assert_eq!((h, w), (height, width), "{name}");
            area.clone()
        };
        let part = baseline::decode(file, header, &wanted, &mut image).expect(name);
        assert_eq!((part.size, &part.area), ((height, width), &area), "{name}");
        let (rows, columns) = area;
        let columns = columns.start * 3..columns.end * 3;
        let expected = whole.pixels.chunks_exact(width * 3).skip(rows.start).take(rows.len());
        let expected: Vec<u8> = expected.flat_map(|row| row[columns.clone()].to_vec()).collect();
        assert_eq!((image.width * 3, image.height), (columns.len(), rows.len()), "{name}");
        assert!(image.pixels == expected, "{name}: other pixels");
    }
}

#[test]
fn a_part_of_a_turned_picture_is_that_of_the_whole() {
    let plain = jpeg(&pattern(61, 47, 3), 90);
    for orientation in 0..=9 {
        let file = with_orientation(&plain, orientation);
        let (whole, header) = elsewhere(&file);
        assert_eq!(whole.width == 47, (5..=8).contains(&orientation));
        compare_parts(&file, &whole, header, &format!("orientation {orientation}"));
    }
}

#[test]
fn parts_of_real_photos_are_those_of_the_whole() {
    let Some(folder) = shared("imagenet/samples") else {
        return;
    };
    let (files, mut plain) = (crate::data::files_in(&folder).unwrap(), 0);
    for (number, file) in files.files.iter().step_by(4).enumerate() {
        let bytes = std::fs::read(file).unwrap();
        let (whole, header) = elsewhere(&bytes);
        let mut image = Image::default();
        read_picture(file, &mut image).unwrap();
        assert!(image == whole, "{}: other pixels", file.display());
        // The whole of all, parts of some.
        if number % 2 == 0 && baseline::decode(&bytes, header, &all, &mut image).is_some() {
            compare_parts(&bytes, &whole, header, &file.display().to_string());
            plain += 1;
        }
    }
    assert!(plain > 6, "{plain} plain JPEGs");
}
