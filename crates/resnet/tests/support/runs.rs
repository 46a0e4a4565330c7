//! Small runs in folders of their own.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use resnet::base::rng::Rng;
use resnet::data::Memory;
use resnet::engine::graph::Shape;

/// A folder that disappears with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("resnet-runs-{}-{unique}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Noise of three classes that differ in brightness; `counts` pictures of each.
pub(crate) fn pictures(name: &str, counts: [usize; 3]) -> Memory {
    let shape = Shape::new(3, 12, 12);
    let mut rng = Rng::named(2, name);
    let labels: Vec<u8> = (0..3u8).flat_map(|class| vec![class; counts[class as usize]]).collect();
    let pixels = labels.iter().flat_map(|&class| vec![class; shape.len()]);
    let pixels = pixels.map(|class| 30 + 70 * class + rng.below(60) as u8).collect();
    let classes = ["dark", "grey", "light"].map(String::from).to_vec();
    Memory::new(name, shape, pixels, labels, classes).unwrap()
}
