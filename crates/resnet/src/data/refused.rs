//! Formats of pictures that are known and not read, and how to convert them.

use std::path::Path;

use super::DataError;
use super::walk::entries;

/// A format that is not read.
struct Refused {
    /// What it is, for people.
    name: &'static str,
    /// Whether the name of a file, in small letters, says that it is one.
    is: fn(&str) -> bool,
    /// How its pictures are got at.
    read: &'static str,
}

/// What to make of the pictures, whatever they came from.
const WRITE: &str = "and write each picture as N.jpg and its label as N.cls into tar files \
                     (webdataset.TarWriter does), or as CLASS/N.jpg into folders";

#[rustfmt::skip]
const REFUSED: &[Refused] = &[
    Refused { name: "TFRecord files", is: is_tfrecord, read: "read them with tf.data.TFRecordDataset (their fields are often image/encoded and image/class/label)" },
    Refused { name: "an LMDB database", is: |name| name == "data.mdb" || name.ends_with(".lmdb"), read: "read it with Python's lmdb (lmdb.open(DIR, readonly=True).begin().cursor())" },
    Refused { name: "FFCV's .beton", is: |name| name.ends_with(".beton"), read: "take the pictures that it was made of, or read it with ffcv.Loader" },
    Refused { name: "MosaicML's shards (MDS)", is: |name| name.ends_with(".mds") || name.contains(".mds."), read: "read them with streaming.StreamingDataset(local=DIR)" },
    Refused { name: "MXNet's .rec", is: |name| name.ends_with(".rec"), read: "read it with mxnet.recordio.MXIndexedRecordIO" },
    Refused { name: "an HDF5 file", is: |name| name.ends_with(".h5") || name.ends_with(".hdf5"), read: "read it with h5py" },
];

/// Programs that unpack what a tar file is packed in: its pictures can be found by position then.
const PACKED: &[(&[&str], &str)] = &[
    (&[".tar.gz", ".tgz"], "gunzip -k"),
    (&[".tar.xz", ".txz"], "unxz -k"),
    (&[".tar.zst"], "unzstd"),
    (&[".tar.bz2", ".tbz2"], "bunzip2 -k"),
];

/// `imagenet.tfrecord`, `train-00000-of-01024`.
fn is_tfrecord(name: &str) -> bool {
    let of = |name: &str| {
        let (before, count) = name.rsplit_once("-of-")?;
        let number = before.rsplit('-').next()?;
        let digits = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        Some(digits(number) && digits(count))
    };
    name.contains(".tfrec") || of(name).unwrap_or(false)
}

/// The error for a place that is, or holds nothing but, a format that is known and not read.
pub(super) fn refusal(place: &Path) -> Option<DataError> {
    let names = names(place);
    let refuse = |found: &str, hint: String| {
        Some(DataError::content(place, "data of a kind that is read", found, hint))
    };
    for refused in REFUSED {
        if names.iter().any(|name| (refused.is)(name)) {
            return refuse(refused.name, format!("{}, {WRITE}", refused.read));
        }
    }
    for (endings, program) in PACKED {
        if names.iter().any(|name| endings.iter().any(|ending| name.ends_with(ending))) {
            let hint = format!(
                "in a packed tar file no picture can be found by itself: `{program} FILE` leaves \
                 the .tar file, which is read as it is"
            );
            return refuse("a tar file that is packed", hint);
        }
    }
    if names.iter().any(|name| name.ends_with(".rar") || name.ends_with(".7z")) {
        return refuse("an archive", "unpack it, and name the folder".into());
    }
    None
}

/// The names of a file, or of the files of a folder that holds no other folders than such.
fn names(place: &Path) -> Vec<String> {
    let name = |path: &Path| {
        path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_lowercase()
    };
    let Ok(inside) = entries(place) else { return vec![name(place)] };
    let mut names: Vec<String> = inside.files.iter().map(|file| name(file)).collect();
    for folder in &inside.folders {
        let files = entries(folder).map(|inside| inside.files).unwrap_or_default();
        let of_folder: Vec<String> = files.iter().map(|file| name(file)).collect();
        let known = |name: &String| REFUSED.iter().any(|refused| (refused.is)(name));
        if !of_folder.iter().any(known) {
            return Vec::new();
        }
        names.extend(of_folder);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TempDir, flat_png};
    use super::super::{OpenOptions, open};

    #[test]
    fn known_formats_are_refused_with_what_to_do() {
        let fails = |dir: &TempDir, name: &str| {
            let place = dir.path().join(name);
            open(place.to_str().unwrap(), &OpenOptions::default()).err().unwrap().to_string()
        };
        for (file, found, part) in [
            ("train-00000-of-00002", "TFRecord files", "TFRecordDataset"),
            ("x.tfrecord", "TFRecord files", "TarWriter"),
            ("data.mdb", "an LMDB database", "lmdb.open"),
            ("x.beton", "FFCV's .beton", "ffcv.Loader"),
            ("shard.00000.mds", "MosaicML's shards (MDS)", "StreamingDataset"),
            ("x.tar.gz", "a tar file that is packed", "`gunzip -k FILE`"),
            ("x.tar.zst", "a tar file that is packed", "`unzstd FILE`"),
            ("x.rar", "an archive", "unpack it"),
        ] {
            let dir = TempDir::new("refused");
            dir.write(file, b"x");
            for place in [file, ""] {
                let error = fails(&dir, place);
                assert!(error.contains(&format!("found {found}")), "{file}: {error}");
                assert!(error.contains(part), "{file}: {error}");
            }
            let named = format!("tar:{}", dir.path().join(file).display());
            let error = open(&named, &OpenOptions::default()).err().unwrap().to_string();
            assert!(error.contains(part), "{error}");
        }
        let dir = TempDir::new("refused-mds");
        for file in ["train/index.json", "train/shard.00000.mds", "val/shard.00000.mds"] {
            dir.write(file, b"x");
        }
        assert!(fails(&dir, "").contains("found MosaicML's shards"));
        // What was downloaded may lie beside what was unpacked.
        let dir = TempDir::new("refused-beside");
        dir.write("all.tar.gz", b"x");
        dir.write("all.tfrecord", b"x");
        dir.write("a/1.png", &flat_png(4, 4, [1; 3]));
        dir.write("b/1.png", &flat_png(4, 4, [2; 3]));
        assert_eq!(open(dir.text(), &OpenOptions::default()).unwrap().train.len(), 2);
    }
}
