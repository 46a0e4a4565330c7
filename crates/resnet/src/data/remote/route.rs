//! From an address to the requests that read it: which server, which signature.

use std::io;

use super::address;
use super::sign::{self, Asked, Keys};

/// Gives the value of a variable of the environment.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Behind which interface an object lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Any server that answers ranges.
    Web,
    /// Amazon's S3, and what is asked like it.
    S3,
    Google,
    Azure,
}

/// How an object, or a folder of them, is asked for.
pub(super) struct Route {
    pub(super) service: Service,
    /// `https://HOST`, perhaps with a port.
    origin: String,
    /// What comes before a bucket's keys, encoded: empty, or `/BUCKET`.
    bucket: String,
    /// The key, or the path at a server; not encoded.
    pub(super) key: String,
    /// What follows `?`; a secret.
    query: Option<String>,
    keys: Option<(Keys, String)>,
    bearer: Option<String>,
}

/// A request that may be sent.
pub(super) struct Request {
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.into())
}

impl Route {
    /// The route of an address.
    ///
    /// # Errors
    /// It lacks a part.
    pub(super) fn of(address: &str, environment: Environment) -> io::Result<Route> {
        let (scheme, rest) = address.split_once("://").unwrap_or_default();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err(wrong(format!("the address lacks what follows {scheme}://")));
        }
        match scheme {
            "s3" => s3(host, path, environment),
            "gs" => Ok(google(host, path, environment)),
            "az" => azure(host, path, environment),
            _ => Ok(web(scheme, host, path, address, environment)),
        }
    }

    /// Whether requests prove who asks.
    pub(super) fn is_signed(&self) -> bool {
        self.keys.is_some() || self.query.is_some() || self.bearer.is_some()
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.origin.starts_with("https:")
    }

    /// The server, for people.
    pub(super) fn host(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, host)| host)
    }

    /// The request for the object.
    pub(super) fn object(&self, now: u64) -> Request {
        let kept = if self.service == Service::Web { "/%!$&'()*+,;=:@~" } else { "/" };
        let path = format!("{}/{}", self.bucket, encoded(&self.key, kept));
        self.request(&path, "", now)
    }

    /// The request for the names below the key, which ends a folder: those after `after`.
    pub(super) fn listing(&self, after: Option<&str>, now: u64) -> Request {
        let prefix = match self.key.trim_end_matches('/') {
            "" => String::new(),
            key => format!("{key}/"),
        };
        let mut query: Vec<(&str, &str)> = vec![("delimiter", "/"), ("prefix", &prefix)];
        let path = match self.service {
            Service::Azure => {
                query.extend([("comp", "list"), ("restype", "container")]);
                query.extend(after.map(|after| ("marker", after)));
                self.bucket.clone()
            }
            _ => {
                query.extend([("encoding-type", "url"), ("list-type", "2")]);
                query.extend(after.map(|after| ("continuation-token", after)));
                format!("{}/", self.bucket)
            }
        };
        query.sort_unstable();
        let pair = |(name, value): &(&str, &str)| format!("{name}={}", encoded(value, ""));
        let query: Vec<String> = query.iter().map(pair).collect();
        self.request(&path, &query.join("&"), now)
    }

    fn request(&self, path: &str, query: &str, now: u64) -> Request {
        let mut headers = Vec::new();
        if let Some((keys, region)) = &self.keys {
            let asked = Asked { host: self.host(), path, query, region, now };
            headers = sign::headers(keys, &asked, &[]);
        }
        if self.service == Service::Azure {
            headers.push(("x-ms-version", "2021-12-02".to_string()));
        }
        headers
            .extend(self.bearer.iter().map(|token| ("authorization", format!("Bearer {token}"))));
        let mut url = format!("{}{path}", self.origin);
        let mut before = '?';
        for part in [query, self.query.as_deref().unwrap_or_default()] {
            if !part.is_empty() {
                url.push(before);
                url.push_str(part);
                before = '&';
            }
        }
        Request { url, headers }
    }

    /// What to try where the server answered so.
    pub(super) fn advice(&self, status: u16, region: Option<&str>) -> String {
        if let Some(region) = region
            && self.service == Service::S3
            && self.keys.as_ref().is_none_or(|(_, own)| own != region)
        {
            return format!("the bucket is in the region {region}: set AWS_REGION={region}");
        }
        let (may_not, set) = match self.service {
            Service::S3 => {
                ("the keys of AWS_ACCESS_KEY_ID", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
            }
            Service::Google => {
                ("the keys of GS_ACCESS_KEY_ID", "set GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY")
            }
            Service::Azure => ("AZURE_STORAGE_SAS_TOKEN", "set AZURE_STORAGE_SAS_TOKEN"),
            Service::Web if self.host() == HUGGING_FACE => ("HF_TOKEN", "set HF_TOKEN"),
            Service::Web => (
                "what follows `?` in the address",
                "give the address with its signature, the part that follows `?`, or set \
                 RESNET_DATA_QUERY to that part, which is never kept",
            ),
        };
        match (status, self.is_signed()) {
            (401 | 403, true) => {
                format!("{may_not} may have ended or not allow it, or there is no such object")
            }
            (401 | 403, false) => format!("if it is not public, {set}"),
            (404 | 410, _) => "check the address".to_string(),
            (416, _) => "the object is empty, or the server answers no ranges".to_string(),
            _ => "check the address, and what the server expects".to_string(),
        }
    }
}

const HUGGING_FACE: &str = "huggingface.co";

fn web(scheme: &str, host: &str, path: &str, address: &str, environment: Environment) -> Route {
    let bearer = environment("HF_TOKEN").filter(|_| host == HUGGING_FACE && scheme == "https");
    let query = address::query_of(address).or_else(|| environment("RESNET_DATA_QUERY"));
    Route {
        service: Service::Web,
        origin: format!("{scheme}://{host}"),
        bucket: String::new(),
        key: path.to_string(),
        query: query.map(|query| query.trim_start_matches('?').to_string()),
        keys: None,
        bearer,
    }
}

fn s3(bucket: &str, key: &str, environment: Environment) -> io::Result<Route> {
    let region = environment("AWS_REGION").or_else(|| environment("AWS_DEFAULT_REGION"));
    let region = region.unwrap_or_else(|| "us-east-1".to_string());
    let endpoint = environment("AWS_ENDPOINT_URL_S3").or_else(|| environment("AWS_ENDPOINT_URL"));
    let of_bucket = format!("/{}", encoded(bucket, ""));
    let (origin, before) = match endpoint {
        Some(endpoint) => {
            let endpoint = endpoint.trim_end_matches('/').to_string();
            let known = endpoint.starts_with("http://") || endpoint.starts_with("https://");
            if !known || endpoint.contains(['?', '#', '@']) {
                return Err(wrong("AWS_ENDPOINT_URL is no address, as https://HOST:PORT is"));
            }
            let host = endpoint.find("://").map_or(0, |at| at + 3);
            match endpoint[host..].find('/') {
                Some(at) => {
                    let (origin, path) = endpoint.split_at(host + at);
                    (origin.to_string(), format!("{path}{of_bucket}"))
                }
                None => (endpoint, of_bucket),
            }
        }
        // A dot in a bucket's name would not fit the server's certificate.
        None => {
            let end = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            match bucket.contains('.') {
                true => (format!("https://s3.{region}.{end}"), of_bucket),
                false => (format!("https://{bucket}.s3.{region}.{end}"), String::new()),
            }
        }
    };
    let keys = keys("AWS", environment)?.map(|keys| (keys, region));
    let key = key.to_string();
    Ok(Route { service: Service::S3, origin, bucket: before, key, query: None, keys, bearer: None })
}

/// The keys of the variables that begin so, if there are any.
fn keys(of: &str, environment: Environment) -> io::Result<Option<Keys>> {
    let id = environment(&format!("{of}_ACCESS_KEY_ID"));
    let secret = environment(&format!("{of}_SECRET_ACCESS_KEY"));
    let session = environment(&format!("{of}_SESSION_TOKEN"));
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Some(Keys { id, secret, session })),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(wrong(format!("{of}_ACCESS_KEY_ID is set and {of}_SECRET_ACCESS_KEY is not")))
        }
        (None, Some(_)) => {
            Err(wrong(format!("{of}_SECRET_ACCESS_KEY is set and {of}_ACCESS_KEY_ID is not")))
        }
    }
}

fn google(bucket: &str, key: &str, environment: Environment) -> Route {
    let keys = keys("GS", environment).ok().flatten();
    Route {
        service: Service::Google,
        origin: "https://storage.googleapis.com".to_string(),
        bucket: format!("/{}", encoded(bucket, "")),
        key: key.to_string(),
        query: None,
        keys: keys.map(|keys| (keys, "auto".to_string())),
        bearer: None,
    }
}

fn azure(account: &str, path: &str, environment: Environment) -> io::Result<Route> {
    let (container, key) = path.split_once('/').unwrap_or((path, ""));
    if container.is_empty() {
        return Err(wrong("the address lacks a container: az://ACCOUNT/CONTAINER/..."));
    }
    let query = environment("AZURE_STORAGE_SAS_TOKEN");
    Ok(Route {
        service: Service::Azure,
        origin: format!("https://{account}.blob.core.windows.net"),
        bucket: format!("/{}", encoded(container, "$")),
        key: key.to_string(),
        query: query.map(|query| query.trim_start_matches('?').to_string()),
        keys: None,
        bearer: None,
    })
}

/// A text in an address: letters, digits, `-._~` and the `kept` stay, other bytes become `%XX`.
fn encoded(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let stays = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        match stays || kept.as_bytes().contains(&byte) {
            true => out.push(byte.into()),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(address: &str, variables: &[(&str, &str)]) -> Route {
        let of = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
        };
        Route::of(address, &of).unwrap()
    }

    fn url(address: &str, variables: &[(&str, &str)]) -> String {
        route(address, variables).object(0).url
    }

    #[test]
    fn every_service_is_asked_where_it_is() {
        assert_eq!(
            url("s3://b/a b/x+1.tar", &[]),
            "https://b.s3.us-east-1.amazonaws.com/a%20b/x%2B1.tar"
        );
        assert_eq!(
            url("s3://b.c/x", &[("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "no")]),
            "https://s3.eu-west-1.amazonaws.com/b.c/x"
        );
        assert_eq!(
            url("s3://b/x", &[("AWS_DEFAULT_REGION", "cn-north-1")]),
            "https://b.s3.cn-north-1.amazonaws.com.cn/x"
        );
        let endpoint = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9000/")];
        assert_eq!(url("s3://b/x", &endpoint), "http://127.0.0.1:9000/b/x");
        let endpoint = [("AWS_ENDPOINT_URL_S3", "https://h/minio"), endpoint[0]];
        assert_eq!(url("s3://b/x", &endpoint), "https://h/minio/b/x");
        assert_eq!(url("gs://b/p/x", &[]), "https://storage.googleapis.com/b/p/x");
        assert_eq!(
            url("az://acc/con/p/x.tar", &[("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=a%3D")]),
            "https://acc.blob.core.windows.net/con/p/x.tar?sv=1&sig=a%3D"
        );
        assert_eq!(
            url("https://host:8/a%20b/\u{e9} c.tar", &[]),
            "https://host:8/a%20b/%C3%A9%20c.tar"
        );
        assert_eq!(url("https://host/x", &[("RESNET_DATA_QUERY", "?q=1")]), "https://host/x?q=1");
        let hub = route("https://huggingface.co/x", &[("HF_TOKEN", "t")]).object(0);
        assert_eq!(hub.headers, [("authorization", "Bearer t".to_string())]);
        assert!(route("https://elsewhere/x", &[("HF_TOKEN", "t")]).object(0).headers.is_empty());
    }

    #[test]
    fn folders_are_listed() {
        let keys = [("AWS_ACCESS_KEY_ID", "i"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let asked = route("s3://b/p/q", &keys).listing(Some("a="), 0);
        let query = "continuation-token=a%3D&delimiter=%2F&encoding-type=url&list-type=2";
        let expected = format!("https://b.s3.us-east-1.amazonaws.com/?{query}&prefix=p%2Fq%2F");
        assert_eq!(asked.url, expected);
        assert!(asked.headers[0].1.starts_with("AWS4-HMAC-SHA256 Credential=i/19700101/us-east-1"));
        let asked = route("az://a/c", &[("AZURE_STORAGE_SAS_TOKEN", "sig=1")]).listing(None, 0);
        assert_eq!(
            asked.url,
            "https://a.blob.core.windows.net/c?comp=list&delimiter=%2F&prefix=\
             &restype=container&sig=1"
        );
    }

    #[test]
    fn what_is_missing_is_told() {
        let fails = |address: &str, variables: &[(&str, &str)]| {
            let of = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, v)| v.to_string())
            };
            Route::of(address, &of).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(fails("az://account", &[]).contains("lacks a container"));
        assert!(fails("s3://", &[]).contains("lacks what follows s3://"));
        let half = fails("s3://b/x", &[("AWS_ACCESS_KEY_ID", "hidden")]);
        assert!(
            half.contains("AWS_SECRET_ACCESS_KEY is not") && !half.contains("hidden"),
            "{half}"
        );
        assert!(fails("s3://b/x", &[("AWS_ENDPOINT_URL", "here")]).contains("is no address"));
        assert!(route("s3://b/x", &[]).advice(403, None).contains("set AWS_ACCESS_KEY_ID and"));
        let moved = route("s3://b/x", &[]).advice(301, Some("eu-central-1"));
        assert!(moved.contains("AWS_REGION=eu-central-1"), "{moved}");
    }
}
