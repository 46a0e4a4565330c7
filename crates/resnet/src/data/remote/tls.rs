//! Encryption of connections.

use std::sync::Arc;

use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// Encryption in Rust and assembly, so that building needs no compiler for C.
///
/// # Errors
/// Why there is none: the CPU lacks instructions, or `SSL_CERT_FILE` is of no use.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) fn config() -> Result<TlsConfig, String> {
    #[cfg(target_arch = "x86_64")]
    let able = std::is_x86_feature_detected!("aes")
        && std::is_x86_feature_detected!("pclmulqdq")
        && std::is_x86_feature_detected!("bmi1")
        && std::is_x86_feature_detected!("adx")
        && std::is_x86_feature_detected!("avx2");
    #[cfg(target_arch = "aarch64")]
    let able = std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
        && std::arch::is_aarch64_feature_detected!("sha2");
    if !able {
        return Err("this CPU lacks the instructions that encryption needs here".into());
    }
    let provider = Arc::new(rustls_graviola::default_provider());
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    // As curl and OpenSSL have it: who else is trusted, such as a proxy that looks inside.
    if let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        let bytes = std::fs::read(&path).map_err(|error| format!("SSL_CERT_FILE: {error}"))?;
        let trusted: Vec<_> = parse_pem(&bytes)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if trusted.is_empty() {
            return Err("the file of SSL_CERT_FILE holds no certificate".into());
        }
        tls = tls.root_certs(RootCerts::Specific(Arc::new(trusted)));
    }
    Ok(tls.build())
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn config() -> Result<TlsConfig, String> {
    Err("there is no encryption for this kind of CPU here".into())
}
