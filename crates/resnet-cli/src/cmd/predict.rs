//! `resnet predict`.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use resnet::base::text;
use resnet::data::{self, DataError, Image};
use resnet::measure::confidence::Verdict;
use resnet::measure::evaluate::UseError;
use resnet::measure::predict::{Ask, Guess, How, Look, Predictor};

use super::cams::Cams;
use super::flags::ComputeFlags;
use super::paths::model_file;
use super::precision::Asked;
use crate::exit::Usage;
use crate::term::{self, Out, tell};

/// Stands for standard input among the pictures.
pub(super) const STDIN: &str = "-";
/// Most bytes read from it.
const MOST_BYTES: u64 = 512 << 20;
/// Said of a picture that is.
const UNLIKE: &str = "unlike the training pictures";

/// Arguments of `resnet predict`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet predict runs/resnet20-builtin photo.jpg --top 3
  resnet predict resnet50.safetensors photos --csv > photos.csv
  resnet predict resnet50.safetensors photos --cam heat
  cat photo.jpg | resnet predict resnet50.safetensors -
A calibrated model (`resnet calibrate`) also says of which answers it is not sure, and which
pictures are unlike those it learned from.
A file that is no picture is named and skipped; the exit code is then 1.")]
pub(crate) struct Args {
    /// Model file, checkpoint or run directory, or published weights such as resnet50
    model: PathBuf,
    /// Pictures, directories of pictures, or - for one picture on standard input
    #[arg(required = true, value_name = "IMAGE|DIR|-")]
    images: Vec<PathBuf>,
    /// Classes shown for each
    #[arg(long, value_name = "N", default_value = "5")]
    top: std::num::NonZeroUsize,
    /// Directory for PNGs that show where in each picture its most likely class was seen (Grad-CAM)
    #[arg(long, value_name = "DIR")]
    cam: Option<PathBuf>,
    /// How maps are stored: f32, bf16, or auto for what is faster here
    #[arg(long, value_name = "P", value_enum, default_value = "f32", hide_possible_values = true)]
    precision: Asked,
    #[command(flatten)]
    compute: ComputeFlags,
    /// One JSON object a picture on standard output
    #[arg(long)]
    json: bool,
    /// A table on standard output: file, rank, class, label, probability; of a calibrated model
    /// also sure, likeness, unlike
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let (inputs, lost) = inputs(&args.images)?;
    let device = args.compute.open()?;
    let device = device.as_ref();
    let model = model_file(&args.model)?;
    let how = How { precision: args.precision.resolve(device), explain: args.cam.is_some() };
    let predictor = Predictor::open(&model, how, device)?;
    if how.explain {
        predictor.layer()?;
    }
    let cams = args.cam.as_deref().map(|folder| Cams::new(folder, &inputs)).transpose()?;
    let mut out = term::out();
    if args.csv {
        out.raw(b"file,rank,class,label,probability")?;
        out.raw(if predictor.confidence().is_some() { b",sure,likeness,unlike\n" } else { b"\n" })?;
    }
    let (mut done, mut failed) = (0, lost);
    let mut unread: Vec<String> = Vec::new();
    // What ends it before the last picture: nobody reads on, or the system fails.
    let mut ended = Ok(());
    let classify = |i: usize| classify(&predictor, &inputs[i], args.top.get(), args.cam.is_some());
    predictor.each(inputs.len(), classify, |i, found| {
        match found {
            Err(UseError::Data(error)) if error.is_of_system() => ended = Err(error.into()),
            Err(error) => {
                // What is wrong with a file names it.
                match error {
                    UseError::Data(_) => tell(&format!("error: {error}")),
                    _ => tell(&format!("error: {}: {error}", text::path(&inputs[i]))),
                }
                failed += 1;
                unread.push(text::path(&inputs[i]).to_string());
            }
            Ok(found) => {
                done += 1;
                ended = write_found(&mut out, &args, &cams, (i, &inputs[i]), &found);
            }
        }
        match ended {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    ended?;
    if failed > 0 {
        anyhow::bail!(
            "{failed} of {} files could not be classified{}",
            done + failed,
            named(&unread)
        );
    }
    anyhow::ensure!(done > 0, "the directories hold no files");
    Ok(())
}

/// The first names of a list, to go behind what is said of all.
fn named(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len() {
        0 => String::new(),
        n if n > SHOWN => format!(": {} and {} more", names[..SHOWN].join(", "), n - SHOWN),
        _ => format!(": {}", names.join(", ")),
    }
}

/// What is found in a picture.
struct Found {
    guesses: Vec<Guess>,
    /// Of a calibrated model.
    verdict: Option<Verdict>,
    /// The heat map as a PNG, where one is wanted.
    png: Option<Vec<u8>>,
}

fn classify(
    predictor: &Predictor,
    file: &Path,
    top: usize,
    explain: bool,
) -> Result<Found, UseError> {
    let mut image = Image::default();
    read(file, &mut image)?;
    let known = predictor.confidence();
    let embedding = known.is_some_and(|known| known.likeness.is_some());
    let cam = explain.then_some(Look::Likeliest);
    let ask = Ask { cam, embedding, ..Ask::default() };
    let answer = predictor.answer(&image, ask)?;
    Ok(Found {
        guesses: predictor.guesses(&answer.logits, top),
        verdict: known.map(|_| predictor.verdict(&answer)),
        png: answer.cam.map(|cam| predictor.overlay(&cam, &image)),
    })
}

fn write_found(
    out: &mut Out,
    args: &Args,
    cams: &Option<Cams<'_>>,
    (number, file): (usize, &Path),
    found: &Found,
) -> anyhow::Result<()> {
    let cam = match (cams, &found.png) {
        (Some(cams), Some(png)) => Some(cams.save(number, png)?),
        _ => None,
    };
    let name = text::path(file).to_string();
    if args.json {
        return write_json(out, &name, found, cam.as_deref());
    }
    if args.csv {
        return write_csv(out, &name, found);
    }
    let guess = |g: &Guess| format!("{} {:.1} %", g.label, g.probability * 100.0);
    let list: Vec<String> = found.guesses.iter().map(guess).collect();
    writeln!(out, "{name}: {}{}", list.join(", "), doubts(found.verdict))?;
    Ok(())
}

fn read(file: &Path, image: &mut Image) -> Result<(), DataError> {
    if file.as_os_str() != STDIN {
        return data::read_picture(file, image);
    }
    let mut packed = Vec::new();
    let read = std::io::stdin().lock().take(MOST_BYTES + 1).read_to_end(&mut packed);
    read.map_err(|source| DataError::Io { file: "standard input".into(), source })?;
    data::decode_picture("standard input", &packed, image)
}

/// What speaks against an answer.
fn doubts(verdict: Option<Verdict>) -> String {
    let Some(Verdict { sure, unlike, .. }) = verdict else { return String::new() };
    let doubts = [(sure == Some(false), "not sure"), (unlike == Some(true), UNLIKE)];
    let doubts: Vec<&str> =
        doubts.iter().filter(|(told, _)| *told).map(|(_, text)| *text).collect();
    if doubts.is_empty() { String::new() } else { format!(" ({})", doubts.join(", ")) }
}

fn write_json(out: &mut Out, name: &str, found: &Found, cam: Option<&Path>) -> anyhow::Result<()> {
    let top: Vec<_> = (found.guesses)
        .iter()
        .map(|g| {
            serde_json::json!({
                "class": g.class, "label": g.label, "probability": g.probability,
            })
        })
        .collect();
    let mut line = serde_json::json!({"file": name, "top": top});
    if let Some(Verdict { sure, likeness, unlike }) = found.verdict {
        line["sure"] = sure.into();
        line["likeness"] = likeness.into();
        line["unlike"] = unlike.into();
    }
    if let Some(cam) = cam {
        line["cam"] = text::path(cam).to_string().into();
    }
    out.json(line)?;
    Ok(())
}

fn write_csv(out: &mut Out, name: &str, found: &Found) -> anyhow::Result<()> {
    // What is not known is an empty cell.
    let text = |x: Option<String>| x.unwrap_or_default();
    let verdict = found.verdict.map(|Verdict { sure, likeness, unlike }| {
        let [sure, unlike] = [sure, unlike].map(|x| text(x.map(|x| x.to_string())));
        format!(",{sure},{},{unlike}", text(likeness.map(|x| x.to_string())))
    });
    let verdict = verdict.unwrap_or_default();
    for (i, g) in found.guesses.iter().enumerate() {
        let (file, label) = (cell(name), cell(&g.label));
        let row = format!("{file},{},{},{label},{}{verdict}", i + 1, g.class, g.probability);
        out.raw(row.as_bytes())?;
        out.raw(b"\n")?;
    }
    Ok(())
}

/// A cell of a table, quoted where it has to be (RFC 4180).
fn cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}

/// The files named, and those in the directories named, in order of their names; and how many
/// places of these cannot be read, which is told.
fn inputs(paths: &[PathBuf]) -> anyhow::Result<(Vec<PathBuf>, usize)> {
    let (mut files, mut lost) = (Vec::new(), 0);
    if paths.iter().filter(|path| path.as_os_str() == STDIN).count() > 1 {
        return Err(Usage("`-` stands twice, but standard input is one picture".into()).into());
    }
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let found = data::files_in(path)?;
        found.passed.iter().for_each(|link| tell(&format!("warning: {link}")));
        found.lost.iter().for_each(|place| tell(&format!("error: {place}")));
        files.extend(found.files);
        lost += found.lost.len();
    }
    Ok((files, lost))
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(cell("tench"), "tench");
        assert_eq!(cell("a, \"b\""), "\"a, \"\"b\"\"\"");
    }
}
