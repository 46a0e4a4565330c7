//! Rows of small pictures, each row with a line of text above it: what a network sees, layer by
//! layer.

use super::chart::Frame;
use super::label;
use super::markup::{Attributes, Markup, Px};
use super::png::data_uri;
use super::svg;
use super::tile::Tile;

/// Side of a picture, and from one to the next.
const SIDE: f64 = 50.0;
const GAP: f64 = 7.0;
/// From one line of text to the next.
const LINE: f64 = 17.0;

/// A line of text with the pictures below it.
#[derive(Clone, Debug)]
pub struct Strip {
    /// What the pictures are; breaks at blanks where it is too long.
    pub text: String,
    /// The pictures from left to right, each with its description; as many are shown as fit into
    /// `rows` rows.
    pub tiles: Vec<(Tile, String)>,
    /// The most rows.
    pub rows: usize,
}

/// Strips below each other.
#[derive(Clone, Debug)]
pub struct Strips {
    /// What they show.
    pub title: String,
    /// From the top.
    pub strips: Vec<Strip>,
}

impl Strips {
    /// The strips as an `svg` element, as high as they need to be at the frame's width.
    pub fn svg(&self, frame: Frame<'_>) -> String {
        self.draw(frame, false)
    }

    /// The strips as a file of its own, with the title above them.
    pub fn file(&self, width: f64) -> String {
        self.draw(Frame { id: "strips", width, height: 0.0 }, true)
    }

    fn draw(&self, frame: Frame<'_>, alone: bool) -> String {
        let fit = (((frame.width + GAP) / (SIDE + GAP)).floor() as usize).max(1);
        let top = if alone { 28.0 } else { 0.0 };
        let mut y = top;
        let mut placed = Vec::with_capacity(self.strips.len());
        for strip in &self.strips {
            let lines = label::wrap(&strip.text, svg::TEXT, frame.width);
            let shown = strip.tiles.len().min(fit * strip.rows);
            let begin = y + LINE * lines.len() as f64 + 1.0;
            let rows = shown.div_ceil(fit) as f64;
            placed.push((strip, y, lines, begin, shown));
            y = begin + (SIDE + GAP) * rows + 8.0;
        }
        let height = y;
        let texts: Vec<&str> = self.strips.iter().map(|strip| strip.text.as_str()).collect();
        let mut m = Markup::new();
        let open = if alone { svg::open_file } else { svg::open };
        open(&mut m, frame, height, &self.title, &texts.join(" "));
        for (strip, y, lines, begin, shown) in placed {
            for (i, line) in lines.iter().enumerate() {
                svg::text(&mut m, "", 0.0, y + LINE * (i as f64 + 1.0) - 4.0, line);
            }
            for (i, (tile, text)) in strip.tiles[..shown].iter().enumerate() {
                let x = (SIDE + GAP) * (i % fit) as f64;
                let y = begin + (SIDE + GAP) * (i / fit) as f64;
                picture(&mut m, tile, text, (x, y));
            }
        }
        m.finish()
    }
}

/// A picture in its square; small ones keep their pixels.
fn picture(m: &mut Markup, tile: &Tile, text: &str, (x, y): (f64, f64)) {
    let found = data_uri(tile.width, tile.height, tile.channels, &tile.pixels);
    let Ok((uri, _, _)) = found else { return };
    let (x, y, side) = (Px(x), Px(y), Px(SIDE));
    let style = if tile.width.max(tile.height) < 64 { "image-rendering:pixelated" } else { "" };
    m.open("g", &[]);
    m.element("title", &[], text);
    let attributes: Attributes<'_> = &[
        ("href", &uri),
        ("x", &x),
        ("y", &y),
        ("width", &side),
        ("height", &side),
        ("style", &style),
    ];
    m.leaf("image", attributes);
    m.close();
}

#[cfg(test)]
mod tests {
    use super::{Frame, Strip, Strips, Tile};

    fn strips(tiles: usize) -> Strips {
        let tile = Tile { width: 2, height: 2, channels: 1, pixels: vec![0, 80, 160, 240] };
        let tiles = vec![(tile, "a < b".into()); tiles];
        Strips {
            title: "maps".into(),
            strips: vec![Strip { text: "four words and more".into(), tiles, rows: 2 }],
        }
    }

    #[test]
    fn pictures_beyond_the_rows_are_left_out() {
        let frame = Frame { id: "a", width: 120.0, height: 0.0 };
        assert_eq!(strips(3).svg(frame).matches("<image").count(), 3);
        assert_eq!(strips(9).svg(frame).matches("<image").count(), 4, "two rows of two");
        assert!(strips(1).file(120.0).contains("a &lt; b"));
    }

    #[test]
    fn long_texts_break() {
        let frame = Frame { id: "a", width: 60.0, height: 0.0 };
        assert!(strips(1).svg(frame).matches("<text").count() > 1);
    }
}
