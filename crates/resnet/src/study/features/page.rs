//! The page about the features of a network.

use super::found::{ChannelSeen, Features, Patch, PointSeen};
use crate::page::charts::figure::Figure;
use crate::page::charts::format;
use crate::page::charts::page::{Cell, Page, Stat};
use crate::page::charts::png::{data_uri, photo_uri};
use crate::page::charts::tile::Tile;

/// Longest side of a patch in the page, in pixels.
const SIDE: u32 = 112;

/// The page.
pub(super) fn render(features: &Features, figures: &[Figure], command: &str) -> String {
    let lead = format!(
        "{}; {} pictures of {} ({})",
        features.weights,
        format::thousands(features.pictures as u64),
        features.data,
        features.split
    );
    let mut page = Page::new(&features.arch, "Features", &lead);
    page.stats(&stats(features));
    if !features.filters.is_empty() {
        page.section(
            "filters",
            "The first layer",
            "Its filters as colour pictures, each from its least weight to its largest: edges and blobs of colour, whatever the network is for.",
        );
        list(&mut page, "filters", features.filters.iter().map(|tile| (tile, String::new())));
    }
    channels(&mut page, features);
    shown(&mut page, features);
    page.section(
        "depth",
        "What is gained with depth",
        "Measured at the end of each block, and by taking blocks away.",
    );
    for figure in figures {
        figure.add_to(&mut page);
    }
    tables(&mut page, features);
    if !features.warnings.is_empty() {
        page.section("warnings", "What should be known", "");
        features.warnings.iter().for_each(|warning| page.paragraph(warning));
    }
    if !command.is_empty() {
        page.section("reproduce", "How to repeat it", "");
        page.listing(command);
    }
    page.finish(&format!("Written by resnet {}.", env!("CARGO_PKG_VERSION")))
}

fn stats(features: &Features) -> Vec<Stat> {
    let stat = |name: &str, value: String, note: String| Stat { name: name.into(), value, note };
    let mut stats = Vec::new();
    let probes = features.points.iter().filter_map(|p| p.probe).collect::<Vec<_>>();
    if let (Some(first), Some(last)) = (probes.first(), probes.last()) {
        stats.push(stat(
            "A linear classifier tells",
            format!("{} → {}", format::percent(*first, 1), format::percent(*last, 1)),
            "of the pictures, from the maps behind the first layer and behind the last block"
                .into(),
        ));
    }
    let last = features.points.last();
    stats.extend(last.map(|last| {
        stat(
            "Channels in use",
            format!("{:.0} of {}", last.used, format::thousands(last.channels as u64)),
            format!("behind {}", last.name),
        )
    }));
    let lesions = &features.lesions;
    let total = lesions.pictures.max(1) as f64;
    let scores = lesions.blocks.iter().filter_map(|lesion| {
        let score = lesion.score.as_ref()?;
        Some((score.wrong.unwrap_or(score.changed), lesion.block.as_str()))
    });
    if let Some((most, block)) = scores.max_by_key(|score| score.0) {
        let (what, whole) = match lesions.whole.wrong {
            Some(wrong) => ("Error without its most needed block", wrong),
            None => ("Answers that change without its most needed block", 0),
        };
        stats.push(stat(
            what,
            format::percent(most as f64 / total, 1),
            format!("{block}; {} with all blocks", format::percent(whole as f64 / total, 1)),
        ));
    }
    stats
}

/// The channels of each stage, each with what excites it.
fn channels(page: &mut Page, features: &Features) {
    page.section(
        "channels",
        "What channels answer to",
        "Of each stage the channels that single pictures excite most beside the rest, one for each kind of picture first. First a picture made for the channel, starting from noise; \
         then the pictures of the data that excite it most, cut to the square of pixels that the answer depends on and dark where the channel \
         does not answer. The small frame shows where in the picture the square lies.",
    );
    for point in features.points.iter().filter(|point| !point.seen.is_empty()) {
        page.heading(&format!("{}: {}", point.name, what_it_sees(point)));
        for seen in &point.seen {
            channel(page, features, point, seen);
        }
    }
}

fn what_it_sees(point: &PointSeen) -> String {
    let maps = format!("{} channels of {} x {} places", point.channels, point.height, point.width);
    match point.field {
        Some(side) => format!("{maps}, each sees {side} x {side} pixels"),
        None => format!("{maps}, each sees the whole picture"),
    }
}

fn channel(page: &mut Page, features: &Features, point: &PointSeen, seen: &ChannelSeen) {
    let size =
        features.shown.as_ref().map_or((1, 1), |shown| (shown.picture.height, shown.picture.width));
    let m = page.markup();
    m.open("div", &[("class", &"channel")]);
    m.element(
        "h4",
        &[],
        format!(
            "Channel {}: these pictures excite it at least {:.1} times as much as the mean one",
            seen.channel, seen.selectivity
        ),
    );
    m.open("ul", &[("class", &"pictures patches")]);
    if let Some(made) = &seen.made {
        m.open("li", &[("class", &"made")]);
        let text = format!(
            "made for channel {} of {}: answer {}, {} to noise, {} to its best picture",
            seen.channel,
            point.name,
            format::number(made.response),
            format::number(made.noise),
            format::number(made.best_picture)
        );
        image(page, &made.tile, &text);
        page.markup().element("span", &[], "made");
        page.markup().close();
    }
    for patch in &seen.top {
        let m = page.markup();
        m.open("li", &[]);
        let text = format!(
            "{}: answer {}, rows {} to {}, columns {} to {}",
            patch.picture,
            format::number(f64::from(patch.value)),
            patch.rows[0],
            patch.rows[1],
            patch.columns[0],
            patch.columns[1]
        );
        image(page, &patch.tile, &text);
        if patch.rows != [0, size.0] || patch.columns != [0, size.1] {
            place(page, patch, size);
        }
        page.markup().close();
    }
    page.markup().close();
    page.markup().close();
}

fn image(page: &mut Page, tile: &Tile, text: &str) {
    let Some((uri, width, height)) =
        photo_uri(tile.width, tile.height, tile.channels, &tile.pixels, SIDE)
    else {
        return;
    };
    let attributes: &[(&'static str, &dyn std::fmt::Display)] = &[
        ("src", &uri),
        ("alt", &text),
        ("title", &text),
        ("width", &width),
        ("height", &height),
        ("class", &"photo"),
        ("loading", &"lazy"),
    ];
    page.markup().leaf("img", attributes);
}

/// A frame for the picture with a frame for the patch in it.
fn place(page: &mut Page, patch: &Patch, (height, width): (usize, usize)) {
    let scale = 24.0 / height.max(width).max(1) as f64;
    let of = |n: usize| format!("{:.1}", n as f64 * scale);
    let m = page.markup();
    let (w, h) = (of(width), of(height));
    let attributes: &[(&'static str, &dyn std::fmt::Display)] =
        &[("class", &"place"), ("width", &w), ("height", &h), ("aria-hidden", &"true")];
    m.open("svg", attributes);
    m.leaf("rect", &[("width", &w), ("height", &h), ("class", &"whole")]);
    let ([top, bottom], [left, right]) = (patch.rows, patch.columns);
    m.leaf(
        "rect",
        &[
            ("x", &of(left)),
            ("y", &of(top)),
            ("width", &of(right - left)),
            ("height", &of(bottom - top)),
            ("class", &"part"),
        ],
    );
    m.close();
}

fn list<'a>(page: &mut Page, class: &'static str, tiles: impl Iterator<Item = (&'a Tile, String)>) {
    let class = format!("pictures {class}");
    page.markup().open("ul", &[("class", &class)]);
    for (tile, text) in tiles {
        let found = data_uri(tile.width, tile.height, tile.channels, &tile.pixels);
        let Ok((uri, _, _)) = found else { continue };
        let m = page.markup();
        m.open("li", &[]);
        m.leaf("img", &[("src", &uri), ("alt", &text), ("title", &text)]);
        m.close();
    }
    page.markup().close();
}

/// One picture through all stages.
fn shown(page: &mut Page, features: &Features) {
    let Some(shown) = &features.shown else {
        return;
    };
    page.section(
        "maps",
        "One picture through all stages",
        "The strongest maps at the end of each stage, white where a channel answers most. They become smaller and fewer places answer: from \
         edges everywhere to a few words about the whole.",
    );
    let m = page.markup();
    m.open("ul", &[("class", &"pictures")]);
    m.open("li", &[]);
    image(page, &shown.picture, &shown.name);
    page.markup().element("span", &[], "what the network sees");
    page.markup().close();
    page.markup().close();
    for (point, maps) in &shown.maps {
        let point = &features.points[*point];
        page.heading(&format!("{}: {} x {}", point.name, point.height, point.width));
        let tiles = maps.iter().map(|(channel, tile)| (tile, format!("channel {channel}")));
        list(page, "maps", tiles);
    }
}

fn tables(page: &mut Page, features: &Features) {
    let rows: Vec<Vec<Cell>> = features
        .points
        .iter()
        .map(|p| {
            vec![
                Cell::Head(p.name.clone()),
                Cell::Number(p.depth.to_string()),
                Cell::Number(format!("{} x {} x {}", p.channels, p.height, p.width)),
                Cell::Number(p.field.map_or("whole".into(), |side| format!("{side}"))),
                Cell::Number(format::number(p.used)),
                Cell::Number(p.probe.map_or(format::NONE.into(), |p| format::percent(p, 1))),
            ]
        })
        .collect();
    let headings =
        ["block", "convolutions", "maps", "sees, pixels", "channels in use", "classifier tells"];
    page.table("Blocks", &headings, &rows);
    let lesions = &features.lesions;
    let total = lesions.pictures.max(1) as f64;
    let share = |count: u64| Cell::Number(format::percent(count as f64 / total, 2));
    let none = || Cell::Number(format::NONE.into());
    let rows: Vec<Vec<Cell>> = lesions
        .blocks
        .iter()
        .enumerate()
        .map(|(i, lesion)| {
            let score = lesion.score.as_ref();
            let added = features.added.get(i).filter(|added| added.block == lesion.block);
            vec![
                Cell::Head(lesion.block.clone()),
                score.and_then(|s| s.wrong).map_or_else(none, share),
                score.map_or_else(none, |s| share(s.changed)),
                added.map_or_else(none, |a| {
                    Cell::Number(format::number(a.branch_norm / a.shortcut_norm))
                }),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let caption =
            format!("Without one block, on {} pictures", format::thousands(lesions.pictures));
        page.table(&caption, &["block", "error", "answers that change", "|F(x)| / |S(x)|"], &rows);
    }
}
