//! Untrusted bytes to named arrays and back.
#![forbid(unsafe_code)]
