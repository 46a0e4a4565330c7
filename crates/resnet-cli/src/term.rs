//! The terminal: lines on standard error, progress bars, signals, numbers as people read them, and
//! what was typed.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use resnet::train::Flow;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Left by a run that was stopped: the shell's code for an interrupt.
pub(crate) const INTERRUPTED: u8 = 130;

/// Prints a line on standard error. Whoever closed it does not want to know; training goes on.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A bar on standard error if that is a terminal, hidden if not.
pub(crate) fn bar(len: u64, unit: &str) -> ProgressBar {
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style =
        ProgressStyle::with_template(&format!("{{pos}}/{{len}} {unit} {{wide_bar}} {{msg}}"));
    ProgressBar::with_draw_target(Some(len), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What Ctrl-C or SIGTERM sets; the second time leaves at once.
pub(crate) fn stop_at_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// Makes a file that grows over the limit of `ulimit -f` an error of the write that says so. Left
/// alone, the system ends the process without a word.
pub(crate) fn survive_file_limits() -> anyhow::Result<()> {
    #[cfg(unix)]
    flag::register(signal_hook::consts::signal::SIGXFSZ, Arc::default())?;
    Ok(())
}

/// Whether to go on, after the signals that came in.
pub(crate) fn flow(stop: &AtomicBool) -> Flow {
    if stop.load(Ordering::SeqCst) { Flow::Stop } else { Flow::Go }
}

/// What was typed, quoted where a shell would need it.
pub(crate) fn command_line() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    let quote = |word: String| {
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words = std::env::args_os().skip(1).map(|word| quote(word.to_string_lossy().into_owned()));
    std::iter::once("resnet".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A number with separators between thousands.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in millions or billions, four digits.
pub(crate) fn scaled(n: u64) -> String {
    let x = n as f64;
    if x >= 1e9 { format!("{:.3} G", x / 1e9) } else { format!("{:.2} M", x / 1e6) }
}

/// `42 s`, `3 min 20 s`, `5 h 07 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, grouped, scaled};

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(269_722), "269,722");
        assert_eq!(grouped(25_557_032), "25,557,032");
        assert_eq!(scaled(40_551_000), "40.55 M");
        assert_eq!(scaled(4_089_184_256), "4.089 G");
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        assert_eq!(duration(41.6), "42 s");
        assert_eq!(duration(200.0), "3 min 20 s");
        assert_eq!(duration(18_420.0), "5 h 07 min");
    }
}
