//! Data as shards: few large files in place of many small ones, read without any unpacking.
//!
//! Pictures keep their order and, unless they are to be made smaller, their bytes, so training from
//! the shards gives the same bits as from where they came. What a killed run has finished is kept:
//! shards are written into a folder of their own inside the new one, with a text that says what is
//! done, and move out of it once all of them have been read again.

mod shard;
mod state;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::header;
use super::resize::shrink_to;
use super::role::{Role, role};
use super::{DataError, Dataset, Image, OpenOptions, Splits, Warning, fingerprint, max_pixels};
use crate::base::files::{self, FileError};
use crate::base::{text, threads};
use shard::{File, Sum};
use state::{Settings, State};

pub use shard::PackFormat;

/// Pictures that are read at once.
const AT_ONCE: usize = 64;
/// The folder of what is not finished.
const UNFINISHED: &str = ".packing";
/// The last file to be written.
const MANIFEST: &str = "pack.json";

/// How data is packed.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// The format of the shards.
    pub format: PackFormat,
    /// Bytes of a shard, and a picture more where one is larger.
    pub shard_size: u64,
    /// Whether larger pictures become smaller ones.
    pub shrink: Option<Shrink>,
}

/// What becomes of pictures whose shorter side is longer: JPEGs of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shrink {
    /// In pixels.
    pub shorter_side: usize,
    /// From 1 to 100.
    pub quality: u8,
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackStage {
    /// Shards are written.
    Write,
    /// They are read again.
    Verify,
}

/// What was packed.
#[derive(Clone, Debug)]
pub struct PackReport {
    /// Name, pictures and shards of each split.
    pub splits: Vec<(String, usize, usize)>,
    /// Bytes of all shards.
    pub bytes: u64,
    /// Shards that were there already.
    pub kept: usize,
    /// What opening the data tells, and what packing it changes.
    pub warnings: Vec<Warning>,
}

/// Packs the data that `source` names into shards in the folder `dest`, which is made where it is
/// missing. `progress` is told how many pictures are done, and of how many.
///
/// # Errors
/// The data cannot be opened or read, `dest` holds something else or lies inside the data, or the
/// disk is full. Run again, it goes on behind the shards that were finished.
pub fn pack(
    source: &str,
    dest: &Path,
    options: &PackOptions,
    progress: &dyn Fn(PackStage, usize, usize),
) -> Result<PackReport, DataError> {
    check_options(options)?;
    check_outside(source, dest)?;
    let splits = super::open(source, &OpenOptions { one_class: true, ..OpenOptions::default() })?;
    let mut warnings = splits.warnings.clone();
    let parts = parts(splits);
    if parts.iter().any(|(_, data)| data.channels() == 1) {
        let message = "its grey pictures become PNGs, which are read as red, green and blue";
        warnings.push(Warning { file: None, message: message.into() });
    }
    let job = Job { dest, options, parts, progress };
    job.run(warnings)
}

fn check_options(options: &PackOptions) -> Result<(), DataError> {
    let wrong = |what: &str| Err(DataError::Loader(what.into()));
    match options.shrink {
        _ if options.shard_size == 0 => wrong("a shard has at least one byte"),
        Some(Shrink { quality, .. }) if !(1..=100).contains(&quality) => {
            wrong("the quality of a JPEG is a number from 1 to 100")
        }
        Some(Shrink { shorter_side: 0, .. }) => wrong("a picture's side has at least one pixel"),
        _ => Ok(()),
    }
}

/// Refuses a folder inside of the data: its pictures would be there twice.
fn check_outside(source: &str, dest: &Path) -> Result<(), DataError> {
    let (_, place) = super::split_source(source);
    let Ok(place) = fs::canonicalize(place) else { return Ok(()) };
    let exists = dest.ancestors().find_map(|folder| fs::canonicalize(folder).ok());
    match exists {
        Some(folder) if place.is_dir() && folder.starts_with(&place) => Err(DataError::content(
            dest,
            "a folder outside of the data",
            "one inside of it",
            "choose another",
        )),
        _ => Ok(()),
    }
}

/// The splits by the names that their files get: their own, as far as the name of a file can say
/// it, since models name what they were measured on.
fn parts(splits: Splits) -> Vec<(String, Arc<dyn Dataset>)> {
    let own = splits.test_name.as_str();
    let last = match role(own) {
        Some(_) if own.chars().all(|c| c.is_ascii_alphabetic()) => own,
        Some((Role::Val, _)) => "val",
        _ => "test",
    };
    let last = last.to_string();
    let mut parts = vec![("train".to_string(), splits.train)];
    parts.extend(splits.val.map(|data| ("val".to_string(), data)));
    parts.extend(splits.test.map(|data| (last, data)));
    parts
}

struct Job<'a> {
    dest: &'a Path,
    options: &'a PackOptions,
    parts: Vec<(String, Arc<dyn Dataset>)>,
    progress: &'a dyn Fn(PackStage, usize, usize),
}

impl Job<'_> {
    fn run(&self, warnings: Vec<Warning>) -> Result<PackReport, DataError> {
        let settings = self.settings();
        if let Some(state) = state::read(&self.dest.join(MANIFEST))? {
            state.check(&settings, self.dest)?;
            self.verify(&state, self.dest)?;
            self.clear()?;
            let kept = state.shards.len();
            return Ok(self.packed(&state, kept, warnings));
        }
        let folder = self.dest.join(UNFINISHED);
        let file = folder.join(MANIFEST);
        let mut state = match state::read(&file)? {
            Some(state) => {
                state.check(&settings, self.dest)?;
                state
            }
            None => {
                self.begin(&folder)?;
                State::new(settings)
            }
        };
        let _lock = lock(&folder)?;
        state.write(&file)?;
        let kept = state.shards.len();
        if !state.verified {
            self.write_classes(&folder)?;
            self.write(&mut state, &folder)?;
            self.verify(&state, &folder)?;
            state.verified = true;
            state.write(&file)?;
        }
        self.move_out(&state, &folder)?;
        state.write(&self.dest.join(MANIFEST))?;
        self.clear()?;
        Ok(self.packed(&state, kept, warnings))
    }

    fn packed(&self, state: &State, kept: usize, warnings: Vec<Warning>) -> PackReport {
        let split = |(name, data): &(String, Arc<dyn Dataset>)| {
            let shards = state.shards.iter().filter(|shard| shard.split == *name);
            (name.clone(), data.len(), shards.count())
        };
        let bytes = state.shards.iter().map(|shard| shard.bytes).sum();
        PackReport { splits: self.parts.iter().map(split).collect(), bytes, kept, warnings }
    }

    fn settings(&self) -> Settings {
        let data: Vec<&dyn Dataset> = self.parts.iter().map(|(_, data)| data.as_ref()).collect();
        let splits = self.parts.iter().map(|(name, data)| (name.clone(), data.len())).collect();
        Settings {
            format: self.options.format,
            shard_size: self.options.shard_size,
            shorter_side: self.options.shrink.map(|shrink| shrink.shorter_side),
            quality: self.options.shrink.map(|shrink| shrink.quality),
            data: fingerprint(&data),
            splits,
        }
    }

    /// Makes the folder, in one that is empty.
    fn begin(&self, folder: &Path) -> Result<(), DataError> {
        fs::create_dir_all(self.dest).map_err(|error| written(self.dest, error))?;
        let listed = fs::read_dir(self.dest).map_err(|error| DataError::io(self.dest, error))?;
        let mut names = listed.flatten().map(|entry| entry.file_name());
        if let Some(name) = names.find(|name| name != UNFINISHED) {
            return Err(DataError::content(
                self.dest,
                "an empty folder, or shards of a packing that goes on",
                text::name(&name).to_string(),
                "choose another folder",
            ));
        }
        fs::create_dir_all(folder).map_err(|error| written(folder, error))
    }

    /// Names of classes, which the shards have as numbers.
    fn write_classes(&self, folder: &Path) -> Result<(), DataError> {
        let classes = self.parts[0].1.classes();
        let plain = |name: &String| {
            name.trim() == name && !name.is_empty() && !name.contains(char::is_control)
        };
        let lines = classes.iter().all(plain) && !classes[0].starts_with(['[', '{', '\u{feff}']);
        let (name, content) = match (self.options.format, lines) {
            (PackFormat::Parquet, _) => return Ok(()),
            (PackFormat::Tar, true) => ("classes.txt", classes.join("\n") + "\n"),
            (PackFormat::Tar, false) => ("classes.json", serde_json::json!(classes).to_string()),
        };
        let path = folder.join(name);
        Ok(files::write_atomic(&path, |to| to.write_all(content.as_bytes()))?)
    }

    /// Writes the shards that are not there yet.
    fn write(&self, state: &mut State, folder: &Path) -> Result<(), DataError> {
        let all = self.parts.iter().map(|(_, data)| data.len()).sum();
        let mut before = 0;
        for (split, data) in &self.parts {
            let mut from = state.done(split, folder)?;
            while from < data.len() {
                let number = state.of(split).count();
                let path = folder.join(self.options.format.unfinished(split, number));
                let classes = data.classes();
                let shard = Shard { job: self, split, data, from, done: (before, all) };
                let finished = shard.write(&path, number, classes)?;
                from += finished.pictures;
                state.shards.push(finished);
                state.write(&folder.join(MANIFEST))?;
            }
            before += data.len();
        }
        Ok(())
    }

    /// Reads the shards of a folder again, and compares what is in them with what was written.
    fn verify(&self, state: &State, folder: &Path) -> Result<(), DataError> {
        let source = format!("{}:{}", self.options.format.name(), utf8(folder)?);
        let one_class = OpenOptions { one_class: true, ..OpenOptions::default() };
        let read = parts(super::open(&source, &one_class)?);
        let wrong = |found: String| {
            let expected = "what was written";
            let hint = "the disk may fail: remove the folder, and pack again";
            Err(DataError::content(folder, expected, found, hint))
        };
        let all = self.parts.iter().map(|(_, data)| data.len()).sum();
        let mut done = 0;
        for (number, (split, data)) in self.parts.iter().enumerate() {
            let again = match read.get(number) {
                Some((name, again)) if name == split && again.len() == data.len() => again,
                _ => return wrong(format!("another number of pictures of {split}")),
            };
            if again.classes() != data.classes() {
                return wrong(format!("other classes of {split}"));
            }
            let mut index = 0;
            for shard in state.of(split) {
                let mut sum = Sum::default();
                let end = (index + shard.pictures).min(data.len());
                while index < end {
                    let next: Vec<usize> = (index..end.min(index + AT_ONCE)).collect();
                    let files =
                        threads::map_with(&next, threads::cores(), Vec::new, |file, &at| {
                            again.file(at, file).map(|_| std::mem::take(file))
                        });
                    for (at, file) in next.iter().zip(files) {
                        if again.label(*at) != data.label(*at) {
                            return wrong(format!("another label of {}", again.name(*at)));
                        }
                        sum.add(again.label(*at), &file?);
                    }
                    index += next.len();
                    done += next.len();
                    (self.progress)(PackStage::Verify, done, all);
                }
                if sum.text() != shard.crc32 {
                    return wrong(format!("other pictures in {}", shard.name));
                }
            }
        }
        Ok(())
    }

    /// Removes the folder of what was not finished, in which all is this packing's own.
    fn clear(&self) -> Result<(), DataError> {
        let folder = self.dest.join(UNFINISHED);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(written(&folder, error))
            }
            _ => Ok(()),
        }
    }

    /// Gives the shards their place and last name.
    fn move_out(&self, state: &State, folder: &Path) -> Result<(), DataError> {
        let mut names: Vec<(String, String)> = ["classes.txt", "classes.json"]
            .map(|name| (name.to_string(), name.to_string()))
            .to_vec();
        for (split, _) in &self.parts {
            let count = state.of(split).count();
            for (number, shard) in state.of(split).enumerate() {
                let last = self.options.format.finished(split, number, count);
                names.push((shard.name.clone(), last));
            }
        }
        for (name, last) in names {
            let (from, to) = (folder.join(name), self.dest.join(last));
            if from.exists() {
                fs::rename(&from, &to).map_err(|error| written(&to, error))?;
            }
        }
        Ok(())
    }
}

/// Holds others off from a folder as long as it lives.
fn lock(folder: &Path) -> Result<fs::File, DataError> {
    let path = folder.join("lock");
    let file = fs::File::create(&path).map_err(|error| written(&path, error))?;
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Err(DataError::content(
            folder,
            "a folder that nobody packs into",
            "one that another process does",
            "wait for it to end",
        )),
        // Some file systems have no locks.
        _ => Ok(file),
    }
}

fn utf8(path: &Path) -> Result<&str, DataError> {
    path.to_str().ok_or_else(|| {
        DataError::content(path, "a path in UTF-8", "another", "choose another folder")
    })
}

fn written(path: &Path, source: std::io::Error) -> DataError {
    FileError::Write { path: path.to_owned(), source }.into()
}

/// A shard to be written.
struct Shard<'a> {
    job: &'a Job<'a>,
    split: &'a str,
    data: &'a Arc<dyn Dataset>,
    /// Its first picture.
    from: usize,
    /// Pictures of earlier splits, and of all.
    done: (usize, usize),
}

impl Shard<'_> {
    fn write(
        &self,
        path: &Path,
        number: usize,
        classes: &[String],
    ) -> Result<state::Done, DataError> {
        let options = self.job.options;
        let (mut failed, mut pictures, mut sum) = (None, 0, Sum::default());
        let written = files::write_atomic(path, |to| {
            let mut file = File::new(options.format, to, classes)?;
            'all: while self.from + pictures < self.data.len() {
                let first = self.from + pictures;
                let next: Vec<usize> = (first..self.data.len().min(first + AT_ONCE)).collect();
                let (data, shrink) = (self.data.as_ref(), options.shrink);
                let read = |image: &mut Image, &at: &usize| read(data, at, shrink, image);
                let read = threads::map_with(&next, threads::cores(), Image::default, read);
                for (&index, read) in next.iter().zip(read) {
                    let (bytes, ending) = read.map_err(|error| {
                        failed = Some(error);
                        std::io::Error::other("a picture cannot be read")
                    })?;
                    if pictures > 0 && file.size() + bytes.len() as u64 > options.shard_size {
                        break 'all;
                    }
                    let label = self.data.label(index);
                    let name = self.data.name(index);
                    file.push(index, &name, &bytes, ending, label)?;
                    sum.add(label, &bytes);
                    pictures += 1;
                }
                let (before, all) = self.done;
                (self.job.progress)(PackStage::Write, before + self.from + pictures, all);
            }
            file.finish()
        });
        match (failed, written) {
            (Some(error), _) => return Err(error),
            (None, written) => written?,
        }
        let bytes = fs::metadata(path).map_err(|error| DataError::io(path, error))?.len();
        Ok(state::Done {
            split: self.split.to_string(),
            name: options.format.unfinished(self.split, number),
            pictures,
            bytes,
            crc32: sum.text(),
        })
    }
}

/// A picture's file and its ending.
fn read(
    data: &dyn Dataset,
    index: usize,
    shrink: Option<Shrink>,
    image: &mut Image,
) -> Result<(Vec<u8>, &'static str), DataError> {
    let mut bytes = Vec::new();
    let failed = |error: image::ImageError| DataError::other(data.name(index), error);
    if !data.file(index, &mut bytes)? {
        data.read(index, image)?;
        let color = match image.channels {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        PngEncoder::new(&mut bytes)
            .write_image(&image.pixels, image.width as u32, image.height as u32, color)
            .map_err(failed)?;
    }
    let header = header::read(Cursor::new(&bytes), bytes.len() as u64, max_pixels())
        .map_err(|fault| fault.of(&PathBuf::from(data.name(index))))?;
    let ending = header.format.extensions_str().first().copied().unwrap_or("img");
    let Some(Shrink { shorter_side, quality }) = shrink else {
        return Ok((bytes, ending));
    };
    // Of GIFs all become JPEGs: a few that are left would be taken for placeholders.
    let small = header.width.min(header.height) as usize <= shorter_side;
    if small && header.format != image::ImageFormat::Gif {
        return Ok((bytes, ending));
    }
    data.read(index, image)?;
    let small = shrink_to(image, shorter_side);
    bytes.clear();
    let color = match small.channels {
        1 => ExtendedColorType::L8,
        _ => ExtendedColorType::Rgb8,
    };
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode(&small.pixels, small.width as u32, small.height as u32, color)
        .map_err(failed)?;
    Ok((bytes, "jpg"))
}

#[cfg(test)]
mod tests;
