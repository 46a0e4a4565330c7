use resnet_engine::exec;

use super::*;
use crate::base::files::{TestDir, names};

fn create(place: &Place) -> Result<Directory, TrainError> {
    let device = exec::cpu(1).unwrap();
    Directory::create(place, &Recipe::default(), "typed", device.as_ref())
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

#[test]
fn paths_of_a_run_are_those_of_where_it_began() {
    let dir = TestDir::new("began");
    let (root, there) = (dir.0.join("run"), dir.0.join("there"));
    // Tests run where the crate is, which has a `src` as well.
    for folder in ["src", "photos", "builtin", GIVEN] {
        fs::create_dir_all(there.join(folder)).unwrap();
    }
    fs::create_dir(&root).unwrap();
    let began = serde_json::json!({ BEGAN_IN: there.to_str().unwrap() });
    fs::write(root.join(ENVIRONMENT), began.to_string()).unwrap();
    let absolute = there.join("photos").to_str().unwrap().to_owned();
    let seen = |source: &str| {
        let mut recipe = Recipe::default();
        recipe.data.source = source.into();
        recipe.model.start = source.into();
        fs::write(root.join(CONFIG), recipe.to_toml()).unwrap();
        let recipe = recipe_of_run(&root).unwrap();
        (recipe.data.source, recipe.model.start)
    };
    let placed = |name: &str| there.join(name).to_str().unwrap().to_owned();
    assert!(Path::new("src").exists());
    assert_eq!(seen("src"), (placed("src"), placed("src")));
    assert_eq!(seen("folder:src").0, format!("folder:{}", placed("src")));
    assert_eq!(seen("folder:photos").0, format!("folder:{absolute}"));
    assert_eq!(seen(&absolute), (absolute.clone(), absolute.clone()));
    assert_eq!(seen(&format!("folder:{absolute}")).0, format!("folder:{absolute}"));
    // What is nowhere there stays as it was typed, and so does what is no folder.
    for same in ["tests", "folder:tests", "mnist:nowhere", "builtin", GIVEN] {
        assert_eq!(seen(same).0, same);
    }
}

#[test]
fn paths_named_when_a_run_goes_on_elsewhere_are_kept_whole() {
    let dir = TestDir::new("elsewhere");
    let directory = Directory::of(&dir.0);
    let placed = || {
        let mut recipe = Recipe::default();
        recipe.data.source = "folder:src".into();
        directory.place_paths(&mut recipe);
        recipe.data.source
    };
    let here = std::env::current_dir().unwrap();
    let began = |path: &Path| {
        let json = serde_json::json!({ BEGAN_IN: path.to_str().unwrap() }).to_string();
        fs::write(dir.0.join(ENVIRONMENT), json).unwrap();
    };
    began(&here);
    assert_eq!(placed(), "folder:src");
    began(&dir.0);
    assert_eq!(placed(), format!("folder:{}", here.join("src").display()));
}
