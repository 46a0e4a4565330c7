use std::fs;
use std::path::Path;

use super::super::testing::{TempDir, flat_png};
use super::*;

/// `count` pictures in `folder`, called by numbers.
fn pictures(dir: &TempDir, folder: &str, count: usize) {
    for number in 0..count {
        dir.write(&format!("{folder}/{number:03}.png"), &flat_png(2, 2, [9, 9, 9]));
    }
}

fn shares(val: f64, test: f64) -> Shares {
    let share = |share: f64| (share > 0.0).then_some(share);
    Shares { val: share(val), test: share(test), ..Shares::default() }
}

fn counts(division: &Division) -> Vec<(String, Vec<usize>)> {
    let of =
        |part: &Part| (part.split.clone(), part.classes.iter().map(|class| class.images).collect());
    division.parts.iter().map(of).collect()
}

fn saved(division: &Division, list: &Path) -> Vec<String> {
    division.save(list).unwrap();
    fs::read_to_string(list).unwrap().lines().map(str::to_string).collect()
}

fn error(source: &str, shares: &Shares) -> String {
    divide(source, shares).expect_err("it was divided").to_string()
}

#[test]
fn each_class_is_divided_and_the_list_lies_anywhere() {
    let dir = TempDir::new("division");
    pictures(&dir, "photos/cats", 40);
    pictures(&dir, "photos/dogs, small", 20);
    let photos = dir.path().join("photos");
    let division = divide(photos.to_str().unwrap(), &shares(0.1, 0.2)).unwrap();
    let expected = [("train", [28, 14]), ("val", [4, 2]), ("test", [8, 4])];
    let expected: Vec<_> = expected.map(|(name, n)| (name.to_string(), n.to_vec())).into();
    assert_eq!(counts(&division), expected);
    assert_eq!(division.warnings.len(), 2, "{:?}", division.warnings);
    assert!(division.warnings[0].contains("val has fewer than 5 pictures of `cats` (4), `dogs"));

    let beside = saved(&division, &dir.path().join("split.csv"));
    assert_eq!(beside.len(), 61);
    assert_eq!(beside[0], "path,label,split");
    assert!(beside[1].starts_with("photos/cats/000.png,cats,"), "{}", beside[1]);
    let last = "\"photos/dogs, small/019.png\",\"dogs, small\",";
    assert!(beside[60].starts_with(last), "{}", beside[60]);
    let elsewhere = saved(&division, &dir.path().join("lists/new/split.csv"));
    assert!(elsewhere[1].starts_with("../../photos/cats/000.png,cats,"), "{}", elsewhere[1]);
    for line in &elsewhere[1..41] {
        let path = line.split(',').next().unwrap();
        assert!(dir.path().join("lists/new").join(path).is_file(), "{path}");
    }
}

#[test]
fn who_goes_where_is_a_matter_of_seed_and_names() {
    let dir = TempDir::new("division-seed");
    pictures(&dir, "here/cats", 30);
    pictures(&dir, "here/dogs", 30);
    // The same names written in another order, elsewhere.
    for class in ["dogs", "cats"] {
        for number in (0..30).rev() {
            let name = format!("there/{class}/{number:03}.png");
            dir.write(&name, &flat_png(2, 2, [1, 2, 3]));
        }
    }
    let list = |folder: &str, shares: &Shares| {
        let folder = dir.path().join(folder);
        let division = divide(folder.to_str().unwrap(), shares).unwrap();
        saved(&division, &folder.join("list.csv"))
    };
    let here = list("here", &shares(0.2, 0.1));
    // A list beside the class folders is passed over when it is divided again.
    assert_eq!(here, list("here", &shares(0.2, 0.1)));
    assert_eq!(here, list("there", &shares(0.2, 0.1)));
    let other = list("here", &Shares { seed: 1, ..shares(0.2, 0.1) });
    assert_ne!(here, other);
    // The test part does not depend on the share of the other.
    let tests = |lines: &[String]| -> Vec<String> {
        lines.iter().filter(|line| line.ends_with(",test")).cloned().collect()
    };
    assert_eq!(tests(&here), tests(&list("here", &shares(0.3, 0.1))));
    // Of pictures that are added, few others notice.
    pictures(&dir, "there/cats", 33);
    let more = list("there", &shares(0.2, 0.1));
    let moved = here.iter().filter(|line| !more.contains(line)).count();
    assert!(moved <= 2, "{moved} moved");
}

#[test]
fn groups_stay_together() {
    let dir = TempDir::new("division-groups");
    for patient in 0..20 {
        for (class, shots) in [("ill", 1 + patient % 3), ("well", 2)] {
            for shot in 0..shots {
                let name = format!("scans/{class}/p{patient}_{shot}.png");
                dir.write(&name, &flat_png(2, 2, [9, 9, 9]));
                let name = format!("folders/{class}/p{patient}/{shot}.png");
                dir.write(&name, &flat_png(2, 2, [9, 9, 9]));
            }
        }
    }
    for (data, rule) in [("scans", "prefix:_"), ("folders", "folder")] {
        let source = dir.path().join(data);
        let source = source.to_str().unwrap();
        let shares = Shares { group_by: rule.parse().unwrap(), ..shares(0.2, 0.2) };
        let division = divide(source, &shares).unwrap();
        assert_eq!(division.groups, Some(20));
        let mut parts: BTreeMap<&str, Vec<Role>> = BTreeMap::new();
        for row in &division.rows {
            parts.entry(row.group.as_deref().unwrap()).or_default().push(row.part);
        }
        assert!(parts.values().all(|parts| parts.iter().all(|part| *part == parts[0])));
        for part in &division.parts[1..] {
            assert!((12..=21).contains(&part.images), "{data}: {part:?}");
        }
    }
    let scans = dir.path().join("scans");
    let by_folder = Shares { group_by: GroupBy::Folder, ..shares(0.2, 0.0) };
    let error = error(scans.to_str().unwrap(), &by_folder);
    assert!(error.contains("lie in no folder of their own"), "{error}");
    dir.write("scans/ill/alone.png", &flat_png(2, 2, [9, 9, 9]));
    let by_prefix = Shares { group_by: GroupBy::Prefix("_".into()), ..shares(0.2, 0.0) };
    let division = divide(scans.to_str().unwrap(), &by_prefix).unwrap();
    let told = &division.warnings[0];
    assert!(told.starts_with("1 of ") && told.contains("ill/alone.png"), "{told}");
}

#[test]
fn splits_that_are_there_stay_unless_they_are_pooled() {
    let dir = TempDir::new("division-splits");
    for (split, count) in [("train", 20), ("test", 10)] {
        pictures(&dir, &format!("{split}/cats"), count);
        pictures(&dir, &format!("{split}/dogs"), count);
    }
    let source = dir.text();
    let division = divide(source, &shares(0.25, 0.0)).unwrap();
    let of = |name: &str, n: usize| (name.to_string(), vec![n, n]);
    assert_eq!(counts(&division), [of("train", 15), of("val", 5), of("test", 10)]);
    let refused = error(source, &shares(0.0, 0.25));
    assert!(refused.contains("has a test split already, of 20 pictures"), "{refused}");
    let pooled = divide(source, &Shares { pool: true, ..shares(0.0, 0.5) }).unwrap();
    assert_eq!(counts(&pooled), [of("train", 15), of("test", 15)]);
    let grouped = Shares { group_by: GroupBy::Prefix("0".into()), ..shares(0.25, 0.0) };
    assert!(divide(source, &grouped).is_err(), "no name has a beginning before its first 0");
    for split in ["train", "test"] {
        dir.write(&format!("{split}/cats/p7_{split}.png"), &flat_png(2, 2, [9, 9, 9]));
    }
    let grouped = Shares { group_by: GroupBy::Prefix("_".into()), ..shares(0.25, 0.0) };
    let told = divide(source, &grouped).unwrap().warnings.join("\n");
    assert!(told.contains("a group, such as `p7`, has pictures in a split that was"), "{told}");
    let pooled = Shares { pool: true, ..grouped };
    let told = divide(source, &pooled).unwrap().warnings.join("\n");
    assert!(!told.contains("p7"), "{told}");
    for split in ["train", "test"] {
        fs::remove_file(dir.path().join(format!("{split}/cats/p7_{split}.png"))).unwrap();
    }
    let as_it_is = divide(source, &shares(0.0, 0.0)).unwrap();
    assert_eq!(counts(&as_it_is), [of("train", 20), of("test", 10)]);
}

#[test]
fn what_looks_wrong_is_told() {
    let dir = TempDir::new("division-warnings");
    pictures(&dir, "cats", 30);
    pictures(&dir, "dogs", 1);
    dir.write("cats/notes.txt", b"no picture");
    let division = divide(dir.text(), &shares(0.5, 0.0)).unwrap();
    let told = division.warnings.join("\n");
    assert!(told.contains("notes.txt") && told.contains("left out"), "{told}");
    assert!(told.contains("val has no pictures of `dogs`"), "{told}");
    let small = TempDir::new("division-small");
    for class in 0..10 {
        pictures(&small, &format!("c{class}"), 3);
    }
    let told = divide(small.text(), &shares(0.1, 0.0)).unwrap().warnings.join("\n");
    assert!(told.contains("val is 33.3 % of the pictures where 10.0 %"), "{told}");
    assert!(told.contains("`c4` (1) and 5 more classes"), "{told}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let dir = TempDir::new("division-wrong");
    pictures(&dir, "cats", 3);
    pictures(&dir, "dogs", 3);
    for (val, test) in [(0.5, 0.5), (0.9, 0.2)] {
        let told = error(dir.text(), &shares(val, test));
        assert!(told.contains("leave no pictures for training"), "{told}");
    }
    for share in [1.0, -0.1, f64::NAN, f64::INFINITY] {
        let told = error(dir.text(), &Shares { val: Some(share), ..Shares::default() });
        assert!(told.contains("must lie between 0 and 1"), "{told}");
    }
    assert!(error("builtin", &shares(0.1, 0.0)).contains("are no files of their own"));
    assert!(error("nowhere", &shares(0.1, 0.0)).contains("unknown data"));
}

#[test]
fn lists_are_divided_again_and_by_their_columns() {
    let dir = TempDir::new("division-lists");
    let mut table = String::from("file_name,label,Patient ID\n");
    for number in 0..40 {
        let class = ["ill", "well"][number % 2];
        dir.write(&format!("scans/{number}.png"), &flat_png(2, 2, [9, 9, 9]));
        table += &format!("scans/{number}.png,{class},p{}\n", number / 4);
    }
    let list = dir.write("all.csv", table.as_bytes());
    let by_column =
        |name: &str| Shares { group_by: GroupBy::Column(name.into()), ..shares(0.2, 0.2) };
    let division = divide(list.to_str().unwrap(), &by_column("patient_id")).unwrap();
    assert_eq!(division.groups, Some(10));
    let of = |name: &str, n: usize| (name.to_string(), vec![n, n]);
    assert_eq!(counts(&division), [of("train", 12), of("val", 4), of("test", 4)]);
    let divided = dir.path().join("lists/divided.csv");
    let lines = saved(&division, &divided);
    for line in &lines[1..] {
        let number = &line["../scans/".len()..line.find(".png").unwrap()];
        let number: usize = number.parse().unwrap();
        let split = line.rsplit(',').next().unwrap();
        let beside = format!("../scans/{}.png,", number / 4 * 4);
        let first = lines.iter().find(|line| line.starts_with(&beside)).unwrap();
        assert!(first.ends_with(split), "{line} and {first}");
    }
    // The list is data, of the same pictures in the same parts.
    let splits = super::super::open(divided.to_str().unwrap(), &Default::default()).unwrap();
    assert!(splits.warnings.is_empty(), "{:?}", splits.warnings);
    let test = splits.test.unwrap();
    assert_eq!((splits.train.len(), splits.val.unwrap().len(), test.len()), (24, 8, 8));
    assert!(divided.parent().unwrap().join(test.name(0)).is_file(), "{}", test.name(0));
    let again = divide(divided.to_str().unwrap(), &shares(0.0, 0.0)).unwrap();
    assert_eq!(counts(&again), counts(&division));

    let told = error(list.to_str().unwrap(), &by_column("doctor"));
    assert!(told.contains("expected a column `doctor`, found file_name, label, Patient ID"));
    pictures(&dir, "folder/cats", 3);
    let told = error(dir.path().join("folder").to_str().unwrap(), &by_column("patient"));
    assert!(told.contains("is no list"), "{told}");
}
