//! Signatures of requests to buckets: AWS Signature Version 4, in the headers, so that no address
//! holds one.

use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

/// Who asks.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    /// Of keys that end by themselves.
    pub(super) session: Option<String>,
}

/// What is signed: a GET without a body.
pub(super) struct Asked<'a> {
    pub(super) host: &'a str,
    /// Encoded as it is sent, from the first `/` on.
    pub(super) path: &'a str,
    /// Encoded as it is sent, sorted by name.
    pub(super) query: &'a str,
    pub(super) region: &'a str,
    /// Seconds since 1970.
    pub(super) now: u64,
}

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The headers that prove who asks; `more` are signed too, and sorted with the others.
pub(super) fn headers(
    keys: &Keys,
    asked: &Asked,
    more: &[(&str, &str)],
) -> Vec<(&'static str, String)> {
    let time = time(asked.now);
    let day = &time[..8];
    let mut signed: Vec<(&str, &str)> =
        vec![("host", asked.host), ("x-amz-content-sha256", EMPTY), ("x-amz-date", &time)];
    signed.extend(keys.session.as_deref().map(|token| ("x-amz-security-token", token)));
    signed.extend(more);
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let request = format!("GET\n{}\n{}\n{lines}\n{names}\n{EMPTY}", asked.path, asked.query);
    let scope = format!("{day}/{}/s3/aws4_request", asked.region);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let key = [day, asked.region, "s3", "aws4_request"]
        .iter()
        .fold(format!("AWS4{}", keys.secret).into_bytes(), |key, part| {
            hmac(&key, part.as_bytes()).to_vec()
        });
    let signature = hex(&hmac(&key, text.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        keys.id
    );
    let mut headers = vec![
        ("authorization", authorization),
        ("x-amz-content-sha256", EMPTY.to_string()),
        ("x-amz-date", time),
    ];
    headers.extend(keys.session.clone().map(|token| ("x-amz-security-token", token)));
    headers
}

/// HMAC of RFC 2104 with SHA-256.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    match key.len() > block.len() {
        true => block[..32].copy_from_slice(&Sha256::digest(key)),
        false => block[..key.len()].copy_from_slice(key),
    }
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20130524T000000Z`.
fn time(seconds: u64) -> String {
    // Days are counted from a first of March, so that a leap day ends a year.
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{:02}Z", second % 60)
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session: None,
        }
    }

    /// The examples of Amazon's documentation, "Authenticating Requests: Using the Authorization
    /// Header (AWS Signature Version 4)".
    #[test]
    fn the_documented_examples_are_signed_alike() {
        let signature = |path: &str, query: &str, more: &[(&str, &str)]| {
            let host = "examplebucket.s3.amazonaws.com";
            let asked = Asked { host, path, query, region: "us-east-1", now: 1_369_353_600 };
            let headers = headers(&keys(), &asked, more);
            headers[0].1.rsplit_once('=').unwrap().1.to_string()
        };
        assert_eq!(
            signature("/test.txt", "", &[("range", "bytes=0-9")]),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(
            signature("/", "max-keys=2&prefix=J", &[]),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn a_session_is_signed_and_sent() {
        let asked = Asked { host: "h", path: "/", query: "", region: "auto", now: 0 };
        let with = Keys { session: Some("token".into()), ..keys() };
        let headers = headers(&with, &asked, &[]);
        assert!(headers[0].1.contains("x-amz-date;x-amz-security-token, "), "{}", headers[0].1);
        assert_eq!(headers[3], ("x-amz-security-token", "token".to_string()));
    }

    #[test]
    fn times_are_those_of_calendars() {
        assert_eq!(time(0), "19700101T000000Z");
        assert_eq!(time(951_782_399), "20000228T235959Z");
        assert_eq!(time(951_782_400), "20000229T000000Z");
        assert_eq!(time(4_102_444_799), "20991231T235959Z");
    }

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        assert_eq!(
            hex(&hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(
            hex(&hmac(&[0xaa; 131], text)),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }
}
