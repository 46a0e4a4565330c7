//! The terminal: everything that goes to standard output and standard error, progress bars,
//! signals, numbers as people read them, and what was typed.
//!
//! Names of classes, tensors and files come from anywhere. What would move the cursor or begin
//! another line is shown as text, in every line that people read; JSON and CSV have rules of their
//! own.

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal, StdoutLock, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use resnet::base::text;
use resnet::train::Flow;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Left by a run that was stopped: the shell's code for an interrupt.
pub(crate) const INTERRUPTED: u8 = 130;

/// Whether another process of the run speaks for this one.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Shows nothing from here on: another process of the run says the same.
pub(crate) fn be_silent() {
    SILENT.store(true, Ordering::Relaxed);
}

fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

/// Prints a line on standard error. Whoever closed it does not want to know; training goes on.
pub(crate) fn tell(line: &str) {
    if !is_silent() {
        tell_always(line);
    }
}

/// The same of what no other process says.
pub(crate) fn tell_always(line: &str) {
    let _ = writeln!(io::stderr(), "{}", text::line(line));
}

/// Prints what is wrong with the words that were typed, or the help that they ask for.
pub(crate) fn tell_usage(error: &clap::Error, again: impl Fn(Vec<String>) -> Option<clap::Error>) {
    // The message quotes words: with the same ones, escaped, it is the same message.
    let words: Vec<String> = words().map(|word| text::name(&word).to_string()).collect();
    let safe: Vec<String> = words.iter().map(|word| text::line(word).to_string()).collect();
    // Help arrives here as well; a closed pipe is not worth an error.
    let _ = match if safe == words { None } else { again(safe) } {
        Some(escaped) => escaped.print(),
        None => error.print(),
    };
}

/// Standard output, if this process speaks. What one `writeln!` writes is one line.
pub(crate) struct Out(Option<StdoutLock<'static>>);

/// Standard output, until the end of its life.
pub(crate) fn out() -> Out {
    Out((!is_silent()).then(|| io::stdout().lock()))
}

impl Out {
    /// What `writeln!` calls: a line for people.
    pub(crate) fn write_fmt(&mut self, line: fmt::Arguments<'_>) -> io::Result<()> {
        let text = line.to_string();
        let (line, end) = match text.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (text.as_str(), ""),
        };
        self.write(format_args!("{}{end}", text::line(line)))
    }

    /// A line of JSON, for programs, at once.
    pub(crate) fn json(&mut self, json: impl Display) -> io::Result<()> {
        self.write(format_args!("{}\n", ascii_controls(&json.to_string())))?;
        self.flush()
    }

    /// Bytes as they are: tables by RFC 4180, scripts, drawings.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        named(self.0.as_mut().map_or(Ok(()), |out| out.write_all(bytes)))
    }

    /// Writes what a line without an end has left in memory.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        named(self.0.as_mut().map_or(Ok(()), Write::flush))
    }

    fn write(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        named(self.0.as_mut().map_or(Ok(()), |out| out.write_fmt(text)))
    }
}

/// Says what could not be written; the kind stays.
fn named(result: io::Result<()>) -> io::Result<()> {
    result.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
    })
}

/// JSON escapes control characters up to space; a terminal knows more of them.
fn ascii_controls(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}' => text += &format!("\\u{:04x}", u32::from(c)),
            _ => text.push(c),
        }
    }
    text
}

/// Whether people read standard output.
pub(crate) fn people_read_output() -> bool {
    io::stdout().is_terminal()
}

/// Whether people read standard error.
pub(crate) fn people_read_errors() -> bool {
    io::stderr().is_terminal()
}

/// A progress bar on standard error.
pub(crate) struct Bar(ProgressBar);

/// A bar on standard error if that is a terminal and this process speaks, hidden if not.
pub(crate) fn bar(len: u64, unit: &str) -> Bar {
    let target = if people_read_errors() && !is_silent() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style =
        ProgressStyle::with_template(&format!("{{pos}}/{{len}} {unit} {{wide_bar}} {{msg}}"));
    Bar(ProgressBar::with_draw_target(Some(len), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
}

impl Bar {
    pub(crate) fn set_position(&self, done: u64) {
        self.0.set_position(done);
    }

    pub(crate) fn set_length(&self, total: u64) {
        self.0.set_length(total);
    }

    /// What stands behind the bar.
    pub(crate) fn set_message(&self, message: &str) {
        self.0.set_message(text::line(message).to_string());
    }

    /// A line above the bar.
    pub(crate) fn tell(&self, line: &str) {
        self.0.println(text::line(line).to_string());
    }

    pub(crate) fn finish_and_clear(&self) {
        self.0.finish_and_clear();
    }
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

/// What was typed, as a shell would take it.
pub(crate) fn command_line() -> String {
    command_without("")
}

/// The words that the program was started with. Nothing else sees the signatures in addresses of
/// data, so that nothing can show or keep them.
pub(crate) fn words() -> impl Iterator<Item = OsString> {
    std::env::args_os().map(|word| match word.to_str() {
        Some(text) => resnet::data::without_secrets(text).into_owned().into(),
        None => word,
    })
}

/// The same without a flag that changes nothing but what is printed.
pub(crate) fn command_without(flag: &str) -> String {
    let words = words().skip(1).filter(|word| word != flag || flag.is_empty());
    let words = words.map(|word| quoted(text::name(&word)));
    std::iter::once("resnet".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word of a command, quoted where a shell would take it for something else.
pub(crate) fn quoted(word: impl Display) -> String {
    let word = word.to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
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

/// A count of bytes in KiB, MiB or GiB.
pub(crate) fn scaled_bytes(bytes: u64) -> String {
    let x = bytes as f64;
    match bytes {
        0..0x10_0000 => format!("{:.1} KiB", x / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", x / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", x / f64::from(1 << 30)),
    }
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
    use super::{ascii_controls, duration, grouped, quoted, scaled, scaled_bytes};

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(269_722), "269,722");
        assert_eq!(grouped(25_557_032), "25,557,032");
        assert_eq!(scaled(40_551_000), "40.55 M");
        assert_eq!(scaled(4_089_184_256), "4.089 G");
        assert_eq!(scaled_bytes(512), "0.5 KiB");
        assert_eq!(scaled_bytes(98 << 20), "98.0 MiB");
        assert_eq!(scaled_bytes(3 << 29), "1.5 GiB");
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        assert_eq!(duration(41.6), "42 s");
        assert_eq!(duration(200.0), "3 min 20 s");
        assert_eq!(duration(18_420.0), "5 h 07 min");
    }

    #[test]
    fn words_that_a_shell_would_split_are_quoted() {
        for plain in ["runs/resnet20-builtin", "folder:/mnt/photos", "lr=0.1,0.2"] {
            assert_eq!(quoted(plain), plain);
        }
        for (word, expected) in [
            ("my run", "'my run'"),
            ("it's", r"'it'\''s'"),
            ("~/run", "'~/run'"),
            ("a;b", "'a;b'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn json_has_no_control_characters() {
        let json = serde_json::json!("\u{1b}[2J \n \u{9b}2J \u{7f} é").to_string();
        let text = ascii_controls(&json);
        assert!(!text.chars().any(char::is_control), "{text}");
        let back: String = serde_json::from_str(&text).unwrap();
        assert_eq!(back, "\u{1b}[2J \n \u{9b}2J \u{7f} é");
    }
}
