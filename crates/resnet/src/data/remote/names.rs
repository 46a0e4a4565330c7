//! Names of objects in a bucket, from the XML that servers list them in.

/// What a page of a listing holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Keys.
    pub(super) objects: Vec<String>,
    /// Prefixes of further keys, each with the `/` that ends it.
    pub(super) folders: Vec<String>,
    /// What asks for the next page.
    pub(super) next: Option<String>,
}

/// Reads a page of S3's ListObjectsV2 or of Azure's List Blobs; nothing if it is neither.
pub(super) fn page(xml: &str) -> Option<Page> {
    let mut page = Page::default();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    let (mut known, mut encoded) = (false, false);
    let mut keys: Vec<(bool, String)> = Vec::new();
    while let Some(begin) = rest.find('<') {
        let text = &rest[..begin];
        let end = begin + rest[begin..].find('>')?;
        let tag = &rest[begin + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with(['?', '!']) {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            let around = open.len().checked_sub(2).map(|at| open[at]).unwrap_or_default();
            let text = || unescaped(text);
            match (around, name.trim()) {
                ("Contents", "Key") | ("Blob", "Name") => keys.push((true, text())),
                ("CommonPrefixes", "Prefix") | ("BlobPrefix", "Name") => keys.push((false, text())),
                (_, "NextContinuationToken" | "NextMarker") => {
                    page.next = Some(text()).filter(|next| !next.is_empty());
                }
                (_, "EncodingType") => encoded = text() == "url",
                _ => {}
            }
            (open.pop()? == name.trim()).then_some(())?;
        } else if !tag.ends_with('/') {
            let name = tag.split_ascii_whitespace().next()?;
            known |= matches!(name, "ListBucketResult" | "EnumerationResults");
            open.push(name);
        }
    }
    for (is_object, key) in keys {
        let key = if encoded { decoded(&key) } else { key };
        match is_object {
            true => page.objects.push(key),
            false => page.folders.push(key),
        }
    }
    (known && open.is_empty()).then_some(page)
}

/// What a server says went wrong: the `Code` of its XML.
pub(super) fn code(xml: &str) -> Option<String> {
    let begin = xml.find("<Code>")? + "<Code>".len();
    let code = xml[begin..].split('<').next()?;
    let plain =
        !code.is_empty() && code.len() < 64 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| code.to_string())
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find(';') else { break };
        let entity = &rest[at + 1..at + end];
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok();
        let found = match entity {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => match entity.strip_prefix('#') {
                Some(hex) if hex.starts_with(['x', 'X']) => number(&hex[1..], 16),
                Some(decimal) => number(decimal, 10),
                None => None,
            }
            .and_then(char::from_u32),
        };
        out.extend(found);
        rest = &rest[at + end + 1..];
    }
    out + rest
}

/// A text with `%XX` and `+` replaced.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let hex = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_of_both_kinds_are_read() {
        let s3 = "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"x\"><Name>b</Name>\
            <Prefix>p/</Prefix><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
            <Contents><Key>p/a%20b+c.tar</Key><ETag>&quot;1&quot;</ETag><Owner/></Contents>\
            <Contents><Key>p/x&amp;.tar</Key></Contents>\
            <CommonPrefixes><Prefix>p/train/</Prefix></CommonPrefixes>\
            <NextContinuationToken>t=</NextContinuationToken></ListBucketResult>";
        let expected = Page {
            objects: vec!["p/a b c.tar".into(), "p/x&.tar".into()],
            folders: vec!["p/train/".into()],
            next: Some("t=".into()),
        };
        assert_eq!(page(s3), Some(expected));
        let azure = "\u{feff}<?xml version=\"1.0\"?><EnumerationResults ServiceEndpoint=\"e\">\
            <Blobs><Blob><Name>a+%41.tar</Name><Properties><Etag>0</Etag></Properties></Blob>\
            <BlobPrefix><Name>val/</Name></BlobPrefix></Blobs><NextMarker /></EnumerationResults>";
        let expected =
            Page { objects: vec!["a+%41.tar".into()], folders: vec!["val/".into()], next: None };
        assert_eq!(page(azure), Some(expected));
    }

    #[test]
    fn other_texts_are_no_listing() {
        for text in
            ["", "{}", "<html><body></body></html>", "<ListBucketResult><Contents>", "<", "</a>"]
        {
            assert_eq!(page(text), None, "{text}");
        }
        let cut = "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>";
        assert!((0..cut.len()).all(|length| page(&cut[..length]).is_none()));
        assert_eq!(code("<Error><Code>NoSuchKey</Code></Error>").as_deref(), Some("NoSuchKey"));
        assert_eq!(code("<Code>a secret</Code>"), None);
        assert_eq!(unescaped("&#233;&#xe9;&unknown;&"), "\u{e9}\u{e9}&");
    }
}
