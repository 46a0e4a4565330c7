//! Who may call: tokens of a file, one a line.

use hyper::header::{AUTHORIZATION, HeaderMap};

/// The tokens that are known.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<String>);

/// Fewest characters of a token.
const SHORTEST: usize = 16;

impl Tokens {
    /// The tokens in the text of a file: one a line; empty lines and those that begin with `#` are
    /// none.
    ///
    /// # Errors
    /// There is none, or one is too short or not of printable ASCII.
    pub fn parse(text: &str) -> Result<Tokens, String> {
        let lines = text.lines().map(str::trim);
        let tokens: Vec<String> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(String::from)
            .collect();
        for (i, token) in tokens.iter().enumerate() {
            if token.len() < SHORTEST || !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(format!(
                    "token {} has {} characters; expected at least {SHORTEST}, without spaces, \
                     such as `openssl rand -hex 16` makes",
                    i + 1,
                    token.len()
                ));
            }
        }
        match tokens.is_empty() {
            true => Err("there is no token in it; expected one a line".into()),
            false => Ok(Tokens(tokens)),
        }
    }

    /// The number of the caller's token; none if it has none that is known.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<usize> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let given = bearer.or_else(|| headers.get("x-api-key")?.to_str().ok())?;
        // Every token is looked at to its end, so that the time tells nothing of them.
        let mut found = None;
        for (i, token) in self.0.iter().enumerate() {
            if same(token.as_bytes(), given.as_bytes()) {
                found = Some(i);
            }
        }
        found
    }
}

fn same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |bits, (a, b)| bits | (a ^ b));
    a.len() == b.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn tokens_are_known_whole() {
        let tokens = Tokens::parse("# ours\n\n0123456789abcdef\nfedcba9876543210 \n").unwrap();
        let cases = [
            ("authorization", "Bearer 0123456789abcdef", Some(0)),
            ("authorization", "bearer  fedcba9876543210", Some(1)),
            ("x-api-key", "fedcba9876543210", Some(1)),
            ("authorization", "Bearer 0123456789abcde", None),
            ("authorization", "Bearer 0123456789abcdef0", None),
            ("authorization", "Basic 0123456789abcdef", None),
            ("authorization", "Bearer", None),
            ("x-api-key", "", None),
        ];
        for (name, value, expected) in cases {
            assert_eq!(tokens.find(&with(name, value)), expected, "{name}: {value}");
        }
        assert_eq!(tokens.find(&HeaderMap::new()), None);
    }

    #[test]
    fn files_of_no_use_are_refused() {
        for text in ["", "# none\n", "short", "0123456789 abcdefgh", "0123456789abcdefgü"] {
            assert!(Tokens::parse(text).is_err(), "{text:?}");
        }
    }
}
