//! What the Open Inference Protocol asks of a classifier, the same over JSON and gRPC.
//!
//! | input | type | shape | |
//! |---|---|---|---|
//! | `image` | BYTES | `[n]` or `[n, 1]` | a picture file each |
//! | `pixels` | UINT8 | `[n, h, w, c]` | decoded, of any size |
//! | `input` | FP32 | `[n, c, h, w]` | resized, cropped and normalised |
//!
//! | output | type | shape |
//! |---|---|---|
//! | `probabilities`, `logits` | FP32 | `[n, classes]` |
//! | `labels` | BYTES | `[n]`: the most likely class |
//! | `embedding` | FP32 | `[n, features]` |

use std::time::Duration;

use hyper::body::Bytes;
use resnet::Shape;
use resnet::measure::predict::{Ask, Look};

use super::tensor::{Tensor, Values};
use super::{MOST_PICTURES, Picture, Seen};
use crate::http::Refusal;

/// A request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Infer {
    pub(crate) id: Option<String>,
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<Output>,
    /// 1 first, 0 for the usual.
    pub(crate) priority: u64,
    pub(crate) timeout: Option<Duration>,
}

/// An output that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Output {
    pub(crate) kind: Kind,
    /// Whether as bytes behind the JSON.
    pub(crate) binary: bool,
    /// As so many classes, `value:index:label` each.
    pub(crate) classification: Option<usize>,
}

/// The outputs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Probabilities,
    Logits,
    Labels,
    Embedding,
    /// Of explanations alone.
    Cam,
    /// Of explanations alone.
    Region,
    /// Of explanations alone.
    Class,
}

impl Kind {
    /// Those of an inference, in the order of the metadata.
    pub(crate) const INFER: [Kind; 4] =
        [Kind::Probabilities, Kind::Logits, Kind::Labels, Kind::Embedding];
    /// Those of an explanation.
    pub(crate) const EXPLAIN: [Kind; 4] =
        [Kind::Probabilities, Kind::Cam, Kind::Region, Kind::Class];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Probabilities => "probabilities",
            Kind::Logits => "logits",
            Kind::Labels => "labels",
            Kind::Embedding => "embedding",
            Kind::Cam => "cam",
            Kind::Region => "region",
            Kind::Class => "class",
        }
    }

    fn parse(name: &str) -> Result<Kind, Refusal> {
        let found = Kind::INFER.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| {
            let known = Kind::INFER.map(Kind::name).join(", ");
            Refusal::malformed(format!("there is no output `{name}`; expected {known}"))
        })
    }
}

impl Output {
    /// An output by its name.
    pub(crate) fn new(
        name: &str,
        binary: bool,
        classification: Option<i64>,
    ) -> Result<Output, Refusal> {
        let kind = Kind::parse(name)?;
        let classification = classification.filter(|count| *count != 0).map(|count| {
            usize::try_from(count).map_err(|_| {
                Refusal::malformed(format!("`classification` is {count}, expected 1 or more"))
            })
        });
        let classification = classification.transpose()?;
        match (kind, classification) {
            (Kind::Labels, Some(_)) => {
                Err(Refusal::malformed("`labels` are texts, and are not classified"))
            }
            _ => Ok(Output { kind, binary, classification }),
        }
    }

    /// Those that come where none are named.
    pub(crate) fn usual(kinds: &[Kind], binary: bool) -> Vec<Output> {
        let output = |kind: &Kind| Output { kind: *kind, binary, classification: None };
        kinds.iter().filter(|kind| **kind != Kind::Embedding).map(output).collect()
    }
}

impl Infer {
    /// The pictures, for a network whose input is `shape`.
    pub(crate) fn pictures(&self, shape: Shape) -> Result<Vec<Picture>, Refusal> {
        let [tensor] = &self.inputs[..] else {
            return Err(Refusal::malformed(format!(
                "there are {} inputs; expected one of image, pixels and input",
                self.inputs.len()
            )));
        };
        let count = tensor.shape.first().copied().unwrap_or(0);
        if !(1..=MOST_PICTURES).contains(&count) {
            return Err(Refusal::malformed(format!(
                "input `{}` is of {count} pictures; 1 to {MOST_PICTURES} are taken",
                tensor.name
            )));
        }
        let wrong = |expected: String| {
            Refusal::malformed(format!(
                "input `{}` is {} {:?}, expected {expected}",
                tensor.name,
                tensor.datatype(),
                tensor.shape
            ))
        };
        match (tensor.name.as_str(), &tensor.values, &tensor.shape[..]) {
            ("image", Values::Bytes(files), [_] | [_, 1]) => {
                Ok(files.iter().cloned().map(Picture::File).collect())
            }
            ("image", ..) => Err(wrong("BYTES [n] or [n, 1], a picture file each".into())),
            ("pixels", Values::U8(bytes), &[_, h, w, c @ (1 | 3)]) if h * w > 0 => {
                let picture = |i: usize| Picture::Pixels {
                    h,
                    w,
                    c,
                    bytes: bytes.slice(i * h * w * c..(i + 1) * h * w * c),
                };
                Ok((0..count).map(picture).collect())
            }
            ("pixels", ..) => Err(wrong("UINT8 [n, h, w, c] with c 1 or 3".into())),
            ("input", Values::F32(numbers), &[_, c, h, w])
                if [c, h, w] == [shape.c, shape.h, shape.w] =>
            {
                if !numbers.iter().all(|x| x.is_finite()) {
                    return Err(Refusal::malformed(
                        "input `input` has a number that is not finite",
                    ));
                }
                Ok(numbers.chunks_exact(shape.len()).map(|x| Picture::Input(x.to_vec())).collect())
            }
            ("input", ..) => Err(wrong(format!("FP32 [n, {}, {}, {}]", shape.c, shape.h, shape.w))),
            (other, ..) => Err(Refusal::malformed(format!(
                "there is no input `{other}`; expected image, pixels or input"
            ))),
        }
    }

    /// Whether each output is wanted once: a request must not make its answer as large as it
    /// likes.
    pub(crate) fn check_outputs(&self) -> Result<(), Refusal> {
        let wanted_before = |i: usize| {
            let kind = self.outputs[i].kind;
            self.outputs[..i].iter().any(|other| other.kind == kind)
        };
        // There are so few kinds that one repeats soon.
        match (0..self.outputs.len()).find(|i| wanted_before(*i)) {
            None => Ok(()),
            Some(i) => Err(Refusal::malformed(format!(
                "output `{}` is wanted twice",
                self.outputs[i].kind.name()
            ))),
        }
    }

    /// What is to be found out about each picture.
    pub(crate) fn ask(&self) -> Ask {
        let wants = |kind: Kind| self.outputs.iter().any(|output| output.kind == kind);
        let cam = wants(Kind::Cam).then_some(Look::Likeliest);
        Ask { embedding: wants(Kind::Embedding), cam, ..Ask::default() }
    }

    /// The outputs for pictures that were seen.
    pub(crate) fn answer(&self, seen: &[Seen], labels: &[String]) -> Vec<Tensor> {
        self.outputs.iter().map(|output| tensor(output, seen, labels)).collect()
    }
}

fn tensor(output: &Output, seen: &[Seen], labels: &[String]) -> Tensor {
    let n = seen.len();
    let rows = |row: &dyn Fn(&Seen) -> Vec<f32>| {
        let numbers: Vec<f32> = seen.iter().flat_map(row).collect();
        (vec![n, numbers.len() / n.max(1)], Values::F32(numbers))
    };
    let (shape, values) = match output.kind {
        Kind::Probabilities => rows(&|seen| seen.probabilities.clone()),
        Kind::Logits => rows(&|seen| seen.answer.logits.clone()),
        Kind::Embedding => rows(&|seen| seen.answer.embedding.clone().unwrap_or_default()),
        Kind::Region => rows(&|seen| seen.region.map(|x| x as f32).to_vec()),
        Kind::Labels => {
            let best = |seen: &Seen| Bytes::from(seen.top[0].label.clone());
            (vec![n], Values::Bytes(seen.iter().map(best).collect()))
        }
        Kind::Class => {
            let cams = seen.iter().filter_map(|seen| seen.answer.cam.as_ref());
            (vec![n], Values::I64(cams.map(|cam| cam.class as i64).collect()))
        }
        Kind::Cam => {
            let cams: Vec<_> = seen.iter().filter_map(|seen| seen.answer.cam.as_ref()).collect();
            let (h, w) = cams.first().map_or((0, 0), |cam| (cam.height, cam.width));
            let values = cams.iter().flat_map(|cam| cam.values.iter().copied()).collect();
            (vec![n, h, w], Values::F32(values))
        }
    };
    let name = output.kind.name().to_owned();
    match (output.classification, values) {
        (Some(most), Values::F32(numbers)) => classified(name, n, &numbers, most, labels),
        (_, values) => Tensor { name, shape, values },
    }
}

/// The largest numbers of each row, with their indices and labels.
fn classified(name: String, n: usize, numbers: &[f32], most: usize, labels: &[String]) -> Tensor {
    let width = numbers.len() / n.max(1);
    let count = most.min(width);
    let mut elements = Vec::with_capacity(n * count);
    for row in numbers.chunks_exact(width.max(1)) {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        elements.extend(order.into_iter().take(count).map(|i| {
            let label = labels.get(i).map(|label| format!(":{label}")).unwrap_or_default();
            Bytes::from(format!("{}:{i}{label}", row[i]))
        }));
    }
    Tensor { name, shape: vec![n, count], values: Values::Bytes(elements) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape::new(3, 4, 2);

    fn infer(name: &str, shape: &[usize], values: Values) -> Infer {
        let tensor = Tensor { name: name.into(), shape: shape.to_vec(), values };
        Infer { inputs: vec![tensor], ..Infer::default() }
    }

    #[test]
    fn pictures_of_every_input() {
        let files = vec![Bytes::from("a"), Bytes::from("b")];
        let of = infer("image", &[2, 1], Values::Bytes(files)).pictures(SHAPE).unwrap();
        assert_eq!(of, [Picture::File("a".into()), Picture::File("b".into())]);
        let bytes = Bytes::from_static(b"abcdefghijkl");
        let of = infer("pixels", &[2, 2, 1, 3], Values::U8(bytes)).pictures(SHAPE).unwrap();
        let second = Picture::Pixels { h: 2, w: 1, c: 3, bytes: Bytes::from("ghijkl") };
        assert_eq!(of[1], second);
        let of = infer("input", &[1, 3, 4, 2], Values::F32(vec![0.5; 24])).pictures(SHAPE);
        assert_eq!(of.unwrap(), [Picture::Input(vec![0.5; 24])]);
    }

    #[test]
    fn what_no_network_reads_is_refused() {
        let bytes = || Values::Bytes(vec![Bytes::new()]);
        let cases = [
            infer("image", &[1, 1, 1], bytes()),
            infer("image", &[0], Values::Bytes(vec![])),
            infer("image", &[MOST_PICTURES + 1], bytes()),
            infer("image", &[1], Values::U8(Bytes::from("a"))),
            infer("pixels", &[1, 1, 1, 2], Values::U8(Bytes::from("ab"))),
            infer("pixels", &[1, 0, 1, 3], Values::U8(Bytes::new())),
            infer("input", &[1, 3, 2, 4], Values::F32(vec![0.0; 24])),
            infer("input", &[1, 3, 4, 2], Values::F32(vec![f32::NAN; 24])),
            infer("picture", &[1], bytes()),
            Infer::default(),
        ];
        for case in cases {
            assert_eq!(case.pictures(SHAPE).unwrap_err().status, 400, "{case:?}");
        }
    }

    #[test]
    fn classes_are_told_as_value_index_label() {
        let labels = ["a:b".to_string(), "c".into()];
        let tensor = classified("x".into(), 1, &[0.25, 0.75], 9, &labels);
        assert_eq!(tensor.shape, [1, 2]);
        assert_eq!(tensor.values, Values::Bytes(vec!["0.75:1:c".into(), "0.25:0:a:b".into()]));
    }

    #[test]
    fn no_output_comes_twice() {
        let usual = Output::usual(&Kind::INFER, true);
        let twice = [&usual[..], &usual[1..2]].concat();
        assert!(Infer { outputs: usual, ..Infer::default() }.check_outputs().is_ok());
        let refused = Infer { outputs: twice, ..Infer::default() }.check_outputs().unwrap_err();
        assert!(refused.message.contains("`logits`"), "{}", refused.message);
    }

    #[test]
    fn outputs_have_names() {
        assert!(Output::new("labels", true, None).is_ok());
        for (name, count) in [("cam", None), ("labels", Some(2)), ("logits", Some(-1))] {
            assert_eq!(Output::new(name, true, count).unwrap_err().status, 400, "{name}");
        }
    }
}
