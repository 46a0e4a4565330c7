//! ONNX files: round trips, damaged and hostile ones.

mod craft;

use craft::{Lcg, check_onnx, damage, onnx_seed};
use resnet_formats::onnx::proto::{
    Attribute, Graph, Model, Node, OperatorSet, Property, Tensor, kind,
};
use resnet_formats::{Array, Data, onnx};

#[test]
fn what_is_written_is_read() {
    let bytes = onnx_seed();
    let model = onnx::read(bytes.clone()).unwrap();
    let mut again = Vec::new();
    onnx::write(&model, &mut again).unwrap();
    assert!(again == bytes);
    let graph = model.graph.unwrap();
    assert_eq!(graph.node[0].attribute[1].ints, [-1, 0, i64::MAX]);
    assert_eq!(graph.node[0].attribute[0].f, Some(-0.0));
    assert_eq!(model.metadata_props[0].value.as_deref(), Some("text ü"));
}

#[test]
fn arrays_keep_their_bits() {
    let odd = [f32::NAN, -0.0, 1e-45, f32::INFINITY];
    for data in [
        Data::F32(odd.to_vec()),
        Data::F64(vec![0.1, -0.0]),
        Data::F16(vec![0x7e01, 0x8000]),
        Data::BF16(vec![0x7fc1, 0]),
        Data::I64(vec![i64::MIN, 1]),
        Data::U64(vec![u64::MAX]),
    ] {
        let len = data.len();
        let array = Array::new(vec![len, 1], data).unwrap();
        let again = onnx::array(&onnx::tensor("w", &array)).unwrap();
        assert_eq!(again.shape(), [len, 1]);
        assert_eq!(format!("{:?}", again.data()), format!("{:?}", array.data()));
    }
    // As other programs write them.
    let mut typed = Tensor {
        dims: vec![2],
        data_type: Some(kind::FLOAT),
        float_data: vec![1.0, 2.0],
        ..Tensor::default()
    };
    assert_eq!(onnx::array(&typed).unwrap().as_f32(), Some(&[1.0, 2.0][..]));
    typed.data_type = Some(kind::INT64);
    typed.int64_data = vec![3, 4];
    assert_eq!(onnx::array(&typed).unwrap().data(), &Data::I64(vec![3, 4]));
}

#[test]
fn wrong_arrays_are_refused() {
    let right = onnx::tensor("w", &Array::f32(vec![2], vec![0.0; 2]));
    type Change = fn(&mut Tensor);
    let cases: [(Change, &str); 7] = [
        (|t| t.dims = vec![-2], "shape that fits"),
        (|t| t.dims = vec![i64::MAX, i64::MAX], "shape that fits"),
        (|t| t.dims = vec![3], "expected 3 numbers of 4 bytes, found 8 bytes"),
        (|t| t.dims = vec![1 << 62], "expected 4611686018427387904 numbers"),
        (|t| t.data_location = Some(1), "another file"),
        (|t| t.data_type = Some(8), "type 8"),
        (|t| t.raw_data = None, "expected 2 numbers, found 0"),
    ];
    for (change, part) in cases {
        let mut tensor = right.clone();
        change(&mut tensor);
        let error = onnx::array(&tensor).unwrap_err().to_string();
        assert!(error.starts_with("tensor `w`") && error.contains(part), "{error}");
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_whole_messages() {
    let bytes = onnx_seed();
    let read = (0..bytes.len()).filter(|&len| check_onnx(&bytes[..len])).count();
    // Only cuts between the last texts leave a model.
    assert!(read <= 3, "{read} cuts were read");
}

#[test]
fn random_damage_never_panics() {
    let seed = onnx_seed();
    let mut random = Lcg(1);
    let mut read = 0;
    for _ in 0..100_000 {
        let mut bytes = seed.clone();
        damage(&mut bytes, &mut random);
        read += usize::from(check_onnx(&bytes));
    }
    assert!((1_000..90_000).contains(&read), "{read} of 100000 were read");
}

#[test]
fn bombs_are_refused() {
    let graph = |inside: &[u8]| {
        let mut bytes = vec![0x42, 2, 0x10, 22]; // opset_import { version: 22 }
        bytes.push(0x3a);
        prost_varint(inside.len(), &mut bytes);
        bytes.extend(inside);
        bytes
    };
    // Two bytes stand for an empty node, which is hundreds of bytes in memory.
    let nodes = [0x0a, 0].repeat(1 << 20);
    let error = onnx::read(graph(&nodes)).unwrap_err().to_string();
    assert!(error.contains("messages and texts: at most 131072"), "{error}");
    // A byte stands for an integer of eight.
    let mut axes = vec![0x2a];
    let mut tensor = vec![0x0a];
    prost_varint(8 << 20, &mut tensor);
    tensor.extend(vec![1; 8 << 20]);
    prost_varint(tensor.len(), &mut axes);
    axes.extend(tensor);
    let error = onnx::read(graph(&axes)).unwrap_err().to_string();
    assert!(error.contains("integers in lists: at most"), "{error}");
    for (bytes, part) in [
        (vec![], "a graph"),
        (b"PK\x03\x04".to_vec(), "wire type"),
        (vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f], "at most 0 bytes"),
        (vec![0xff; 11], "at most 10 bytes"),
        (vec![0x3b], "wire type"),
    ] {
        let error = onnx::read(bytes).unwrap_err().to_string();
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

fn prost_varint(value: usize, to: &mut Vec<u8>) {
    let mut value = value;
    while value > 0x7f {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

#[test]
fn equal_models_give_equal_bytes() {
    let model = Model {
        graph: Some(Graph {
            node: vec![Node { attribute: vec![Attribute::default()], ..Node::default() }],
            ..Graph::default()
        }),
        opset_import: vec![OperatorSet::default()],
        metadata_props: vec![Property::default()],
        ..Model::default()
    };
    let bytes = |model: &Model| {
        let mut bytes = Vec::new();
        onnx::write(model, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(bytes(&model), bytes(&model.clone()));
    assert_eq!(onnx::read(bytes(&model)).unwrap(), model);
}
