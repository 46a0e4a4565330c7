//! Text that must not collide: estimated widths, shortening, and placement along a line.

/// Estimated width of `text` at `size` pixels. An upper bound for the usual sans-serif fonts: the
/// widths are those of DejaVu Sans, the widest of them.
pub fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

fn advance(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '\'' => 0.28,
        ' ' | '\u{a0}' | '.' | ',' | ':' | ';' | '!' | '|' | 'I' | '/' => 0.34,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '·' => 0.42,
        'm' | 'M' | 'w' | 'W' | '%' | '@' => 1.0,
        'A'..='Z' | '_' => 0.76,
        c if (c as u32) < 0x1100 => 0.64,
        '–' | '‘' | '’' => 0.5,
        _ => 1.05,
    }
}

/// `text` if it fits in `room` pixels, else its beginning and an ellipsis.
pub fn shorten(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut left = room - advance('…') * size;
    let kept: String = text
        .chars()
        .take_while(|&c| {
            left -= advance(c) * size;
            left >= 0.0
        })
        .collect();
    kept.trim_end().to_owned() + "…"
}

/// `text` in lines that fit.
pub fn wrap(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Positions as near as possible (least squares) to `wanted`, at least `gap` apart and inside
/// `low..=high`, in the order of `wanted`. If the room is too small for all, the gap shrinks to
/// what there is.
pub fn spread(wanted: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let n = wanted.len();
    let gap = if n > 1 { gap.min((high - low) / (n - 1) as f64).max(0.0) } else { gap };
    let wish = |i: usize| {
        if wanted[i].is_nan() { f64::INFINITY } else { wanted[i] }
    };
    let place = |i: usize| wish(i).min(high).max(low);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| wish(a).total_cmp(&wish(b)).then(a.cmp(&b)));

    // Pool adjacent violators: labels that would touch become one block, which stands at the mean
    // of its wishes.
    struct Block {
        members: usize,
        sum: f64, // of wanted - offset inside the block
        start: f64,
    }
    let settle = |members: usize, sum: f64| {
        let length = gap * (members - 1) as f64;
        (sum / members as f64).min(high - length).max(low)
    };
    let mut blocks: Vec<Block> = Vec::with_capacity(n);
    for &i in &order {
        let mut block = Block { members: 1, sum: place(i), start: place(i) };
        while let Some(before) = blocks.last() {
            if before.start + gap * before.members as f64 <= block.start {
                break;
            }
            let offset = gap * before.members as f64;
            let sum = before.sum + block.sum - offset * block.members as f64;
            let members = before.members + block.members;
            block = Block { members, sum, start: settle(members, sum) };
            blocks.pop();
        }
        blocks.push(block);
    }

    let mut placed = vec![0.0; n];
    let mut next = order.into_iter();
    for block in blocks {
        for k in 0..block.members {
            if let Some(i) = next.next() {
                placed[i] = block.start + gap * k as f64;
            }
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn spread_labels_never_overlap_nor_leave() {
        let mut rng = Rng::new(7, &[]);
        for case in 0..500 {
            let n = rng.below(24);
            let wanted: Vec<f64> = (0..n).map(|_| rng.range(-20.0, 320.0)).collect();
            let placed = spread(&wanted, 12.0, 0.0, 300.0);
            let mut sorted = placed.clone();
            sorted.sort_by(f64::total_cmp);
            assert!(
                sorted.windows(2).all(|p| p[1] - p[0] >= 12.0 - 1e-9),
                "case {case}: {sorted:?}"
            );
            assert!(
                sorted.iter().all(|p| (-1e-9..=300.0 + 1e-9).contains(p)),
                "case {case}: {sorted:?}"
            );
            for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))) {
                assert!(
                    wanted[a] >= wanted[b] || placed[a] <= placed[b],
                    "case {case}: order of {a} and {b}"
                );
            }
        }
    }

    #[test]
    fn spread_leaves_free_labels_alone() {
        assert_eq!(spread(&[10.0, 50.0], 12.0, 0.0, 100.0), [10.0, 50.0]);
        assert_eq!(spread(&[50.0, 50.0], 12.0, 0.0, 100.0), [44.0, 56.0]);
        assert_eq!(spread(&[100.0, 99.0], 10.0, 0.0, 100.0), [100.0, 90.0]);
        assert_eq!(spread(&[f64::NAN], 12.0, 0.0, 100.0), [100.0]);
        assert!(spread(&[], 12.0, 0.0, 100.0).is_empty());
        assert_eq!(spread(&[0.0; 3], 90.0, 0.0, 100.0), [0.0, 50.0, 100.0]);
    }

    #[test]
    fn shortened_texts_fit() {
        for text in ["a", "resnet110 without shortcuts", "mmmmmmmmm", "衣類カテゴリー名"] {
            for room in [20.0, 60.0, 200.0] {
                assert!(width(&shorten(text, 12.0, room), 12.0) <= room.max(12.0 * 1.05) + 1e-9);
            }
        }
        assert_eq!(shorten("test", 12.0, 100.0), "test");
    }
}
