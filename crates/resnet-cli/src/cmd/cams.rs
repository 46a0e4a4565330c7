//! The heat maps of a call of `resnet predict`, each under a name that tells its picture.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use resnet::base::files;

use super::predict::STDIN;

/// The directory of the maps, and the name of each picture's.
pub(super) struct Cams<'a> {
    folder: &'a Path,
    names: Vec<String>,
}

impl<'a> Cams<'a> {
    /// Makes the directory, and names for the maps of `pictures`.
    pub(super) fn new(folder: &'a Path, pictures: &[PathBuf]) -> anyhow::Result<Cams<'a>> {
        std::fs::create_dir_all(folder)
            .map_err(|e| anyhow::anyhow!("cannot make directory {}: {e}", folder.display()))?;
        Ok(Cams { folder, names: names(pictures) })
    }

    /// Saves where the first guess was seen in a picture, and says where.
    pub(super) fn save(&self, picture: usize, png: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(format!("{}.png", self.names[picture]));
        files::write_atomic(&path, |to| to.write_all(png))?;
        Ok(path)
    }
}

/// A name for each picture: that of its file, and before it, where several files have the same, as
/// many of the folders it lies in as tell them apart. What folders do not tell apart their endings
/// do, and numbers at last. Names that differ in capitals alone count as the same, as they do on
/// many disks.
fn names(pictures: &[PathBuf]) -> Vec<String> {
    let parts: Vec<Vec<String>> = pictures.iter().map(|picture| parts(picture)).collect();
    let mut groups: HashMap<String, Vec<usize>> = HashMap::new();
    for (i, parts) in parts.iter().enumerate() {
        groups.entry(name(parts, 0).to_lowercase()).or_default().push(i);
    }
    let mut names = vec![String::new(); pictures.len()];
    for members in groups.values() {
        let deepest = members.iter().map(|&i| parts[i].len() - 1).max().unwrap_or(0);
        let told = |folders: usize| {
            let all: HashSet<String> =
                members.iter().map(|&i| name(&parts[i], folders).to_lowercase()).collect();
            all.len()
        };
        // The fewest folders that tell most of them apart.
        let most = told(deepest);
        let folders = (0..=deepest).find(|&n| told(n) == most).unwrap_or(0);
        for &i in members {
            names[i] = name(&parts[i], folders);
        }
    }
    let mut count: HashMap<String, usize> = HashMap::new();
    names.iter().for_each(|name| *count.entry(name.to_lowercase()).or_default() += 1);
    for (name, picture) in names.iter_mut().zip(pictures) {
        let ending = picture.extension().map(|e| files::safe_name(&e.to_string_lossy()));
        if let (true, Some(ending)) = (count[&name.to_lowercase()] > 1, ending) {
            *name = format!("{name}-{ending}");
        }
    }
    let mut taken = HashSet::new();
    for name in &mut names {
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        let mut free = std::iter::once(name.clone()).chain(numbered);
        *name = free.find(|name| taken.insert(name.to_lowercase())).unwrap_or_default();
    }
    names
}

/// The folders of a picture and the stem of its file, as parts of a file name.
fn parts(picture: &Path) -> Vec<String> {
    if picture.as_os_str() == STDIN {
        return vec!["stdin".into()];
    }
    let safe = |text: &std::ffi::OsStr| files::safe_name(&text.to_string_lossy());
    let folders = picture.parent().unwrap_or(Path::new("")).components();
    let folders = folders.filter_map(|part| match part {
        Component::Normal(folder) => Some(safe(folder)),
        _ => None,
    });
    folders.chain([picture.file_stem().map_or("picture".into(), safe)]).collect()
}

/// The last part, behind as many before it.
fn name(parts: &[String], folders: usize) -> String {
    parts[parts.len().saturating_sub(folders + 1)..].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pictures: &[&str]) -> Vec<String> {
        names(&pictures.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn files_of_the_same_name_in_different_folders_keep_names_that_tell_them_apart() {
        assert_eq!(of(&["in/a b.png", "c.jpg", "-"]), ["a_b", "c", "stdin"]);
        assert_eq!(
            of(&["val/ants/0013035.jpg", "val/bees/0013035.jpg", "val/bees/7.jpg"]),
            ["ants-0013035", "bees-0013035", "7"]
        );
        assert_eq!(of(&["/train/ants/1.jpg", "./val/ants/1.jpg"]), ["train-ants-1", "val-ants-1"]);
        assert_eq!(of(&["in/1.jpg", "in/deep/1.jpg"]), ["in-1", "deep-1"]);
        assert_eq!(of(&["a/1.jpg", "a/1.png", "b/1.png"]), ["a-1-jpg", "a-1-png", "b-1"]);
    }

    #[test]
    fn every_map_has_a_name_of_its_own() {
        let hard =
            ["a/b.png", "a-b.png", "x/a-b.png", "A/B.png", "a/b.png", "a/b.png", "a-b-2.png"];
        let names = of(&hard);
        let distinct: HashSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(distinct.len(), hard.len(), "{names:?}");
    }
}
