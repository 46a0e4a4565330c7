//! The page about the figures of data.

use super::shown;
use crate::data::stats::{Contact, Sizes, Stats};
use crate::page::charts::format::{self, percent, plural, thousands};
use crate::page::charts::page::{Cell, Page, Stat};

/// More classes than this are folded away.
const FEW_CLASSES: usize = 32;

pub(super) fn render(stats: &Stats, contacts: &[Contact], command: &str) -> String {
    let classes = stats.splits.first().map_or(0, |split| split.part.classes.len());
    let word = if classes == 1 { "class" } else { "classes" };
    let pictures = plural(stats.images as u64, "picture");
    let lead = format!("{pictures} of {} {word}", thousands(classes as u64));
    let mut page = Page::new(&stats.source, "Data", &lead);
    page.stats(&key_numbers(stats, classes));
    self::classes(&mut page, stats);
    if let Some(sizes) = &stats.sizes {
        self::sizes(&mut page, sizes, stats.formats.is_empty());
    }
    files(&mut page, stats);
    colours(&mut page, stats);
    self::contacts(&mut page, contacts, classes);
    if !command.is_empty() {
        page.section("reproduce", "How to repeat it", "");
        page.listing(command);
    }
    page.finish(&format!("Written by resnet {}.", env!("CARGO_PKG_VERSION")))
}

fn key_numbers(stats: &Stats, classes: usize) -> Vec<Stat> {
    let stat = |name: &str, value: String, note: String| Stat { name: name.into(), value, note };
    let parts = stats.splits.iter().map(|split| {
        format!("{}{}{}", thousands(split.part.images as u64), format::NBSP, split.part.split)
    });
    let parts: Vec<String> = parts.collect();
    let parts = if parts.len() > 1 { parts.join(", ") } else { String::new() };
    let mut stats_shown = vec![stat("Pictures", thousands(stats.images as u64), parts)];
    let counts = || {
        let train = stats.splits.first().into_iter();
        train.flat_map(|split| &split.part.classes).map(|class| class.images)
    };
    let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    let of = match stats.splits.as_slice() {
        [first, _, ..] => format!(" in {}", first.part.split),
        _ => String::new(),
    };
    let each = match least == most {
        true => format!("{} of each{of}", thousands(least as u64)),
        false => {
            let [least, most] = [least, most].map(|n| thousands(n as u64));
            format!("{least} to {most} of each{of}")
        }
    };
    stats_shown.push(stat("Classes", thousands(classes as u64), each));
    if let Some(sizes) = &stats.sizes {
        let (w, h) = (sizes.width.median, sizes.height.median);
        let note =
            if sizes.distinct == 1 { "all of them" } else { "median of width and of height" };
        stats_shown.push(stat("Pixels", format!("{w} x {h}"), note.into()));
    }
    if let Some(bytes) = &stats.bytes {
        let note = format!("median {} a picture", byte_count(bytes.median));
        stats_shown.push(stat("Files", byte_count(stats.total_bytes), note));
    }
    let read = stats.decoded - stats.damaged;
    let note = format!("{} of {} looked at", thousands(stats.grey as u64), thousands(read as u64));
    let share = stats.grey as f64 / read.max(1) as f64;
    stats_shown.push(stat("Grey in truth", percent(share, 1), note));
    if stats.unusable + stats.damaged > 0 {
        let unusable = thousands((stats.unusable + stats.damaged) as u64);
        stats_shown.push(stat("Not usable", unusable, "a check of the data names them".into()));
    }
    stats_shown
}

fn classes(page: &mut Page, stats: &Stats) {
    let Some(first) = stats.splits.first() else { return };
    page.section("classes", "Classes", "Pictures of each class in each split.");
    let names = stats.splits.iter().map(|split| split.part.split.as_str());
    let mut headings = vec!["class"];
    headings.extend(names);
    if stats.splits.len() > 1 {
        headings.push("all");
    }
    let totals: Vec<usize> = (0..first.part.classes.len())
        .map(|class| stats.splits.iter().map(|split| split.part.classes[class].images).sum())
        .collect();
    let largest = totals.iter().copied().max().unwrap_or(1).max(1) as f64;
    let row = |(class, &total): (usize, &usize)| {
        let mut row = vec![Cell::Head(first.part.classes[class].class.clone())];
        if stats.splits.len() > 1 {
            let counts = stats.splits.iter().map(|split| split.part.classes[class].images);
            row.extend(counts.map(|count| Cell::Number(thousands(count as u64))));
        }
        row.push(Cell::Share(thousands(total as u64), total as f64 / largest));
        row
    };
    let rows: Vec<Vec<Cell>> = totals.iter().enumerate().map(row).collect();
    let folded = rows.len() > FEW_CLASSES;
    if folded {
        page.details(&format!("All {} classes", thousands(rows.len() as u64)));
    }
    page.table("Pictures by class", &headings, &rows);
    if folded {
        page.end_details();
    }
}

fn sizes(page: &mut Page, sizes: &Sizes, sampled: bool) {
    let lead = match sampled {
        true => format!("Of {} that were looked at.", plural(sizes.images as u64, "picture")),
        false => "Of all pictures, as their headers have them.".to_string(),
    };
    page.section("sizes", "Sizes and shapes", &lead);
    let range = |name: &str, [least, median, most]: [String; 3]| {
        let numbers = [least, median, most].map(Cell::Number);
        let mut row = vec![Cell::Head(name.into())];
        row.extend(numbers);
        row
    };
    let of = |range: &crate::data::stats::Range<u32>| {
        [range.least, range.median, range.most].map(|n| thousands(n.into()))
    };
    let aspect = &sizes.aspect;
    let aspects = [aspect.least, aspect.median, aspect.most].map(|x| format!("{x:.2}"));
    let rows = [
        range("width", of(&sizes.width)),
        range("height", of(&sizes.height)),
        range("width over height", aspects),
    ];
    page.table("Pixels", &["", "least", "median", "most"], &rows);
    let share = |images: usize| {
        let fraction = images as f64 / sizes.images.max(1) as f64;
        Cell::Share(thousands(images as u64), fraction)
    };
    let shape = |name: &str, images: usize| vec![Cell::Head(name.into()), share(images)];
    let mut rows = vec![
        shape("wider than high", sizes.landscape),
        shape("square", sizes.square),
        shape("higher than wide", sizes.portrait),
    ];
    if sizes.may_turn > 0 {
        rows.push(shape("may be turned by their EXIF data", sizes.may_turn));
    }
    page.heading("Shapes");
    page.table("Pictures by shape", &["shape", "pictures"], &rows);
    let common = sizes.common.iter().map(|size| {
        vec![Cell::Head(format!("{} x {}", size.width, size.height)), share(size.images)]
    });
    let rows: Vec<Vec<Cell>> = common.collect();
    page.heading(&match sizes.distinct {
        1 => "One size".to_string(),
        n if n > rows.len() => format!("The most frequent of {} sizes", thousands(n as u64)),
        n => format!("{} sizes", thousands(n as u64)),
    });
    page.table("Pictures by size, width x height", &["size", "pictures"], &rows);
}

fn files(page: &mut Page, stats: &Stats) {
    let Some(bytes) = &stats.bytes else { return };
    let lead = format!(
        "A file has {} at least, {} at most, and {} by the median.",
        byte_count(bytes.least),
        byte_count(bytes.most),
        byte_count(bytes.median)
    );
    page.section("files", "Files", &lead);
    let row = |of: &crate::data::stats::FormatCount| {
        vec![
            Cell::Head(of.format.into()),
            Cell::Number(byte_count(of.bytes)),
            Cell::Share(thousands(of.images as u64), of.images as f64 / stats.images as f64),
        ]
    };
    let rows: Vec<Vec<Cell>> = stats.formats.iter().map(row).collect();
    page.table("Files by format, told by their content", &["format", "bytes", "files"], &rows);
}

fn colours(page: &mut Page, stats: &Stats) {
    let of = match stats.decoded == stats.images {
        true => "all pictures".to_string(),
        false => format!("{}, evenly spaced", plural(stats.decoded as u64, "picture")),
    };
    page.section(
        "colours",
        "Colours",
        &format!(
            "Mean and standard deviation of each channel, from 0 (dark) to 1, of {of}; each counts the same, whatever its size. \
             Splits that differ here were made differently."
        ),
    );
    let list = |numbers: &[f64]| {
        let texts: Vec<String> = numbers.iter().map(|x| format!("{x:.3}")).collect();
        texts.join("  ")
    };
    let row = |split: &crate::data::stats::SplitStats| {
        vec![
            Cell::Head(split.part.split.clone()),
            Cell::Number(thousands(split.decoded as u64)),
            Cell::Number(list(&split.mean)),
            Cell::Number(list(&split.std)),
        ]
    };
    let rows: Vec<Vec<Cell>> = stats.splits.iter().map(row).collect();
    let three = stats.splits.iter().any(|split| split.mean.len() == 3);
    let caption = if three { "Red, green, blue" } else { "Grey" };
    page.table(caption, &["split", "pictures", "mean", "deviation"], &rows);
}

fn contacts(page: &mut Page, contacts: &[Contact], classes: usize) {
    if contacts.iter().all(|contact| contact.pictures.is_empty()) {
        return;
    }
    let of = match contacts.len() < classes {
        true => format!("{} of {classes} classes, evenly spaced", contacts.len()),
        false => "Each class".to_string(),
    };
    page.section(
        "pictures",
        "Pictures",
        &format!("{of}, with a few of its pictures, evenly spaced."),
    );
    for contact in contacts {
        page.heading(&format!("{} ({})", contact.class, thousands(contact.images as u64)));
        page.markup().open("ul", &[("class", &"pictures contact")]);
        for (name, image) in &contact.pictures {
            shown::picture(page, image, &format!("{}: {name}", contact.class), &[]);
        }
        page.markup().close();
    }
}

/// `1.5 MB` for 1,500,000.
pub(super) fn byte_count(bytes: u64) -> String {
    format!(
        "{}B",
        match bytes < 1000 {
            true => format!("{bytes}{}", format::NBSP),
            false => format::compact(bytes),
        }
    )
}
