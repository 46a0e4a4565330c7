//! Texts that MPIs write.

use std::ffi::{c_char, c_int};

/// Bytes that hold any text of any MPI.
const TEXT: usize = 16384;

/// A text that a call writes.
pub(crate) fn written(call: impl FnOnce(*mut c_char, *mut c_int) -> c_int) -> Option<String> {
    let mut bytes = vec![0u8; TEXT];
    let mut len = 0;
    if call(bytes.as_mut_ptr().cast(), &mut len) != 0 {
        return None;
    }
    let len = usize::try_from(len).unwrap_or(0).min(TEXT);
    let text = bytes[..len].split(|&byte| byte == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(text).trim().to_string())
}

/// What a function writes that takes memory for a text and for its length.
///
/// # Safety
/// The function is one of MPI's, whose texts are never longer than 8192 bytes.
pub(crate) unsafe fn text(
    function: unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int,
) -> Option<String> {
    // SAFETY: memory for the longest text and for a number.
    written(|buffer, len| unsafe { function(buffer, len) })
}

/// `Open MPI 4.1.4` of what a library says of itself.
pub(crate) fn short(version: &str) -> String {
    let line = version.lines().next().unwrap_or_default();
    let line = line.split(',').next().unwrap_or_default();
    let words = line.split_whitespace().filter(|word| *word != "Version:");
    let plain = |word: &str| match word.strip_prefix('v') {
        Some(number) if number.starts_with(|c: char| c.is_ascii_digit()) => number.to_string(),
        _ => word.to_string(),
    };
    words.take_while(|word| *word != "for").map(plain).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn versions_are_cut_short() {
        let debian = "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4";
        assert_eq!(short(debian), "Open MPI 4.1.4");
        assert_eq!(short("MPICH Version:      4.0.2\nMPICH Release date: x"), "MPICH 4.0.2");
        let intel = "Intel(R) MPI Library 2021.18 for Linux* OS";
        assert_eq!(short(intel), "Intel(R) MPI Library 2021.18");
    }
}
