//! The most memory that small hostile files can make the reader hold. A process of its own, so that
//! the peak is the reader's.
#![cfg(target_os = "linux")]

mod craft;

use craft::{Claim, archive, claim, stream, tensor, text};
use resnet_formats::pth;

/// Most memory this process has held, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
}

#[test]
fn small_files_hold_at_most_256_mib() {
    // A tensor of 64 axes that is built as often as values are granted, each remembered and put
    // into a list.
    let wide = Claim { shape: vec![1; 64], strides: vec![1; 64], ..claim() };
    let once = tensor(&wide);
    let arguments = &once["ctorch._utils\n_rebuild_tensor_v2\n".len()..once.len() - 1];
    let mut tensors = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\0".to_vec();
    tensors.extend(arguments);
    tensors.extend(b"q\x01]q\x02");
    for number in 0..530_000u32 {
        tensors.extend(b"h\0h\x01Rr");
        tensors.extend((number + 10).to_le_bytes());
        tensors.extend(b"a");
    }
    tensors.extend(b".");
    // As many one-letter texts, lists of one item, and entries of a dictionary.
    let mut lists = b"\x80\x02]q\0".to_vec();
    lists.extend(b"]Naa".repeat(530_000));
    let mut entries = b"\x80\x02Nq\x000}".to_vec();
    for number in 0..530_000u32 {
        entries.extend([b"U\x04".as_slice(), &number.to_be_bytes(), b"h\0s"].concat());
    }
    // Every value granted, then one tensor as large as is granted: their memory adds up.
    let half = b"]N\x85a".repeat(260_000);
    let both = [
        b"\x80\x02}(".as_slice(),
        &text("w"),
        &tensor(&Claim { shape: vec![16 << 20], strides: vec![0], ..claim() }),
        &text("x"),
        b"](",
        &half,
        b"eu.",
    ]
    .concat();
    // 100,000 names of the same number, and one number repeated.
    let mut names = [b"\x80\x02}(".as_slice(), &text("w"), &tensor(&claim()), b"q\0"].concat();
    for number in 0..100_000u32 {
        names.extend([b"U\x06".as_slice(), format!("{number:06}").as_bytes(), b"h\0"].concat());
    }
    names.extend(b"u.");
    let repeated = Claim { shape: vec![16 << 20], strides: vec![0], ..claim() };
    let repeated = craft::state(&tensor(&repeated));
    // Keys that are no texts, each of them listed as read over.
    let mut odd = b"\x80\x02}(".to_vec();
    odd.extend(text("w"));
    odd.extend(tensor(&claim()));
    odd.extend([b"J".as_slice(), &[7; 4], b"N"].concat().repeat(100_000));
    odd.extend(b"u.");
    for pickle in [tensors, lists, entries, both, names, repeated, odd] {
        for file in [archive(&pickle), stream(&pickle, 2, &[0; 8])] {
            assert!(file.len() < 8 << 20);
            let result = pth::read(&file).map(|found| found.tensors.entries.len());
            eprintln!("{} bytes: {result:?}, {} MiB", file.len(), peak() >> 20);
        }
    }
    assert!(peak() < 256 << 20, "{} MiB", peak() >> 20);
}
