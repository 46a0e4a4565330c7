//! Published weights by name: found in the caches of this machine, or fetched.
//!
//! A name is one of the table of published weights, or a file's that ends with the beginning of its
//! sha256, as torchvision's and timm's do: `resnet18-f37072fd.pth`. What was found is checked by
//! that and kept as a model file, so that recipes and checkpoints can name it like any other; the
//! download goes once that is written.

mod fetch;
mod verify;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use resnet::model::foreign::{self, Choices, ImportError};
use resnet::model::published::{ADDRESS, Published};
use resnet::model::{Model, ModelError};

use crate::exit::{Advised, Usage};
use crate::hints;
use crate::places::{self, Mirror};
use crate::term::tell;
use fetch::Failed;
use verify::Doubt;

/// Endings of files of weights.
const ENDINGS: [&str; 4] = ["pth", "pt", "th", "safetensors"];
/// Fewest digits of a sha256 that tell a file.
const DIGITS: usize = 8;

/// Weights that a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    /// The file as it is published.
    pub(crate) file: String,
    /// The beginning of its sha256, in hexadecimal.
    hash: String,
    /// What is known about it.
    published: Option<&'static Published>,
}

/// This program's cache.
fn cache() -> Result<PathBuf, Usage> {
    places::cache().map_err(Usage)
}

fn mirror() -> Result<Mirror, Usage> {
    Mirror::of_environment().map_err(Usage)
}

impl Weights {
    /// Those of a name, where it is of that kind.
    pub(crate) fn named(name: &str) -> Option<Weights> {
        let published = Published::find(name);
        let file = published.map_or(name, |row| row.file);
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let (stem, ending) = file.rsplit_once('.')?;
        let (_, hash) = stem.rsplit_once('-')?;
        let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let known = ENDINGS.contains(&ending) && file.chars().all(plain);
        let hashed = (DIGITS..=64).contains(&hash.len()) && hash.bytes().all(digit);
        (known && hashed && !file.starts_with('.')).then(|| Weights {
            file: file.into(),
            hash: hash.into(),
            published,
        })
    }

    /// The same of a path that names no file here.
    pub(crate) fn of_path(path: &Path) -> Option<Weights> {
        if path.exists() { None } else { Weights::named(path.to_str()?) }
    }

    fn stem(&self) -> &str {
        self.file.rsplit_once('.').map_or(&self.file, |(stem, _)| stem)
    }

    /// Where the model made of them is, or would be.
    fn model_path(&self) -> anyhow::Result<PathBuf> {
        Ok(places::models(&cache()?).join(format!("{}.safetensors", self.stem())))
    }

    /// Where they are on this machine, if they are: the model, or the file it can be made of.
    pub(crate) fn here(&self) -> anyhow::Result<Option<PathBuf>> {
        let model = self.model_path()?;
        Ok(if model.is_file() { Some(model) } else { self.files()?.into_iter().next() })
    }

    /// Files of the published name on this machine.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut folders = vec![cache()?];
        folders.extend(places::torch());
        if let Mirror::Folder(folder) = mirror()? {
            folders.push(folder);
        }
        let files = folders.into_iter().map(|folder| folder.join(&self.file));
        Ok(files.filter(|file| file.is_file()).collect())
    }

    /// The model file: from the cache, made of a file on this machine, or fetched.
    pub(crate) fn model(&self) -> anyhow::Result<PathBuf> {
        let model = self.model_path()?;
        if model.is_file() {
            return Ok(model);
        }
        self.made_unless(&Path::is_file)
    }

    /// The same, read through: one in the cache that has been damaged since is made again.
    pub(crate) fn sound_model(&self) -> anyhow::Result<PathBuf> {
        let model = self.model_path()?;
        if !model.is_file() {
            return self.model();
        }
        match Model::load(&model) {
            Ok(_) => Ok(model),
            // What the system refuses is not damage.
            Err(error @ ModelError::File(_)) => Err(error.into()),
            Err(error) => {
                tell(&format!("warning: {error}; it is made again"));
                // Another process may do so at the same time.
                self.made_unless(&|model| Model::load(model).is_ok())
            }
        }
    }

    /// The model file, made unless it is there already, as `is_there` says of its path.
    fn made_unless(&self, is_there: &dyn Fn(&Path) -> bool) -> anyhow::Result<PathBuf> {
        let model = self.model_path()?;
        let cache = cache()?;
        places::usable(&cache, fs::create_dir_all(&cache))?;
        // One process makes it, any other waits and finds it. The file stays: removed, it could be
        // locked under two identities.
        let lock = File::create(cache.join(format!(".{}.lock", self.stem())));
        let lock = places::usable(&cache, lock)?;
        // Some file systems have no locks; what is written is whole either way.
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            tell(&format!("waiting for another process that gets {}", self.file));
            let _ = lock.lock();
        }
        if is_there(&model) {
            return Ok(model);
        }
        for file in self.files()? {
            match verify::begins(&file, &self.hash) {
                Ok(()) => {
                    tell(&format!("using {}", file.display()));
                    return self.make_model(&file, &model);
                }
                Err(error) => tell(&format!("warning: {error}; it is left alone")),
            }
        }
        let file = self.fetch(&cache)?;
        let made = self.make_model(&file, &model)?;
        // The model holds all of it.
        let _ = fs::remove_file(&file);
        Ok(made)
    }

    /// Gets the file into the cache, checked.
    fn fetch(&self, cache: &Path) -> anyhow::Result<PathBuf> {
        let base = match mirror()? {
            Mirror::Folder(folder) => anyhow::bail!(
                "{} has no {}, and {} allows no other place",
                folder.display(),
                self.file,
                places::MIRROR
            ),
            Mirror::Address(address) => address,
            Mirror::None => ADDRESS.into(),
        };
        let url = format!("{}/{}", base.trim_end_matches('/'), self.file);
        let (file, partial) =
            (cache.join(&self.file), cache.join(format!("{}.partial", self.file)));
        let size = self.published.map(|row| format!(" ({:.0} MiB)", row.mib)).unwrap_or_default();
        tell(&format!("fetching {url}{size}"));
        let get = || fetch::fetch(&url, &partial).map(|()| verify::keeps(&partial, &self.hash));
        // What an earlier attempt left may be of another file; then once more from its start.
        let resumed = partial.exists();
        let mut got = get();
        if resumed && matches!(got, Ok(Err(Doubt::Other(_)))) {
            got = get();
        }
        match got {
            Ok(Ok(())) => {
                places::usable(cache, fs::rename(&partial, &file))?;
                Ok(file)
            }
            Ok(Err(Doubt::Other(why))) => anyhow::bail!(
                "{url} is not the file of that name: {why}; it was removed. Try again, or another \
                 place with {}",
                places::MIRROR
            ),
            Ok(Err(Doubt::Unread(why))) => anyhow::bail!(
                "{url} was fetched, but {why}; it is left there, and looked at again the next time"
            ),
            Err(Failed::Refused(why)) => anyhow::bail!("cannot fetch {url}: {why}"),
            Err(Failed::NoWay(why)) => Err(Advised {
                message: format!(
                    "cannot fetch {url}: {why}; where there is a network, this gets it:"
                ),
                command: places::curl(&url, &file),
            }
            .into()),
        }
    }

    /// Makes the model file of a file that was checked.
    fn make_model(&self, file: &Path, model: &Path) -> anyhow::Result<PathBuf> {
        let imported = match self.published {
            Some(published) => published.import(file),
            None => foreign::import(file, &Choices::default()),
        };
        let made = match imported {
            Ok(import) => {
                for assumption in &import.assumed {
                    tell(&format!("assumed: {assumption}{}", hints::of_assumption(assumption)));
                }
                import.model
            }
            Err(ImportError::Ours { .. }) => Model::load(file)?,
            Err(error) => return Err(error.into()),
        };
        let folder = model.parent().unwrap_or(Path::new("."));
        places::usable(folder, fs::create_dir_all(folder))?;
        made.save(model)?;
        Ok(model.to_path_buf())
    }
}

#[cfg(test)]
mod tests {
    use super::Weights;

    #[test]
    fn a_name_says_how_its_file_begins() {
        let found = |name: &str| Weights::named(name).map(|weights| (weights.file, weights.hash));
        let some = |file: &str, hash: &str| Some((file.to_string(), hash.to_string()));
        assert_eq!(found("resnet50"), some("resnet50-0676ba61.pth", "0676ba61"));
        assert_eq!(found("resnet50.v2"), some("resnet50-11ad3fa6.pth", "11ad3fa6"));
        let own = "resnet50_a1_0-14fe96d1.pth";
        assert_eq!(found(own), some(own, "14fe96d1"));
        for other in [
            "resnet20",
            "runs/resnet50-0676ba61.pth",
            "../resnet50-0676ba61.pth",
            "model.safetensors",
            "net-1234567.pth",
            "net-ABCDEF01.pth",
            "net-12345678.zip",
            ".net-12345678.pth",
            "a b-12345678.pth",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
