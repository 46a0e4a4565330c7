//! Writes a block as SVG, one layer under the other, the shortcut at the right.

use super::{Block, Piece};
use crate::page::charts::chart::Frame;
use crate::page::charts::label;
use crate::page::charts::markup::{Markup, Px};
use crate::page::charts::svg;
use crate::page::draw::paint::CSS;

/// Size of the texts.
const TEXT: f64 = 11.0;
/// Size of the notes below.
const NOTE: f64 = 12.0;
/// From one line of text to the next.
const LINE: f64 = 15.0;
/// From a box to the next.
const GAP: f64 = 24.0;
/// Height of a box with one line.
const BOX: f64 = 23.0;
/// Radius of the addition's sign.
const SUM: f64 = 11.0;
/// From the boxes to the lane beside them.
const LANE: f64 = 16.0;
/// From the ways forward to the gradient's ways back.
const BESIDE: f64 = 9.0;
const ROUND: f64 = 6.0;
/// Least width of a drawing.
const LEAST: f64 = 280.0;

/// A layer at its place.
struct Place<'a> {
    piece: &'a Piece,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// A block with everything at its place.
pub(super) struct Painting<'a> {
    block: &'a Block,
    gradient: bool,
    places: Vec<Place<'a>>,
    /// x of the branch, of the shortcut, and of the gradient's ways beside each.
    branch: f64,
    lane: f64,
    back: (f64, f64),
    /// y of the input, of the fork, of the addition, of the output.
    input: f64,
    fork: f64,
    add: f64,
    output: f64,
    notes: Vec<String>,
    width: f64,
    height: f64,
}

fn width_of(piece: &Piece) -> f64 {
    piece.lines.iter().map(|line| label::width(line, TEXT) + 14.0).fold(0.0, f64::max)
}

fn height_of(piece: &Piece) -> f64 {
    BOX + LINE * (piece.lines.len() - 1) as f64
}

fn widest(pieces: &[Piece]) -> f64 {
    pieces.iter().map(width_of).fold(60.0, f64::max)
}

/// Puts pieces under each other from `y` on; returns where the next would begin.
fn stack<'a>(places: &mut Vec<Place<'a>>, pieces: &'a [Piece], x: f64, mut y: f64) -> f64 {
    for piece in pieces {
        let (width, height) = (width_of(piece), height_of(piece));
        places.push(Place { piece, x, y, width, height });
        y += height + GAP;
    }
    y
}

impl Painting<'_> {
    /// Everything at its place, from `top` on.
    pub(super) fn new(block: &Block, gradient: bool, top: f64) -> Painting<'_> {
        let trunk = widest(&block.head).max(widest(&block.branch)).max(widest(&block.tail));
        let through = if gradient { label::width(&branch_term(block), TEXT) + 22.0 } else { 0.0 };
        let branch = trunk / 2.0 + if gradient { LANE + through } else { 0.0 };
        let way = block.shortcut.as_deref().unwrap_or_default();
        let half = way.iter().map(width_of).fold(52.0, f64::max) / 2.0;
        let lane = branch + trunk / 2.0 + LANE + half;
        let back = (branch - trunk / 2.0 - LANE, lane + half + 8.0);
        let right = match &block.shortcut {
            None => branch + trunk / 2.0,
            Some(_) if gradient => back.1 + 8.0 + label::width(&shortcut_term(block), TEXT),
            Some(_) => lane + half,
        };
        let width = right.max(LEAST);
        let mut places = Vec::new();
        let input = top + LINE;
        let head = stack(&mut places, &block.head, branch, input + GAP);
        let fork = head - GAP + 10.0;
        let begin = if block.shortcut.is_some() { fork + 18.0 } else { head };
        let end = stack(&mut places, &block.branch, branch, begin);
        let tall: f64 = way.iter().map(|piece| height_of(piece) + GAP).sum::<f64>() - GAP;
        let (add, behind) = match &block.shortcut {
            Some(_) => {
                let add = end.max(begin + tall + GAP) + SUM - 2.0;
                stack(&mut places, way, lane, (fork + add - tall) / 2.0);
                (add, add + SUM + GAP)
            }
            None => (end, end),
        };
        let tail = stack(&mut places, &block.tail, branch, behind);
        let output = tail + TEXT - 4.0;
        let notes = match gradient {
            true => {
                notes(block).iter().flat_map(|note| label::wrap(note, NOTE, width - 4.0)).collect()
            }
            false => Vec::new(),
        };
        let below = if notes.is_empty() { 0.0 } else { 20.0 + LINE * notes.len() as f64 };
        let height = output + 8.0 + below;
        Painting {
            block,
            gradient,
            places,
            branch,
            lane,
            back,
            input,
            fork,
            add,
            output,
            notes,
            width,
            height,
        }
    }

    pub(super) fn width(&self) -> f64 {
        self.width
    }

    /// The drawing as a file of its own.
    pub(super) fn file(&self) -> String {
        let mut m = Markup::new();
        let frame = svg::wide_enough("block", self.width, &self.block.title);
        svg::open_file(&mut m, frame, self.height, &self.block.title, &self.description());
        self.inside(&mut m);
        m.finish()
    }

    /// The drawing as an element of a page.
    pub(super) fn element(&self, id: &str) -> String {
        let mut m = Markup::new();
        let frame = Frame { id, width: self.width, height: self.height };
        svg::open(&mut m, frame, self.height, &self.block.title, &self.description());
        self.inside(&mut m);
        m.finish()
    }

    fn description(&self) -> String {
        let words = |pieces: &[Piece]| {
            let lines: Vec<&str> = pieces.iter().map(|piece| piece.lines[0].as_str()).collect();
            if lines.is_empty() { "nothing".into() } else { lines.join("; ") }
        };
        let block = self.block;
        let way = block.shortcut.as_ref();
        let way = way.map_or("none".into(), |way| format!("{}, then added", words(way)));
        format!(
            "From {} to {}. Branch: {}. Shortcut: {way}.",
            block.input,
            block.output,
            words(&block.branch)
        )
    }

    fn inside(&self, m: &mut Markup) {
        m.raw(&format!("<style>{CSS}</style>"));
        m.open("g", &[("class", &"net")]);
        svg::text(
            m,
            "fact middle",
            self.branch,
            self.input - 4.0,
            format!("x: {}", self.block.input),
        );
        self.wires(m);
        for place in &self.places {
            layer(m, place);
        }
        if self.block.shortcut.is_some() {
            self.sum(m);
        }
        let y = self.output;
        svg::text(m, "fact middle", self.branch, y, format!("y: {}", self.block.output));
        if self.gradient {
            self.gradient(m);
        }
        for (i, note) in self.notes.iter().enumerate() {
            svg::text(m, "says", 0.0, self.output + 28.0 + LINE * i as f64, note);
        }
        m.close();
    }

    /// The ways forward.
    fn wires(&self, m: &mut Markup) {
        let x = Px(self.branch);
        let to = Px(self.output - TEXT - 1.0);
        let d = format!("M{x} {}V{to}", Px(self.input + 1.0));
        m.leaf("path", &[("class", &"wires"), ("d", &d)]);
        let y = self.output - TEXT;
        tip(m, "tip", (self.branch, y + 1.0), (0.0, -7.0));
        if self.block.shortcut.is_some() {
            let (lane, turn) = (Px(self.lane), Px(self.lane - ROUND));
            let (fork, add) = (Px(self.fork), Px(self.add));
            let d = format!(
                "M{x} {fork}H{turn}Q{lane} {fork} {lane} {}V{}Q{lane} {add} {turn} {add}H{}",
                Px(self.fork + ROUND),
                Px(self.add - ROUND),
                Px(self.branch + SUM + 6.0)
            );
            m.leaf("path", &[("class", &"wires"), ("d", &d)]);
            tip(m, "tip", (self.branch + SUM, self.add), (7.0, 0.0));
        }
        // What the maps have become, where that changes.
        let mut shape = self.block.input;
        let on_branch = self.places.iter().filter(|place| place.x == self.branch);
        for place in on_branch {
            if place.piece.output != shape {
                shape = place.piece.output;
                let (x, y) = (self.branch + 6.0, place.y + place.height + 15.0);
                svg::text(m, "note small", x, y, shape);
            }
        }
    }

    fn sum(&self, m: &mut Markup) {
        let (x, y) = (self.branch, self.add);
        m.leaf("circle", &[("class", &"sum"), ("cx", &Px(x)), ("cy", &Px(y)), ("r", &Px(SUM))]);
        svg::text(m, "middle name", x, y + 5.0, "+");
        let branch = format!("F({})", given(self.block));
        svg::text(m, "note end", x - SUM - 5.0, y + 4.0, branch);
        let way = self.block.shortcut.as_deref().unwrap_or_default();
        if way.is_empty() {
            let (lane, middle) = (self.lane, (self.fork + self.add) / 2.0);
            let what = format!("{}, as it is", given(self.block));
            svg::text(m, "note middle", lane, middle - 3.0, what);
            svg::text(m, "note middle", lane, middle - 3.0 + LINE, "no weights");
        }
    }

    /// The gradient's ways back.
    fn gradient(&self, m: &mut Markup) {
        let begin = self.output - TEXT - 16.0;
        let (left, right) = self.back;
        let way = |m: &mut Markup, lane: f64, sign: f64| {
            let from = self.branch + sign * BESIDE;
            let end = self.branch + sign * 9.0;
            let (start, top) = match self.block.shortcut {
                Some(_) => (self.add + BESIDE + 5.0, self.fork - BESIDE + 3.0),
                None => (begin, self.input + 12.0),
            };
            let d = format!("M{} {}H{}V{}H{}", Px(from), Px(start), Px(lane), Px(top), Px(end));
            m.leaf("path", &[("class", &"back"), ("d", &d)]);
            tip(m, "back-tip", (end - sign * 5.0, top), (sign * 8.0, 0.0));
        };
        way(m, left, -1.0);
        let middle = match self.block.shortcut {
            Some(_) => (self.fork + self.add) / 2.0,
            None => (self.input + self.output) / 2.0,
        };
        svg::text(m, "t1 end", left - 8.0, middle, branch_term(self.block));
        if self.block.shortcut.is_some() {
            way(m, right, 1.0);
            svg::text(m, "t1", right + 8.0, middle, shortcut_term(self.block));
            svg::text(m, "t1 end", self.branch - BESIDE - 6.0, self.add + BESIDE + 20.0, "g");
        }
    }
}

/// What branch and shortcut are given: x, or what the block's first layers make of it.
fn given(block: &Block) -> &'static str {
    if block.head.is_empty() { "x" } else { "h" }
}

fn branch_term(block: &Block) -> String {
    format!("(∂F/∂{})ᵀ g", given(block))
}

fn shortcut_term(block: &Block) -> String {
    match block.shortcut.as_deref() {
        Some([]) => "g".into(),
        _ => format!("(∂S/∂{})ᵀ g", given(block)),
    }
}

fn notes(block: &Block) -> Vec<String> {
    let Some(way) = &block.shortcut else {
        return vec![
            "g: the gradient of the loss at y. It is multiplied by the derivative of every layer; \
             there is no other way."
                .into(),
        ];
    };
    let gradient = match block.tail.is_empty() {
        true => "g: the gradient of the loss at y.",
        false => "g: the gradient of the loss at the sum, that at y where the ReLU is open.",
    };
    let shortcut = match (way.iter().any(|piece| piece.weights), way.is_empty()) {
        (true, _) => {
            "Through the shortcut, S, it is multiplied by the derivative of what lies there."
        }
        (false, true) => "Through the shortcut it arrives as it is: no weight touches it.",
        (false, false) => {
            "Through the shortcut, S, values return to where they were kept from: no \
                           weight touches them."
        }
    };
    let mut notes = Vec::new();
    if !block.head.is_empty() {
        notes.push("h: what the block's first layers make of x.".to_owned());
    }
    notes.extend([
        gradient.into(),
        format!("∂L/∂{} = {} + {}", given(block), shortcut_term(block), branch_term(block)),
        shortcut.into(),
        "Through the branch, F, it is multiplied by the derivative of every layer in it.".into(),
    ]);
    notes
}

fn layer(m: &mut Markup, place: &Place<'_>) {
    let class = if place.piece.weights { "layer f0 l0" } else { "pool" };
    let (corner, size) = ((place.x - place.width / 2.0, place.y), (place.width, place.height));
    svg::rect(m, "page", corner, size);
    svg::rect(m, class, corner, size);
    for (i, line) in place.piece.lines.iter().enumerate() {
        let class = if i == 0 { "middle" } else { "middle small" };
        svg::text(m, class, place.x, place.y + 15.5 + LINE * i as f64, line);
    }
}

/// The tip of an arrow that ends at a point and comes from beside it.
fn tip(m: &mut Markup, class: &str, (x, y): (f64, f64), (dx, dy): (f64, f64)) {
    const HALF: f64 = 4.0;
    let (across, along) = if dx == 0.0 { (HALF, 0.0) } else { (0.0, HALF) };
    let d = format!(
        "M{} {}L{} {}L{} {}Z",
        Px(x),
        Px(y),
        Px(x + dx - across),
        Px(y + dy - along),
        Px(x + dx + across),
        Px(y + dy + along)
    );
    m.leaf("path", &[("class", &class), ("d", &d)]);
}
