//! The pictures that a network is looked at with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::text;
use crate::data::{self, DataError, Dataset, OpenOptions};
use crate::model::Model;

/// Pictures to look at a network with.
pub struct Material {
    /// Where they come from.
    pub source: String,
    /// Which part of it.
    pub split: String,
    /// Those to look at, the held-out ones where there are some.
    pub look: Arc<dyn Dataset>,
    /// The same with the model's labels, where their classes are the model's.
    pub known: Option<Arc<dyn Dataset>>,
    /// Others of the same classes, to fit classifiers to.
    pub learn: Option<Arc<dyn Dataset>>,
    /// What should be known about them.
    pub warnings: Vec<String>,
}

impl Material {
    /// The pictures of some data, or of a folder of pictures without classes.
    ///
    /// # Errors
    /// They cannot be opened.
    pub fn open(model: &Model, source: &str) -> Result<Material, DataError> {
        if let Some(look) = loose(Path::new(source))? {
            return Ok(Material {
                source: source.to_owned(),
                split: "all".into(),
                look,
                known: None,
                learn: None,
                warnings: Vec::new(),
            });
        }
        let options = OpenOptions { one_class: true, ..OpenOptions::default() };
        let splits = data::open(source, &options)?;
        let mut warnings: Vec<String> = splits.warnings.iter().map(ToString::to_string).collect();
        let (split, look, learn) = match (splits.test, splits.val) {
            (Some(test), _) => (splits.test_name, test, Some(splits.train)),
            (None, Some(val)) => ("val".into(), val, Some(splits.train)),
            (None, None) => ("train".into(), splits.train, None),
        };
        let known = match model.relabel(look.clone()) {
            Ok(known) => Some(known),
            Err(error) => {
                warnings.push(format!("{error}; without labels, what changes is counted"));
                None
            }
        };
        Ok(Material { source: source.to_owned(), split, look, known, learn, warnings })
    }
}

/// The pictures of a folder that has no folders inside it.
fn loose(folder: &Path) -> Result<Option<Arc<dyn Dataset>>, DataError> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let found = data::files_in(folder)?;
    let is_here = |file: &PathBuf| file.parent() == Some(folder);
    if found.files.is_empty() || !found.files.iter().all(is_here) {
        return Ok(None);
    }
    // What is no picture is left out by the loader, with a warning.
    Ok(Some(Arc::new(Loose { files: found.files, classes: vec!["picture".into()] })))
}

/// Pictures of one class that nobody named.
struct Loose {
    files: Vec<PathBuf>,
    classes: Vec<String>,
}

impl Dataset for Loose {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, _: usize) -> u32 {
        0
    }

    fn name(&self, index: usize) -> String {
        text::path(&self.files[index]).to_string()
    }

    fn read(&self, index: usize, image: &mut data::Image) -> Result<(), DataError> {
        data::read_picture(&self.files[index], image)
    }

    fn read_part(
        &self,
        index: usize,
        wanted: &dyn Fn(usize, usize) -> data::Area,
        image: &mut data::Image,
    ) -> Result<data::Part, DataError> {
        data::read_picture_part(&self.files[index], wanted, image)
    }
}
