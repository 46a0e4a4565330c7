//! Colours of both themes, as CSS variables.
//!
//! Series colours are Okabe & Ito's palette (Color Universal Design, 2008), which people with any
//! common colour vision tell apart, without yellow and black. A colour that is too pale for a line
//! on white, or too dark for one on the dark sheet, is shifted in lightness; a test holds lines at
//! a contrast of 3 and texts at 4.5 (WCAG 2.2, 1.4.11 and 1.4.3).

use std::fmt::Write;

/// One series colour in both themes: the line's and the text's.
struct Colour {
    light_line: &'static str,
    light_text: &'static str,
    dark_line: &'static str,
    dark_text: &'static str,
}

const fn colour(light_line: &'static str, light_text: &'static str, dark: &'static str) -> Colour {
    Colour { light_line, light_text, dark_line: dark, dark_text: dark }
}

/// Blue, vermillion, bluish green, reddish purple, orange, sky blue, grey.
const SERIES: [Colour; 7] = [
    colour("#0072b2", "#00639c", "#4aa8e0"),
    colour("#d55e00", "#b04d00", "#f27a3d"),
    colour("#009e73", "#00734f", "#2fc296"),
    colour("#c56b9b", "#a0477a", "#dd94bd"),
    colour("#b98000", "#866000", "#e6a91f"),
    colour("#3590c8", "#1f739f", "#93d0f5"),
    colour("#7b838d", "#5f6770", "#9aa3ae"),
];

/// Number of distinct series colours; higher indices start again.
pub const COLOURS: usize = SERIES.len();

/// Name, light value, dark value.
const SHEET: [(&str, &str, &str); 13] = [
    ("page", "#ffffff", "#13161a"),
    ("card", "#f5f7f9", "#1b2026"),
    ("ink", "#171b20", "#e9ecef"),
    ("muted", "#57606a", "#a3acb7"),
    ("rule", "#d5dae0", "#363d46"),
    ("grid", "#e6e9ed", "#272d34"),
    ("main", "#0072b2", "#56b4e9"),
    ("accent", "#cc5500", "#f27a3d"),
    ("on-shade", "#ffffff", "#000000"),
    ("on-light", "#ffffff", "#e9ecef"),
    ("on-dark", "#171b20", "#000000"),
    ("bad", "#b3261e", "#ff8a80"),
    ("good", "#00734f", "#2fc296"),
];

/// Colours of a heat map from little to much, red, green, blue, evenly spaced. None of them is
/// grey, and the last is seen on white too.
pub const HEAT: [[u8; 3]; 5] =
    [[60, 20, 160], [150, 20, 140], [225, 45, 50], [250, 140, 0], [255, 225, 0]];

/// Style sheet of the charts alone; it needs the variables of [`variables`].
pub const CHART_CSS: &str = include_str!("chart.css");

/// The variables: light, and dark where the reader's screen prefers it. Paper is always light.
pub fn variables() -> String {
    let mut css = String::from(":root{color-scheme:light dark;");
    for (name, light, _) in SHEET {
        let _ = write!(css, "--{name}:{light};");
    }
    for (i, colour) in SERIES.iter().enumerate() {
        let _ = write!(css, "--l{i}:{};--t{i}:{};", colour.light_line, colour.light_text);
    }
    css.push_str("}\n@media screen and (prefers-color-scheme:dark){:root{");
    for (name, _, dark) in SHEET {
        let _ = write!(css, "--{name}:{dark};");
    }
    for (i, colour) in SERIES.iter().enumerate() {
        let _ = write!(css, "--l{i}:{};--t{i}:{};", colour.dark_line, colour.dark_text);
    }
    css.push_str("}}\n");
    for i in 0..COLOURS {
        let _ = write!(
            css,
            ".l{i}{{stroke:var(--l{i})}}.f{i}{{fill:var(--l{i})}}.chart .t{i}{{fill:var(--t{i})}}"
        );
    }
    css.push('\n');
    css
}

/// [`HEAT`] as the variables `--heat0` and so on, for pages that draw heat maps themselves.
pub fn heat_variables() -> String {
    let mut css = String::from(":root{");
    for (i, [r, g, b]) in HEAT.iter().enumerate() {
        let _ = write!(css, "--heat{i}:#{r:02x}{g:02x}{b:02x};");
    }
    css.push_str("}\n");
    css
}

/// The class of a text on the colour `name` at some opacity over the page: whichever of the sheet's
/// ink and the shade's own is easier to read, in each theme.
pub(super) fn text_on(name: &str, opacity: f64) -> &'static str {
    let (hue, page, ink, on) = (sheet(name), sheet("page"), sheet("ink"), sheet("on-shade"));
    let better = |hue, page, ink, on| {
        let ground = blend(hue, page, opacity);
        contrast(rgb(on), ground) > contrast(rgb(ink), ground)
    };
    match (better(hue.0, page.0, ink.0, on.0), better(hue.1, page.1, ink.1, on.1)) {
        (false, false) => "middle",
        (false, true) => "middle on-dark",
        (true, false) => "middle on-light",
        (true, true) => "middle on-shade",
    }
}

/// The light and the dark value of a colour of the sheet.
fn sheet(name: &str) -> (&'static str, &'static str) {
    SHEET.iter().find(|row| row.0 == name).map_or(("#000000", "#ffffff"), |row| (row.1, row.2))
}

/// Red, green and blue of `#rrggbb`, 0 to 1.
fn rgb(hex: &str) -> [f64; 3] {
    let value = u32::from_str_radix(hex.trim_start_matches('#'), 16).unwrap_or(0);
    [16, 8, 0].map(|shift| f64::from(value >> shift & 255) / 255.0)
}

fn blend(over: &str, under: &str, opacity: f64) -> [f64; 3] {
    let (over, under) = (rgb(over), rgb(under));
    std::array::from_fn(|i| over[i] * opacity + under[i] * (1.0 - opacity))
}

/// The contrast ratio of WCAG 2.2: 1 for equal colours, 21 for black on white.
fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let linear = |v: f64| {
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    };
    let luminance =
        |c: [f64; 3]| 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::{HEAT, SERIES, blend, heat_variables, rgb, sheet, text_on};

    #[test]
    fn colours_of_heat_maps_are_those_of_the_style_sheet() {
        let css = heat_variables();
        for (i, colour) in HEAT.iter().enumerate() {
            let (_, value) = css.split_once(&format!("--heat{i}:")).expect("a variable each");
            let read = rgb(&value[..7]).map(|part| (part * 255.0).round() as u8);
            assert_eq!(read, *colour, "heat {i}");
        }
    }

    #[test]
    fn contrast_is_the_known_one() {
        assert!((contrast("#ffffff", "#000000") - 21.0).abs() < 1e-9);
        assert!((contrast("#777777", "#ffffff") - 4.48).abs() < 0.01);
    }

    #[test]
    fn lines_and_texts_stand_out_in_both_themes() {
        for ground in ["page", "card"] {
            let (light, dark) = sheet(ground);
            for (i, c) in SERIES.iter().enumerate() {
                assert!(contrast(c.light_line, light) >= 3.0, "light line {i} on {ground}");
                assert!(contrast(c.light_text, light) >= 4.5, "light text {i} on {ground}");
                assert!(contrast(c.dark_line, dark) >= 3.0, "dark line {i} on {ground}");
                assert!(contrast(c.dark_text, dark) >= 4.5, "dark text {i} on {ground}");
            }
            for name in ["ink", "muted", "bad", "good"] {
                let text = sheet(name);
                assert!(
                    contrast(text.0, light) >= 4.5 && contrast(text.1, dark) >= 4.5,
                    "{name} on {ground}"
                );
            }
        }
    }

    #[test]
    fn texts_on_shades_are_readable() {
        let page = sheet("page");
        for name in ["main", "accent"] {
            let hue = sheet(name);
            for percent in 0..=100 {
                let opacity = f64::from(percent) / 100.0;
                let class = text_on(name, opacity);
                let text = sheet(class.strip_prefix("middle ").unwrap_or("ink"));
                for (text, hue, page) in [(text.0, hue.0, page.0), (text.1, hue.1, page.1)] {
                    let ratio = super::contrast(rgb(text), blend(hue, page, opacity));
                    assert!(ratio >= 4.0, "{name} at {percent} %: {ratio:.2} with {class}");
                }
            }
        }
    }

    fn contrast(a: &str, b: &str) -> f64 {
        super::contrast(rgb(a), rgb(b))
    }
}
