//! Which folders of some data are its splits, and which are its classes.
//!
//! A folder with the name of a split is one if it holds folders. A lone such name among folders of
//! other names that holds pictures is a class: there are trains among vehicles.

use std::path::{Path, PathBuf};

use super::super::role::{Role, mentions_role, names, role};
use super::super::walk::entries;
use super::super::{DataError, Warning, describe};
use crate::base::text;

/// Where the parts of some data lie.
pub(super) struct Layout {
    /// The data's folder.
    pub(super) root: PathBuf,
    pub(super) train: Split,
    /// What choices are made on.
    pub(super) val: Option<Split>,
    /// What results are reported on.
    pub(super) test: Option<Split>,
    /// Folders that are no part of it.
    pub(super) unused: Vec<Warning>,
}

/// A part of the data.
#[derive(Clone)]
pub(super) struct Split {
    pub(super) role: Role,
    /// Its folder's name; empty where the data's own folder is the only split.
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) classes: Vec<Class>,
}

/// A class folder.
#[derive(Clone)]
pub(super) struct Class {
    /// Its name, composed (NFC).
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

/// A folder with the name of a split.
struct Named {
    role: Role,
    rank: usize,
    name: String,
    folder: PathBuf,
    holds_folders: bool,
}

impl Layout {
    /// Looks at the names of folders.
    ///
    /// # Errors
    /// It cannot be told what the folders are, or there are none.
    pub(super) fn of(root: &Path) -> Result<Layout, DataError> {
        let (mut named, others) = sort(root)?;
        named.sort_by(|a, b| (a.rank, &a.name).cmp(&(b.rank, &b.name)));
        let wrong = |expected: String, hint: &str| {
            Err(DataError::content(root, expected, describe(root), hint))
        };
        let splits = named.iter().filter(|split| split.holds_folders).count();
        if splits == 0 && named.len() == 1 && others.len() > 1 {
            let why = format!(
                "is taken for a class, as it holds no folders; a split's folder (such as {}) holds \
                 a folder for each class",
                named[0].name
            );
            return Layout::single(root, vec![Warning::file(&named[0].folder, why)]);
        }
        let Some(first) = named.first() else { return Layout::single(root, Vec::new()) };
        if !named.iter().any(|split| split.role == Role::Train) {
            return wrong(
                format!("train/ beside {}/", first.name),
                &format!(
                    "labels are numbered by the training pictures: call their folder {}; to use one \
                     split alone, name its folder; a class of this name needs another",
                    names(Role::Train)
                ),
            );
        }
        let mut unused = Vec::new();
        let mut take = |role: Role| {
            let mut of_role = named.iter().filter(|split| split.role == role);
            let first = of_role.next()?;
            unused.extend(of_role.map(|other| {
                let why = format!("is not used, as there is {}/ too", first.name);
                Warning::file(&other.folder, why)
            }));
            Some((role, first.name.clone(), first.folder.clone()))
        };
        let train = take(Role::Train).map(|split| Split::at(split, root));
        let train = train.expect("one of them is for training")?;
        let (val, test) = (take(Role::Val), take(Role::Test));
        let second = val.is_some() || test.is_some();
        for folder in others {
            let looks_like_one = || {
                let mut classes = class_folders(&folder).unwrap_or_default().into_iter();
                classes.any(|class| train.classes.iter().any(|known| known.name == class.name))
            };
            if !second && looks_like_one() {
                return wrong(
                    format!("a second split called {}, or {}", names(Role::Val), names(Role::Test)),
                    &format!(
                        "{} holds classes of {}/: give it one of these names, or put it elsewhere",
                        text::path(&folder),
                        train.name
                    ),
                );
            }
            let why = format!(
                "is not used: splits are called {}, {}, {}",
                names(Role::Train),
                names(Role::Val),
                names(Role::Test)
            );
            unused.push(Warning::file(folder, why));
        }
        let (val, test) = (
            val.map(|split| Split::at(split, root)).transpose()?,
            test.map(|split| Split::at(split, root)).transpose()?,
        );
        Ok(Layout { root: root.to_path_buf(), train, val, test, unused })
    }

    /// The class folders themselves.
    fn single(root: &Path, unused: Vec<Warning>) -> Result<Layout, DataError> {
        let train = Split::at((Role::Train, String::new(), root.to_path_buf()), root)?;
        if let [a, b, ..] = train.classes.as_slice()
            && train.classes.iter().any(|class| mentions_role(&class.name))
            && let (Ok(in_a), Ok(in_b)) = (class_folders(&a.folder), class_folders(&b.folder))
            && in_a.len() > 1
            && in_a.iter().map(|class| &class.name).eq(in_b.iter().map(|class| &class.name))
        {
            return Err(DataError::content(
                root,
                format!(
                    "splits called {}, {}, {}",
                    names(Role::Train),
                    names(Role::Val),
                    names(Role::Test)
                ),
                describe(root),
                format!("{} and {} hold the same folders: rename them", a.name, b.name),
            ));
        }
        Ok(Layout { root: root.to_path_buf(), train, val: None, test: None, unused })
    }

    /// The splits, training first.
    pub(super) fn splits(&self) -> impl Iterator<Item = &Split> {
        std::iter::once(&self.train).chain(&self.val).chain(&self.test)
    }
}

/// Folders with the names of splits, and those with others.
fn sort(root: &Path) -> Result<(Vec<Named>, Vec<PathBuf>), DataError> {
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for folder in entries(root)?.folders {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match role(name) {
            Some((role, rank)) => named.push(Named {
                role,
                rank,
                name: name.to_string(),
                holds_folders: entries(&folder).is_ok_and(|inside| !inside.folders.is_empty()),
                folder,
            }),
            None => others.push(folder),
        }
    }
    Ok((named, others))
}

impl Split {
    fn at((role, name, folder): (Role, String, PathBuf), root: &Path) -> Result<Split, DataError> {
        let classes = class_folders(&folder)?;
        if classes.is_empty() {
            return Err(DataError::content(
                &folder,
                "a folder for each class",
                describe(&folder),
                "put the pictures of each class into a folder with the class's name",
            ));
        }
        if let [only] = classes.as_slice()
            && folder == root
            && let Ok((named, _)) = sort(&only.folder)
            && let Some(train) = named.iter().find(|split| split.role == Role::Train)
        {
            let found = format!("{}, which has {}/", text::path(&only.folder), train.name);
            return Err(DataError::content(
                &folder,
                "train/ or class folders",
                found,
                "name that folder",
            ));
        }
        for pair in classes.windows(2) {
            if pair[0].name == pair[1].name {
                return Err(DataError::content(
                    &folder,
                    "one folder for each class",
                    format!("two called `{}`, one letter by letter and one composed", pair[0].name),
                    "put the pictures of one into the other",
                ));
            }
        }
        Ok(Split { role, name, folder, classes })
    }
}

/// The class folders of a split, sorted by name.
fn class_folders(split: &Path) -> Result<Vec<Class>, DataError> {
    let class = |folder: PathBuf| {
        let name = folder.file_name().unwrap_or_default();
        match name.to_str() {
            Some(name) => Ok(Class { name: text::composed(name), folder }),
            None => {
                let found = text::name(name).to_string();
                let hint = "rename the folder";
                Err(DataError::content(&folder, "a class name in UTF-8", found, hint))
            }
        }
    };
    let mut classes =
        entries(split)?.folders.into_iter().map(class).collect::<Result<Vec<_>, _>>()?;
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(classes)
}
