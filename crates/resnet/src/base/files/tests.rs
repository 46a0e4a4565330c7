use super::*;

#[test]
fn a_file_is_replaced_whole() {
    let dir = TestDir::new("replace");
    let path = dir.0.join("last");
    for content in ["first", "second"] {
        write_atomic(&path, |to| to.write_all(content.as_bytes())).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        assert_eq!(names(&dir.0), ["last"]);
    }
}

#[test]
fn a_failure_at_any_byte_keeps_the_old_file() {
    let dir = TestDir::new("failure");
    let path = dir.0.join("last");
    fs::write(&path, "old").unwrap();
    for written in [0, 1, 1 << 17] {
        let error = write_atomic(&path, |to| {
            to.write_all(&vec![b'x'; written])?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err()
        .to_string();
        assert!(error.contains("last") && error.contains("free some space"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(&dir.0), ["last"]);
    }
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let dir = TestDir::new("killed");
    let left = |age: u64| {
        let path = dir.0.join(partial_name("last"));
        let file = File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        (path, file)
    };
    let (old, _) = left(3600);
    let (fresh, _) = left(1);
    let (locked, lock) = left(3600);
    lock.lock().unwrap();
    let other = dir.0.join(".of.somebody.partial");
    fs::write(&other, "").unwrap();
    write_atomic(&dir.0.join("last"), |to| to.write_all(b"whole")).unwrap();
    assert!(!old.exists());
    assert!(fresh.exists() && locked.exists() && other.exists());
}

#[test]
fn readers_never_see_half_a_file_of_two_writers() {
    let dir = TestDir::new("writers");
    let path = dir.0.join("model");
    let size = 1 << 18;
    fs::write(&path, vec![0; size]).unwrap();
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for value in [1, 2] {
            let (path, done) = (&path, &done);
            scope.spawn(move || {
                for _ in 0..30 {
                    write_atomic(path, |to| {
                        (0..size).step_by(1 << 12).try_for_each(|_| to.write_all(&[value; 1 << 12]))
                    })
                    .unwrap();
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        while done.load(Ordering::SeqCst) < 2 {
            let bytes = fs::read(&path).unwrap();
            assert_eq!(bytes.len(), size);
            assert!(bytes.iter().all(|&byte| byte == bytes[0]));
        }
    });
    assert_eq!(names(&dir.0), ["model"]);
}

#[test]
fn of_many_who_create_a_file_one_does() {
    let dir = TestDir::new("create");
    let path = dir.0.join("config");
    let created = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..16u8 {
            let (path, created) = (&path, &created);
            scope.spawn(move || match create_whole(path, &[number; 5000]) {
                Ok(()) => _ = created.fetch_add(1, Ordering::SeqCst),
                Err(FileError::Write { source, .. }) => {
                    assert_eq!(source.kind(), io::ErrorKind::AlreadyExists);
                }
                Err(other) => panic!("{other}"),
            });
        }
    });
    assert_eq!(created.into_inner(), 1);
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() == 5000 && bytes.iter().all(|&byte| byte == bytes[0]));
    assert_eq!(names(&dir.0), ["config"]);
}

#[test]
fn without_second_names_a_file_is_created_once_and_whole_or_not_at_all() {
    let dir = TestDir::new("directly");
    let path = dir.0.join("config");
    for written in [0, 5000] {
        let error = create_directly(&path, |file| {
            file.write_all(&vec![b'x'; written])?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(names(&dir.0), [""; 0], "half a file is in the way of the next");
    }
    create_directly(&path, |file| file.write_all(b"first")).unwrap();
    let second = create_directly(&path, |file| file.write_all(b"second"));
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"first");
}

#[test]
fn of_many_who_want_a_directory_each_gets_one() {
    let dir = TestDir::new("free");
    let first = dir.0.join("runs").join("a");
    let made: Vec<PathBuf> = std::thread::scope(|scope| {
        let take = || scope.spawn(|| free_directory(&first).unwrap());
        let all: Vec<_> = (0..16).map(|_| take()).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let distinct: BTreeSet<&PathBuf> = made.iter().collect();
    assert_eq!(distinct.len(), 16);
    assert!(made.contains(&first) && made.contains(&dir.0.join("runs").join("a-16")));
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let dir = TestDir::new("places");
    fs::write(dir.0.join("file"), "").unwrap();
    fs::create_dir(dir.0.join("folder")).unwrap();
    let cases = [
        ("missing/last", "check the path"),
        ("file/last", "check the path"),
        ("folder", "name a file"),
    ];
    for (place, advice) in cases {
        let error = write_atomic(&dir.0.join(place), |to| to.write_all(b"x"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(advice), "{error}");
    }
    assert_eq!(names(&dir.0), ["file", "folder"]);
    assert!(write_atomic(Path::new("/"), |_| Ok(())).is_err());
    assert!(write_atomic(Path::new(""), |_| Ok(())).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn devices_and_links_are_written_through() {
    let full = Path::new("/dev/full");
    let error = write_atomic(full, |to| to.write_all(b"x")).unwrap_err();
    assert!(error.to_string().contains("/dev/full"), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert!(!fs::metadata(full).unwrap().is_file());

    let dir = TestDir::new("links");
    fs::write(dir.0.join("target"), "old").unwrap();
    std::os::unix::fs::symlink("target", dir.0.join("link")).unwrap();
    write_atomic(&dir.0.join("link"), |to| to.write_all(b"new")).unwrap();
    assert_eq!(fs::read_to_string(dir.0.join("target")).unwrap(), "new");
    assert!(fs::symlink_metadata(dir.0.join("link")).unwrap().is_symlink());
}

#[test]
fn reading_is_bounded() {
    let dir = TestDir::new("bounded");
    let path = dir.0.join("recipe");
    fs::write(&path, "12345").unwrap();
    assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
    assert!(matches!(read_bounded(&path, 4), Err(FileError::TooLarge { limit: 4, .. })));
    let error = read_bounded(&dir.0.join("none"), 4).unwrap_err().to_string();
    assert!(error.contains("none") && error.contains("check the path"), "{error}");
}
