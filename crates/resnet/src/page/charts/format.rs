//! Numbers as people read them. A space inside a quantity is a no-break space.

/// The no-break space between a number and its unit.
pub const NBSP: char = '\u{a0}';

/// What is shown where there is no number.
pub const NONE: &str = "–";

/// `12345678` as `12,345,678`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `272474` as `272 k`, `25557032` as `25.6 M`: three digits and the prefix of the thousand.
pub fn compact(n: u64) -> String {
    if n < 1000 {
        return n.to_string();
    }
    let (mut value, mut prefix) = (n as f64, 0);
    while value >= 999.5 && prefix < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    format!("{}{NBSP}{}", three_digits(value), PREFIXES[prefix - 1])
}

const PREFIXES: [&str; 6] = ["k", "M", "G", "T", "P", "E"];

fn three_digits(value: f64) -> String {
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}")
}

/// A fraction as a percentage, `0.9142` as `91.42 %`.
pub fn percent(fraction: f64, decimals: usize) -> String {
    if !fraction.is_finite() {
        return NONE.to_owned();
    }
    format!("{:.decimals$}{NBSP}%", fraction * 100.0 + 0.0)
}

/// Decimals that a percentage of `count` images can mean.
pub fn decimals_for(count: u64) -> usize {
    match count {
        0..100 => 0,
        100..1000 => 1,
        _ => 2,
    }
}

/// Four significant digits; very large and very small numbers as a power of ten.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return if value.is_nan() {
            "not a number".to_owned()
        } else {
            format!("{value}").replace("inf", "infinite")
        };
    }
    let exponent = value.abs().log10().floor() as i32;
    if !(-4..7).contains(&exponent) {
        return power_of_ten(value, 3);
    }
    let decimals = (3 - exponent).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// `1.25e-7` as `1.25·10⁻⁷`, with `digits` significant digits at most.
pub fn power_of_ten(value: f64, digits: usize) -> String {
    let text = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = if mantissa.contains('.') {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    };
    let exponent: String = exponent.chars().map(superscript).collect();
    match mantissa {
        "1" => format!("10{exponent}"),
        "-1" => format!("-10{exponent}"),
        _ => format!("{mantissa}·10{exponent}"),
    }
}

fn superscript(c: char) -> char {
    match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        d @ '0'..='9' => char::from_u32(0x2070 + (d as u32 - '0' as u32)).unwrap_or(d),
        other => other,
    }
}

/// Seconds as `8.4 s`, `2 min 41 s`, `3 h 05 min`, `2 d 4 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NONE.to_owned();
    }
    if seconds < 59.95 {
        return if seconds < 9.995 {
            format!("{seconds:.2}{NBSP}s")
        } else {
            format!("{seconds:.1}{NBSP}s")
        };
    }
    let whole = seconds.round().min(1e15) as u64;
    let (days, hours, minutes, rest) =
        (whole / 86400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    if days > 0 {
        format!("{}{NBSP}d {hours}{NBSP}h", thousands(days))
    } else if hours > 0 {
        format!("{hours}{NBSP}h {minutes:02}{NBSP}min")
    } else {
        format!("{minutes}{NBSP}min {rest:02}{NBSP}s")
    }
}

/// The Wilson score interval, 95 %, of a share `fraction` seen in `count` trials (Wilson 1927).
pub fn wilson(fraction: f64, count: u64) -> Option<(f64, f64)> {
    if count == 0 || !(0.0..=1.0).contains(&fraction) {
        return None;
    }
    const Z: f64 = 1.959_963_984_540_054; // the 97.5 % point of the standard normal
    let n = count as f64;
    let centre = (fraction + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half =
        Z / (1.0 + Z * Z / n) * (fraction * (1.0 - fraction) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(((centre - half).max(0.0), (centre + half).min(1.0)))
}

/// `name` with `n` before it, and an `s` behind it unless `n` is 1.
pub fn plural(n: u64, name: &str) -> String {
    format!("{}{NBSP}{name}{}", thousands(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: String) -> String {
        text.replace(NBSP, " ")
    }

    #[test]
    fn counts() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
        for (n, text) in [
            (7, "7"),
            (999, "999"),
            (1000, "1.00 k"),
            (272_474, "272 k"),
            (999_499, "999 k"),
            (999_500, "1.00 M"),
            (25_557_032, "25.6 M"),
            (u64::MAX, "18.4 E"),
        ] {
            assert_eq!(plain(compact(n)), text);
        }
        assert_eq!(plain(plural(1, "step")), "1 step");
        assert_eq!(plain(plural(1200, "step")), "1,200 steps");
    }

    #[test]
    fn percentages_and_numbers() {
        assert_eq!(plain(percent(0.9142, 2)), "91.42 %");
        assert_eq!(plain(percent(-0.0, 1)), "0.0 %");
        assert_eq!(percent(f64::NAN, 1), NONE);
        for (value, text) in [
            (0.0, "0"),
            (0.1, "0.1"),
            (0.052_34, "0.05234"),
            (2.345_678, "2.346"),
            (1234.5, "1234"),
            (100_000.0, "100000"),
            (1e-7, "10⁻⁷"),
            (1.25e12, "1.25·10¹²"),
            (f64::NAN, "not a number"),
            (f64::NEG_INFINITY, "-infinite"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0.0, "0.00 s"),
            (8.4, "8.40 s"),
            (59.94, "59.9 s"),
            (59.96, "1 min 00 s"),
            (161.2, "2 min 41 s"),
            (11_100.0, "3 h 05 min"),
            (187_200.0, "2 d 4 h"),
            (-1.0, NONE),
            (f64::NAN, NONE),
        ] {
            assert_eq!(plain(duration(seconds)), text);
        }
    }

    #[test]
    fn wilson_matches_the_published_example_and_stays_inside() {
        // Newcombe 1998, table I, method 3: 81 of 263 give (0.2553, 0.3662).
        let (low, high) = wilson(81.0 / 263.0, 263).unwrap();
        assert!((low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5, "{low} {high}");
        assert!((wilson(1.0, 10).unwrap().1 - 1.0).abs() < 1e-12);
        assert_eq!(wilson(0.0, 10).unwrap().0, 0.0);
        assert!(wilson(0.5, 0).is_none() && wilson(f64::NAN, 5).is_none());
    }
}
