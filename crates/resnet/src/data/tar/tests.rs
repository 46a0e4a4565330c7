use std::path::Path;

use super::super::testing::{
    TempDir, flat_png, jpeg, pattern, sign_tar as sign, tar, tar_member as member,
};
use super::super::{Dataset, Image, OpenOptions, Splits};

fn png(tint: u8) -> Vec<u8> {
    flat_png(4, 4, [tint, 0, 0])
}

fn open(place: &Path) -> Result<Splits, String> {
    super::super::open(place.to_str().unwrap(), &OpenOptions::default())
        .map_err(|error| error.to_string())
}

fn rows(data: &dyn Dataset) -> Vec<(String, u32)> {
    let name = |index| {
        let name = data.name(index);
        name.rsplit_once(".tar/").map_or(name.clone(), |(_, member)| member.to_string())
    };
    (0..data.len()).map(|index| (name(index), data.label(index))).collect()
}

fn labelled(rows: &[(&str, u32)]) -> Vec<(String, u32)> {
    rows.iter().map(|(name, label)| (name.to_string(), *label)).collect()
}

#[test]
fn samples_have_their_picture_label_and_order() {
    let dir = TempDir::new("tar-samples");
    let shard = tar(&[
        ("x/007.jpg", &jpeg(&pattern(9, 9, 3), 90)),
        ("x/007.cls", b"1\n"),
        ("__key__", b"?"),
        ("x/003.json", b"{\"label\": 0, \"url\": \"a.b\"}"),
        ("x/003.seg.PNG", &png(3)),
        ("x/001.cls", b" 1 "),
        ("x/001.txt", b"a caption"),
        ("x/001.webp.png", &png(1)),
    ]);
    dir.write("a-train-00.tar", &shard);
    dir.write("a-train-01.tar", &tar(&[("0.png", &png(9)), ("0.cls", b"0"), ("1.png", &png(8))]));
    dir.write("a-val-00.tar", &tar(&[("0.png", &png(9)), ("0.cls", b"1")]));
    let splits = open(dir.path()).unwrap();
    assert_eq!(splits.train.classes(), ["0", "1"]);
    let expected = [("x/007.jpg", 1), ("x/003.seg.PNG", 0), ("x/001.webp.png", 1), ("0.png", 0)];
    assert_eq!(rows(splits.train.as_ref()), labelled(&expected));
    assert_eq!(rows(splits.test.unwrap().as_ref()), labelled(&[("0.png", 1)]));
    let told: Vec<String> = splits.warnings.iter().map(ToString::to_string).collect();
    assert!(
        told.len() == 2 && told[1].contains("01.tar/1.png: has no label in a .cls"),
        "{told:?}"
    );
    let mut image = Image::default();
    splits.train.read(1, &mut image).unwrap();
    assert_eq!(image.pixels, [3, 0, 0].repeat(16));
    // One shard, a range of them, and names of classes beside.
    dir.write("classes.json", b"[\"ant\", \"bee\"]");
    let splits = open(&dir.path().join("a-train-{00..01}.tar")).unwrap();
    assert_eq!(splits.train.classes(), ["ant", "bee"]);
    assert_eq!(splits.train.len(), 4);
    assert_eq!(open(&dir.path().join("a-train-00.tar")).unwrap().train.len(), 3);
    let range = dir.path().join("a-train-{00..02}.tar");
    assert!(open(&range).err().unwrap().contains("a-train-02.tar: cannot be read"));
}

#[test]
fn labels_of_samples_may_be_names() {
    let dir = TempDir::new("tar-names");
    let members: [(&str, &[u8]); 6] = [
        ("1.png", &png(1)),
        ("1.cls", "b\u{e9}e".as_bytes()),
        ("2.png", &png(2)),
        ("2.json", b"{\"class\": \"ant\"}"),
        ("3.png", &png(3)),
        ("3.cls", "be\u{301}e".as_bytes()),
    ];
    let file = dir.write("x.tar", &tar(&members));
    let splits = open(&file).unwrap();
    assert_eq!(splits.train.classes(), ["ant", "b\u{e9}e"]);
    assert_eq!(rows(splits.train.as_ref()), labelled(&[("1.png", 1), ("2.png", 0), ("3.png", 1)]));
    let named = [&members[..], &[("classes.txt", "b\u{e9}e\nant\n".as_bytes())]].concat();
    let splits = open(&dir.write("x.tar", &tar(&named))).unwrap();
    assert_eq!(splits.train.classes(), ["b\u{e9}e", "ant"]);
    let lacking = [&members[..], &[("classes.txt", b"ant\nwasp\n".as_slice())]].concat();
    let error = open(&dir.write("x.tar", &tar(&lacking))).err().unwrap();
    assert!(error.contains("x.tar/classes.txt: expected the name of every class"), "{error}");
}

#[test]
fn packed_class_folders_are_a_folder() {
    let dir = TempDir::new("tar-folders");
    let files = [
        "train/b/2.png",
        "train/b/10.png",
        "train/a/deep/x.png",
        "train/a/deep.png",
        "val/b/1.png",
        "val/a/1.png",
    ];
    for (n, name) in files.iter().enumerate() {
        dir.write(&format!("data/{name}"), &png(n as u8));
    }
    let folder = open(&dir.path().join("data")).unwrap();
    for around in ["", "./", "data/", "./some/data/"] {
        let names: Vec<String> = files.iter().map(|name| format!("{around}{name}")).collect();
        let pictures: Vec<Vec<u8>> = (0..files.len()).map(|n| png(n as u8)).collect();
        let mut members: Vec<(&str, &[u8])> = vec![("._x/y.png", b"mac"), ("notes.txt", b"x")];
        members.extend(names.iter().map(String::as_str).zip(pictures.iter().map(Vec::as_slice)));
        members.truncate(if around.is_empty() { 8 } else { 99 });
        let members: Vec<_> =
            members.into_iter().filter(|m| around.is_empty() || m.0 != "notes.txt").collect();
        let splits = open(&dir.write("x.tar", &tar(&members))).unwrap();
        for (ours, theirs) in
            [(splits.train, &folder.train), (splits.test.unwrap(), folder.test.as_ref().unwrap())]
        {
            let names = rows(ours.as_ref());
            assert_eq!(names.len(), theirs.len());
            for (index, (name, label)) in names.iter().enumerate() {
                assert!(
                    theirs
                        .name(index)
                        .ends_with(name.trim_start_matches("./some/").trim_start_matches("./")),
                    "{name}"
                );
                assert_eq!(*label, theirs.label(index));
                let (mut a, mut b) = (Image::default(), Image::default());
                ours.read(index, &mut a).unwrap();
                theirs.read(index, &mut b).unwrap();
                assert_eq!(a, b);
            }
        }
        assert_eq!(splits.warnings.len(), 0, "{:?}", splits.warnings);
    }
    let flat = dir.write("x.tar", &tar(&[("1.png", &png(1)), ("2.png", &png(2))]));
    let error = open(&flat).err().unwrap();
    assert!(
        error.contains("expected pictures in class folders, or each with its label"),
        "{error}"
    );
    let val = dir.write(
        "x.tar",
        &tar(&[("val/a/1.png", &png(1)), ("val/b/2.png", &png(2)), ("test/a/1", &png(3))]),
    );
    assert!(open(&val).err().unwrap().contains("expected train/, training/ beside val/"));
}

#[test]
fn long_names_and_links_are_read() {
    let dir = TempDir::new("tar-long");
    let long = format!("a/{}/1.png", "d".repeat(150));
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let length = (1..5)
            .map(|digits| rest.len() + digits)
            .find(|n| rest.len() + n.to_string().len() == *n);
        format!("{}{rest}", length.unwrap())
    };
    let gnu = [
        member("././@LongLink", b'L', format!("{long}\0").as_bytes()),
        member(&long, b'0', &png(1)),
    ];
    let pax = [
        member("x", b'x', [record("mtime", "1.5"), record("path", &long)].concat().as_bytes()),
        member("short", b'0', &png(1)),
    ];
    let mut split = member("1.png", b'0', &png(1));
    let prefix = &long[..long.len() - 6];
    split[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes());
    sign(&mut split[..512]);
    for start in [gnu.concat(), pax.concat(), split] {
        let mut link = member("b/2.png", b'1', b"");
        let to = "b/1.png";
        link[157..157 + to.len()].copy_from_slice(to.as_bytes());
        sign(&mut link[..512]);
        let rest = [
            member("g", b'g', b"18 comment=whatever\n"),
            member("b", b'5', b""),
            member("b/1.png", 0, &png(2)),
            link,
            member("b/3", b'2', b""),
            vec![0; 1024],
        ];
        let file = dir.write("x.tar", &[start, rest.concat()].concat());
        let splits = open(&file).unwrap();
        let expected = [(long.as_str(), 0), ("b/1.png", 1), ("b/2.png", 1)];
        assert_eq!(rows(splits.train.as_ref()), labelled(&expected));
        assert_eq!(splits.warnings.len(), 1, "{:?}", splits.warnings);
        let mut image = Image::default();
        splits.train.read(2, &mut image).unwrap();
        assert_eq!(image.pixels, [2, 0, 0].repeat(16));
    }
}

#[test]
fn damaged_and_cut_files_name_shard_and_member() {
    let dir = TempDir::new("tar-cut");
    let whole = tar(&[("a/1.png", &png(1)), ("b/2.png", &png(2)), ("b/3.png", &png(3))]);
    let fails = |bytes: &[u8]| open(&dir.write("x.tar", bytes)).err();
    for length in 1..whole.len() - 1024 {
        if length % 7 != 0 && length % 512 != 0 {
            continue;
        }
        match fails(&whole[..length]) {
            Some(error) => {
                let few = length < 1600 && error.contains("are of the class `a`");
                assert!(few || error.contains("x.tar: expected"), "{length}: {error}");
            }
            // After a member's bytes nothing is missing but the mark of the end.
            None => {
                let told = open(&dir.path().join("x.tar")).unwrap().warnings;
                assert!(told[0].message.starts_with("has no mark of its end"), "{length}");
            }
        }
    }
    let error = fails(&whole[..1100]).unwrap();
    assert!(
        error.contains("the member `b/2.png` at byte 1024, with") || error.contains("at byte 1024"),
        "{error}"
    );
    for at in (0..whole.len() - 1024).step_by(5) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        // A changed byte is found, or in a picture that is then named, or says nothing.
        let _ = fails(&bytes);
    }
    let with_size = |size: &[u8; 12]| {
        let mut bytes = whole.clone();
        bytes[124..136].copy_from_slice(size);
        sign(&mut bytes[..512]);
        fails(&bytes).unwrap()
    };
    assert!(with_size(b"77777777777\0").contains("the member `a/1.png` at byte 0, with"));
    assert!(
        with_size(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff")
            .contains("of its 18446744073709551615 bytes")
    );
    assert!(
        with_size(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").contains("expected a size")
    );
    assert!(with_size(b"12x\0\0\0\0\0\0\0\0\0").contains("expected a size"));
    let mut long = member("x", b'L', &vec![b'a'; 1 << 16]);
    long.extend(&whole);
    assert!(fails(&long).unwrap().contains("at most 32768 bytes of name"));
    let mut pax = member("x", b'x', b"99 path=a\n");
    pax.extend(&whole);
    assert!(fails(&pax).unwrap().contains("expected attributes"));
    assert!(fails(b"").unwrap().contains("expected"));
    assert!(fails(&[7; 3000]).unwrap().contains("expected a tar file, found another"));
}

#[test]
fn a_shard_that_changes_is_not_read_on() {
    let dir = TempDir::new("tar-changed");
    let members = [("a/1.png", png(1)), ("b/2.png", png(2))];
    let members: Vec<(&str, &[u8])> = members.iter().map(|(n, b)| (*n, b.as_slice())).collect();
    let file = dir.write("x.tar", &tar(&members));
    let train = open(&file).unwrap().train;
    let mut image = Image::default();
    train.read(0, &mut image).unwrap();
    dir.write("x.tar", &tar(&members[..1]));
    let error = train.read(1, &mut image).unwrap_err();
    assert!(error.is_of_system() && error.to_string().contains("was changed since"), "{error}");
}
