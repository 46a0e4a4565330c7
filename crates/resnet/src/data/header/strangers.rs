//! Files that are not read, by name, with what to do.

const CONVERT: &str = "convert it to JPEG or PNG";

/// What a file is that begins so and is none of the pictures that are read, to follow its name.
pub(super) fn name(start: &[u8; 12]) -> String {
    let known = match start {
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => return container(brand),
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => {
            return "is a JPEG XL picture, which is not read; `djxl` makes a PNG of it".into();
        }
        [0, 0, 0, 12, b'j', b'P', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => "a JPEG 2000 picture",
        [b'I', b'I', 0xbc, ..] => "a JPEG XR picture",
        [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..] => "a BigTIFF picture",
        [b'8', b'B', b'P', b'S', ..] => "a Photoshop file",
        [b'P', b'7', b'\n', ..] => "a PAM picture",
        [0, 0, 1, 0, ..] => "an icon",
        [b'v', b'/', b'1', 1, ..] => "an OpenEXR picture",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        [b'<', b's', b'v', b'g', ..] => "an SVG drawing",
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "a video",
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', b'h', b't', b't', b'p'] => {
            return "is a Git LFS pointer, not the picture; `git lfs pull` fetches it".into();
        }
        _ => {
            return "is not a JPEG, PNG, WebP, GIF, BMP, TIFF or PNM picture".into();
        }
    };
    format!("is {known}, which is not read; {CONVERT}")
}

/// What an ISO media file with this brand is.
fn container(brand: &[u8]) -> String {
    match brand {
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
            "is a HEIC picture, as iPhones take them, which is not read; convert it to JPEG, as \
             `heif-convert` does"
        }
        b"avif" | b"avis" => "is an AVIF picture, which is not read; `avifdec` makes a PNG of it",
        b"crx " => "is a camera's raw picture, which is not read; convert it to JPEG",
        _ => "is a video, or a HEIC or AVIF picture, which are not read; convert it to JPEG",
    }
    .into()
}

/// Why a JPEG with this kind of frame and so many bits a sample is not read; `None` if it is.
pub(super) fn jpeg(marker: u8, precision: u8) -> Option<String> {
    let kind = match marker {
        0xc9..=0xcb | 0xcd..=0xcf => {
            return Some(
                "is a JPEG with arithmetic coding, which is not read; `jpegtran` makes a usual one \
                 of it without loss"
                    .into(),
            );
        }
        0xc3 => "a lossless JPEG".to_owned(),
        0xc5..=0xc7 => "a hierarchical JPEG".into(),
        _ if precision != 8 => format!("a JPEG of {precision} bits a sample"),
        _ => return None,
    };
    Some(format!("is {kind}, which is not read; convert it to a usual JPEG or PNG"))
}
