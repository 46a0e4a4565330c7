use resnet_engine::exec;

use super::*;
use crate::base::files::TestDir;

fn create(place: &Place) -> Result<Directory, TrainError> {
    let device = exec::cpu(1).unwrap();
    Directory::create(place, &Recipe::default(), "typed", device.as_ref())
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_run_replaces_no_file_of_a_name_of_its_own() {
    let dir = TestDir::new("own-names");
    for name in NAMES {
        let root = dir.0.join(name.replace('/', "-"));
        fs::create_dir_all(root.join(CHECKPOINTS)).unwrap();
        fs::write(root.join(name), "of somebody").unwrap();
        match create(&Place::At(root.clone())).err().unwrap() {
            TrainError::Taken(_, CONFIG) if name == CONFIG => {}
            TrainError::Occupied(_, found) if found == name => {}
            other => panic!("{name}: {other}"),
        }
        assert_eq!(fs::read_to_string(root.join(name)).unwrap(), "of somebody");
        let mut there = vec![CHECKPOINTS];
        there.extend(Some(name).filter(|name| !name.contains('/')));
        assert_eq!(names(&root), there);
    }
}

#[test]
fn whatever_stops_a_claim_it_gives_back_what_it_made_and_nothing_else() {
    let dir = TestDir::new("given-back");
    // The lock cannot be made, then the folder of checkpoints.
    let root = dir.0.join("a");
    fs::create_dir_all(root.join(LOCK)).unwrap();
    assert!(create(&Place::At(root.clone())).is_err());
    assert_eq!(names(&root), [LOCK]);
    let root = dir.0.join("b");
    fs::create_dir(&root).unwrap();
    fs::write(root.join(CHECKPOINTS), "").unwrap();
    assert!(create(&Place::At(root.clone())).is_err());
    assert_eq!(names(&root), [CHECKPOINTS]);
    // A lock that was there stays, and so does a folder.
    let root = dir.0.join("c");
    fs::create_dir_all(root.join(CHECKPOINTS)).unwrap();
    fs::write(root.join(LOCK), "").unwrap();
    let mut own = Vec::new();
    let environment = BTreeMap::new();
    let mut claimed = Directory::of(&root);
    claimed.fill(&Recipe::default(), &environment, &mut own).unwrap();
    assert_eq!(own, [CONFIG, ENVIRONMENT]);
    claimed.give_back(false, &own);
    assert_eq!(names(&root), [LOCK, CHECKPOINTS]);
    // Of a directory that was made for the run nothing is left.
    let root = dir.0.join("d");
    fs::create_dir(&root).unwrap();
    let mut own = Vec::new();
    let mut claimed = Directory::of(&root);
    claimed.fill(&Recipe::default(), &environment, &mut own).unwrap();
    claimed.give_back(true, &own);
    assert!(!root.exists());
}

#[cfg(unix)]
#[test]
fn a_file_that_appears_while_a_directory_is_claimed_is_not_replaced() {
    let dir = TestDir::new("appears");
    // A link to nothing is not seen before it is in the way.
    for name in [CONFIG, ENVIRONMENT] {
        let root = dir.0.join(name);
        fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink(dir.0.join("nowhere"), root.join(name)).unwrap();
        let error = create(&Place::At(root.clone())).err().unwrap();
        assert!(error.to_string().contains(&format!("already holds {name}")), "{error}");
        assert_eq!(names(&root), [name]);
    }
}
