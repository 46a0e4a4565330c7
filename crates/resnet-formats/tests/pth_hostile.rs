//! Pickles made to do harm, in both containers: each is refused, and the message says why.

mod craft;

use craft::{
    Case, Claim, archive, claim, file, int, ints, refused, state, stream, tensor, text, zip,
};
use resnet_formats::pth;

/// The same pickle in both containers.
fn pickles(cases: Vec<(&'static str, Vec<u8>, &'static [&'static str])>) {
    let cases = cases.into_iter().flat_map(|(what, pickle, says)| {
        [archive(&pickle), stream(&pickle, 2, &[0; 8])].map(|file| Case { what, file, says })
    });
    refused(cases.collect());
}

#[test]
fn nothing_is_executed() {
    let witness = std::env::temp_dir().join(format!("executed-{}", std::process::id()));
    let call = |name: &str| {
        let command = text(&format!("touch {}", witness.display()));
        [b"\x80\x02c", name.as_bytes(), b"(", &command, b"tR."].concat()
    };
    pickles(vec![
        (
            "os.system",
            call("os\nsystem\n"),
            &["`os.system` is refused", "run code", "nothing was executed"],
        ),
        ("posix.system", call("posix\nsystem\n"), &["`posix.system`", "run code"]),
        ("nt.system", call("nt\nsystem\n"), &["`nt.system`", "run code"]),
        ("builtins.eval", call("builtins\neval\n"), &["`builtins.eval`", "run code"]),
        ("__builtin__.exec", call("__builtin__\nexec\n"), &["`__builtin__.exec`", "run code"]),
        ("subprocess.Popen", call("subprocess\nPopen\n"), &["`subprocess.Popen`", "run code"]),
        (
            "complex numbers",
            call("torch\nComplexFloatStorage\n"),
            &["ComplexFloatStorage", "numbers of this type"],
        ),
        // What is not refused by its name is a placeholder, and a placeholder is no state dict.
        (
            "nested torch.load",
            call("torch.storage\n_load_from_bytes\n"),
            &["an object of torch.storage._load_from_bytes", "model.state_dict()"],
        ),
        (
            "a method of an accepted class",
            call("collections\nOrderedDict.__reduce_ex__\n"),
            &["an object of collections.OrderedDict.__reduce_ex__"],
        ),
        ("options", call("argparse\nNamespace\n"), &["an object of argparse.Namespace"]),
        (
            "a call of a call",
            [
                b"\x80\x02cbuiltins\ngetattr\n(",
                &text("os")[..],
                &text("system"),
                b"tR(",
                &text("x"),
                b"tR.",
            ]
            .concat(),
            &["an object of builtins.getattr"],
        ),
        (
            "STACK_GLOBAL",
            [
                b"\x80\x04".as_slice(),
                &text("posix"),
                &text("system"),
                b"\x93",
                &text("true"),
                b"\x85R.",
            ]
            .concat(),
            &["`posix.system`", "run code"],
        ),
        ("INST", b"\x80\x02(ios\nsystem\n.".to_vec(), &["instruction 0x69", "any class"]),
        ("OBJ", b"\x80\x02(cos\nsystem\no.".to_vec(), &["`os.system`"]),
        ("NEWOBJ_EX", b"\x80\x04cos\nsystem\n)}\x92.".to_vec(), &["`os.system`", "run code"]),
        ("NEWOBJ_EX of nothing", b"\x80\x04)}\x92.".to_vec(), &["values on the stack"]),
        ("EXT1", b"\x80\x02\x82\x01.".to_vec(), &["instruction 0x82", "by a number"]),
        ("text persistent id", b"\x80\x02Pstorage\n.".to_vec(), &["instruction 0x50"]),
        ("out-of-band bytes", b"\x80\x05\x97.".to_vec(), &["instruction 0x97", "outside the file"]),
        (
            "terminal escapes in a name",
            b"\x80\x02c\x1b[2Jos\nsystem\n.".to_vec(),
            &["\\u{1b}[2Jos.system"],
        ),
    ]);
    assert!(!witness.exists());
}

#[test]
fn a_placeholder_cannot_be_a_weight() {
    let under = |name: &str, value: &[u8]| {
        let whole = tensor(&claim());
        [b"\x80\x02}(", &text("a.bias")[..], &whole, &text(name), value, b"u."].concat()
    };
    let object = |class: &str| [b"c", class.as_bytes(), b")R"].concat();
    pickles(vec![
        (
            "a sparse tensor",
            under("a.weight", &object("torch._utils\n_rebuild_sparse_tensor\n")),
            &["`a.weight`, value: expected a tensor", "_rebuild_sparse_tensor", "sparse"],
        ),
        (
            "an array of numpy's",
            under("a.weight", &object("numpy.core.multiarray\n_reconstruct\n")),
            &["`a.weight`", "numpy arrays are not read"],
        ),
        (
            "a tensor over a placeholder",
            under(
                "a.weight",
                &[
                    b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(),
                    object("torch.storage\n_load_from_bytes\n"),
                    int(0),
                    ints(&[2]),
                    ints(&[1]),
                    b"tR".to_vec(),
                ]
                .concat(),
            ),
            &["`a.weight`", "inside a stream"],
        ),
        (
            "a class instead of an object",
            under("a.weight", b"cmodels\nWeight\n"),
            &["`a.weight`", "the name models.Weight"],
        ),
    ]);
    let beside = under("args", &object("argparse\nNamespace\n"));
    for file in [archive(&beside), stream(&beside, 2, &[0; 8])] {
        let found = pth::read(&file).unwrap();
        assert_eq!(found.tensors.entries.keys().collect::<Vec<_>>(), ["a.bias"]);
        assert_eq!(found.ignored["args"], "an object of argparse.Namespace");
    }
}

#[test]
fn long_names_are_refused_and_not_shown_whole() {
    let named = |len: usize| {
        let name = text(&"n.".repeat(len / 2));
        [b"\x80\x02}(", &name[..], &tensor(&claim()), b"u."].concat()
    };
    pickles(vec![
        ("a long name", named(1026), &["name: expected at most 1024 bytes, found 1026"]),
        ("a giant name", named(1 << 20), &["name: expected at most 1024 bytes, found 1048576"]),
    ]);
    for file in [archive(&named(1024)), stream(&named(1024), 2, &[0; 8])] {
        assert_eq!(pth::read(&file).unwrap().tensors.entries.len(), 1);
    }
    let error = pth::read(&archive(&named(1 << 20))).unwrap_err().to_string();
    assert!(error.len() < 500, "{error}");
}

#[test]
fn broken_programs_are_refused() {
    let mut lists = vec![0x80, 2];
    lists.extend([b'('].repeat(100_000));
    pickles(vec![
        ("a hundred thousand open marks", lists, &["levels of nesting", "1000"]),
        ("empty stack", b"\x80\x02.".to_vec(), &["a value on the stack"]),
        ("no mark", b"\x80\x02}u.".to_vec(), &["a mark"]),
        ("append to nothing", b"\x80\x02(Na.".to_vec(), &["a value on the stack"]),
        ("append to a dictionary", b"\x80\x02}Na.".to_vec(), &["a list", "a dictionary of 0"]),
        ("set an item of a list", b"\x80\x02]NNs.".to_vec(), &["a dictionary", "a list of 0"]),
        ("key without a value", b"\x80\x02}(Nu.".to_vec(), &["a value for each key"]),
        ("unknown memo", b"\x80\x02h\x07.".to_vec(), &["nothing at number 7"]),
        ("protocol 0", b"\x80\x00N.".to_vec(), &["protocol 2, 3, 4 or 5"]),
        ("protocol 99", b"\x80\x63N.".to_vec(), &["99"]),
        (
            "call a text",
            [b"\x80\x02".as_slice(), &text("f"), b")R."].concat(),
            &["a name to call", "\"f\""],
        ),
        ("attributes of a list", b"\x80\x02]}b.".to_vec(), &["may have attributes"]),
        ("text not UTF-8", b"\x80\x02X\x02\0\0\0\xff\xfe.".to_vec(), &["UTF-8"]),
        (
            "text of 4 GiB",
            b"\x80\x02X\xff\xff\xff\xffabc.".to_vec(),
            &["bytes in one text", "16777216"],
        ),
        (
            "text of 16 EiB",
            b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.".to_vec(),
            &["bytes in one text"],
        ),
        ("text beyond the end", b"\x80\x02X\xff\xff\0\0abc.".to_vec(), &["cut short"]),
        ("bytes of 2 GiB", b"\x80\x03B\xff\xff\xff\x7fabc.".to_vec(), &["bytes in one text"]),
        (
            "integer of 4 GiB",
            b"\x80\x02\x8b\xff\xff\xff\xff\0.".to_vec(),
            &["bytes in one integer", "4096"],
        ),
        (
            "name without an end",
            [b"\x80\x02c", [b'a'].repeat(5000).as_slice()].concat(),
            &["bytes in a name"],
        ),
        ("no STOP", b"\x80\x02}".to_vec(), &[]),
        ("a number", b"\x80\x02K\x07.".to_vec(), &["state dict", "found 7"]),
        (
            "a tensor",
            [b"\x80\x02", tensor(&claim()).as_slice(), b"."].concat(),
            &["found a tensor of [2]"],
        ),
        ("no tensors", state(b"N"), &["a dictionary of w", "model.state_dict()"]),
        (
            "unknown encoding",
            [b"\x80\x02c_codecs\nencode\n".as_slice(), &text("x"), &text("zip"), b"\x86R."]
                .concat(),
            &["latin1"],
        ),
    ]);
}

#[test]
fn bombs_are_refused() {
    // Each list holds the one before it ten times: 10^200 items if it were unfolded, 10 each as
    // they lie in the file.
    let mut laughs = b"\x80\x02]q\0".to_vec();
    for level in 0..200u8 {
        laughs.extend(b"](");
        laughs.extend([b'h', level].repeat(10));
        laughs.extend([b'e', b'q', level + 1]);
    }
    laughs.push(b'.');
    // A list and a dictionary that contain themselves.
    let list = b"\x80\x02]q\0h\0a.".to_vec();
    let dict = [b"\x80\x02}q\0".as_slice(), &text("model"), b"h\0s."].concat();
    // A list doubled by copying itself.
    let mut doubled = b"\x80\x02](NNNNNNNNe".to_vec();
    for _ in 0..60 {
        doubled.extend(b"q\0cbuiltins\nset\nh\0\x85R");
        doubled.extend(b"(h\0h\0h\0h\0e");
    }
    doubled.push(b'.');
    let mut copies = b"\x80\x02](".to_vec();
    copies.extend([b'N'].repeat(200_000));
    copies.extend(b"eq\0");
    copies.extend(b"cbuiltins\nset\nh\0\x85R0".repeat(1000));
    copies.push(b'.');
    let long = "x".repeat(1 << 20);
    let mut texts = [b"\x80\x02".as_slice(), &text(&long), b"q\0"].concat();
    texts.extend(
        [b"c_codecs\nencode\nh\0".as_slice(), &text("latin1"), b"\x86R0"].concat().repeat(1000),
    );
    texts.push(b'.');
    pickles(vec![
        ("billion laughs", laughs, &["state dict", "a list of 10"]),
        ("list in itself", list, &["state dict"]),
        ("dictionary in itself", dict, &["state dict", "a dictionary of model"]),
        ("list doubled", doubled, &["found"]),
        ("list copied", copies, &["items in the pickle's lists", "2097152"]),
        ("text copied", texts, &["items in the pickle's lists"]),
        (
            "stack",
            [b"\x80\x02", [b'N'].repeat(300_000).as_slice()].concat(),
            &["values on the pickle's stack"],
        ),
        (
            "values",
            [b"\x80\x02", b"]0".repeat(600_000).as_slice()].concat(),
            &["values in the pickle", "524288"],
        ),
        (
            "memo",
            [
                b"\x80\x02N".to_vec(),
                (0..1_100_000u32)
                    .flat_map(|i| [[b'r'].as_slice(), &i.to_le_bytes()].concat())
                    .collect(),
            ]
            .concat(),
            &["remembered values"],
        ),
        (
            "instructions",
            [b"\x80\x02", b"N0".repeat(9 << 20).as_slice()].concat(),
            &["instructions in the pickle"],
        ),
    ]);
}

#[test]
fn sizes_are_not_believed() {
    let with = |change: fn(&mut Claim)| {
        let mut changed = claim();
        change(&mut changed);
        state(&tensor(&changed))
    };
    pickles(vec![
        ("negative axis", with(|c| c.shape = vec![-2]), &["tensor `w`, shape", "[-2]"]),
        (
            "two negative axes",
            with(|c| (c.shape, c.strides) = (vec![-1, -2], vec![1, 1])),
            &["`w`, shape"],
        ),
        (
            "shape overflows",
            with(|c| (c.shape, c.strides) = (vec![i64::MAX, 4], vec![0, 0])),
            &["`w`, shape"],
        ),
        (
            "bytes overflow",
            with(|c| (c.shape, c.strides) = (vec![i64::MAX], vec![0])),
            &["`w`, shape"],
        ),
        ("negative stride", with(|c| c.strides = vec![-1]), &["`w`, strides", "[-1]"]),
        (
            "stride beyond",
            with(|c| c.strides = vec![2]),
            &["`w`, strides", "inside its storage of 2", "[2]"],
        ),
        (
            "huge stride",
            with(|c| c.strides = vec![i64::MAX]),
            &["`w`, strides", "inside its storage"],
        ),
        ("shape beyond", with(|c| c.shape = vec![3]), &["`w`, strides", "inside its storage of 2"]),
        ("offset beyond", with(|c| c.offset = 1), &["`w`", "offset 1"]),
        ("negative offset", with(|c| c.offset = -1), &["`w`", "offset -1"]),
        ("huge offset", with(|c| c.offset = i64::MAX), &["`w`", "inside its storage"]),
        ("stride missing", with(|c| c.strides = vec![]), &["`w`, strides", "1 strides"]),
        (
            "too many axes",
            with(|c| (c.shape, c.strides) = (vec![1; 65], vec![1; 65])),
            &["at most 64 axes"],
        ),
        ("count too large", with(|c| (c.count, c.shape) = (1 << 40, vec![1 << 40])), &[]),
        ("negative count", with(|c| c.count = -2), &[]),
        ("count overflows", with(|c| (c.count, c.shape) = (i64::MAX, vec![1])), &[]),
        ("unknown storage", with(|c| c.key = "7"), &[]),
        ("key of another folder", with(|c| c.key = "../version"), &[]),
        (
            "one number repeated",
            with(|c| (c.shape, c.strides) = (vec![1 << 30], vec![0])),
            &["bytes in the tensors"],
        ),
        (
            "shape of texts",
            state(
                &[
                    b"ctorch._utils\n_rebuild_tensor\n((".to_vec(),
                    text("storage"),
                    b"ctorch\nFloatStorage\n".to_vec(),
                    text("0"),
                    text("cpu"),
                    int(2),
                    b"tQ".to_vec(),
                    int(0),
                    [b"(".as_slice(), &text("2"), b"t"].concat(),
                    ints(&[1]),
                    b"tR".to_vec(),
                ]
                .concat(),
            ),
            &["an integer", "\"2\""],
        ),
        (
            "storage of bytes as numbers",
            state(
                &[
                    b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
                    text("storage"),
                    b"ctorch.storage\nUntypedStorage\n".to_vec(),
                    text("0"),
                    text("cpu"),
                    int(8),
                    b"tQ".to_vec(),
                    int(0),
                    ints(&[2]),
                    ints(&[1]),
                    b"tR".to_vec(),
                ]
                .concat(),
            ),
            &["a storage of numbers"],
        ),
        (
            "tensor of a text",
            state(
                &[
                    b"ctorch._utils\n_rebuild_tensor\n(".to_vec(),
                    text("0"),
                    int(0),
                    ints(&[1]),
                    ints(&[1]),
                    b"tR".to_vec(),
                ]
                .concat(),
            ),
            &["a tensor's storage"],
        ),
        (
            "few arguments",
            state(b"ctorch._utils\n_rebuild_tensor_v2\n)R"),
            &["this function's arguments", "none"],
        ),
        (
            "parameter of nothing",
            state(b"ctorch._utils\n_rebuild_parameter\n(N\x89NtR"),
            &["a tensor", "None"],
        ),
        ("persistent id of a number", state(b"K\x07Q"), &["\"storage\""]),
    ]);
    // One storage, looked at by many tensors, is bounded by the file's size.
    let large: Vec<u8> = vec![0; 1 << 20];
    let mut many = b"\x80\x02}(".to_vec();
    for i in 0..200 {
        let whole = Claim { count: 1 << 18, shape: vec![1 << 18], ..claim() };
        many.extend(text(&i.to_string()));
        many.extend(tensor(&whole));
    }
    many.extend(b"u.");
    let file = zip(&[file("a/data.pkl", &many), file("a/data/0", &large)]);
    let error = pth::read(&file).unwrap_err().to_string();
    assert!(error.contains("bytes in the tensors"), "{error}");
}
