use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};

/// The version of what is stored. A release that writes a new one comes after a release that reads it.
const VERSION: u8 = 1;

/// The answer to a request as it is kept and sent again: status, headers, body and trailers.
///
/// A handler makes one itself only to complete its lease in its own transaction
/// ([`Execution::complete_in`](crate::Execution::complete_in)).
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// `None` when it was too long to keep: the effect is remembered, the words are not.
    pub(crate) body: Option<Bytes>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    /// An answer without a body.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Response::builder()
            .status(status)
            .body(Bytes::new())
            .map_or_else(
                |_| unreachable!("there is nothing in it to refuse"),
                Self::from,
            )
    }

    /// `value` as JSON.
    ///
    /// # Errors
    ///
    /// When it does not serialize: a map whose keys are no strings, for instance.
    pub fn json<T: Serialize + ?Sized>(
        status: StatusCode,
        value: &T,
    ) -> Result<Self, serde_json::Error> {
        let mut answer = Self::new(status);
        answer.body = Some(serde_json::to_vec(value)?.into());
        let json = HeaderValue::from_static("application/json");
        answer.headers.insert(CONTENT_TYPE, json);
        Ok(answer)
    }

    /// The same answer with one header more.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        const OVERHEAD: usize = 512;
        let headers = |map: &HeaderMap| -> usize {
            map.iter()
                .map(|(name, value)| name.as_str().len() + value.len() + 64)
                .sum()
        };
        OVERHEAD
            + headers(&self.headers)
            + self.trailers.as_ref().map_or(0, headers)
            + self.body.as_ref().map_or(0, Bytes::len)
    }

    /// What is stored: a line of JSON with everything but the body, and the body as it is. A person
    /// who has to find out what was answered can read it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let head = Head {
            version: VERSION,
            status: self.status.as_u16(),
            headers: fields(&self.headers),
            trailers: self.trailers.as_ref().map(fields),
            omitted: self.body.is_none(),
        };
        let mut bytes = serde_json::to_vec(&head).expect("strings and numbers serialize");
        bytes.push(b'\n');
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    pub(crate) fn decode(stored: &Bytes) -> Result<Self, DecodeError> {
        let end = stored.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or(DecodeError::Head)?;
        let head: serde_json::Result<Head<'_>> = serde_json::from_slice(&stored[..end]);
        // One of another version may look different altogether.
        let version = match &head {
            Ok(head) => head.version,
            Err(_) => serde_json::from_slice::<Version>(&stored[..end])?.version,
        };
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let head = head?;
        Ok(Self {
            status: StatusCode::from_u16(head.status).map_err(|_| DecodeError::Head)?,
            headers: header_map(head.headers)?,
            body: (!head.omitted).then(|| stored.slice(end + 1..)),
            trailers: head.trailers.map(header_map).transpose()?,
        })
    }
}

impl fmt::Debug for Answer {
    /// Its status only: what was answered is for the client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.status)
    }
}

impl From<Response<Bytes>> for Answer {
    fn from(response: Response<Bytes>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body: Some(body),
            trailers: None,
        }
    }
}

impl From<Answer> for Response<Bytes> {
    fn from(answer: Answer) -> Self {
        let mut response = Self::new(answer.body.unwrap_or_default());
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }
}

/// Why a stored answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it is no stored answer")]
    Head,
    #[error("it is of version {0}, written by a later release")]
    Version(u8),
    /// Not with serde's words, which may quote what is stored.
    #[error("its head does not parse, at column {0}")]
    Json(usize),
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.column())
    }
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "v")]
    version: u8,
}

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    #[serde(rename = "v")]
    version: u8,
    status: u16,
    #[serde(borrow)]
    headers: Fields<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trailers: Option<Fields<'a>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    omitted: bool,
}

type Fields<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Field values are bytes, and those beyond ASCII are rare: each byte becomes the character with
/// its number (ISO 8859-1, as RFC 9110 section 5.5 has it for old fields).
fn fields(map: &HeaderMap) -> Fields<'_> {
    let field = |(name, value): (&'_ HeaderName, &'_ HeaderValue)| {
        let text = value.as_bytes().iter().map(|byte| char::from(*byte));
        (
            Cow::Owned(name.as_str().to_owned()),
            Cow::Owned(text.collect()),
        )
    };
    map.iter().map(field).collect()
}

fn header_map(fields: Fields<'_>) -> Result<HeaderMap, DecodeError> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, text) in fields {
        let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
        let value = bytes
            .ok()
            .and_then(|bytes| HeaderValue::try_from(bytes).ok());
        let name = HeaderName::try_from(&*name).map_err(|_| DecodeError::Head)?;
        map.append(name, value.ok_or(DecodeError::Head)?);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_LANGUAGE, LOCATION};

    use super::*;

    fn answer() -> Answer {
        let mut answer = Answer::json(StatusCode::CREATED, &[1, 2])
            .expect("numbers serialize")
            .with_header(LOCATION, HeaderValue::from_static("/v1/orders/7"))
            .with_header(
                CONTENT_LANGUAGE,
                HeaderValue::from_bytes(b"\xe9\"\\").expect("is a field value"),
            );
        answer.trailers = Some(HeaderMap::from_iter([(
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]));
        answer
    }

    /// These bytes are in databases: a change of the format needs another version.
    #[test]
    fn what_is_stored_stays_readable() {
        const STORED: &str = concat!(
            r#"{"v":1,"status":201,"headers":[["content-type","application/json"],"#,
            r#"["location","/v1/orders/7"],["content-language","é\"\\"]],"#,
            r#""trailers":[["grpc-status","0"]]}"#,
            "\n[1,2]"
        );
        assert_eq!(String::from_utf8(answer().encode()).as_deref(), Ok(STORED));
        let decoded = Answer::decode(&Bytes::from_static(STORED.as_bytes()));
        assert_eq!(decoded.expect("it is readable"), answer());
    }

    #[test]
    fn a_body_of_any_bytes_comes_back() {
        for body in [&b""[..], b"\n", b"\0\n\xff{}"] {
            let mut answer = Answer::new(StatusCode::OK);
            answer.body = Some(Bytes::copy_from_slice(body));
            let stored = Bytes::from(answer.encode());
            assert_eq!(Answer::decode(&stored).expect("it is readable"), answer);
        }
    }

    #[test]
    fn a_body_that_was_too_long_is_not_an_empty_one() {
        let mut answer = Answer::new(StatusCode::OK);
        answer.body = None;
        let stored = Bytes::from(answer.encode());
        assert_eq!(Answer::decode(&stored).expect("it is readable").body, None);
    }

    #[test]
    fn what_a_later_release_wrote_is_not_guessed_at() {
        let later = Bytes::from_static(b"{\"v\":2,\"what\":7}\nbody");
        assert!(matches!(
            Answer::decode(&later),
            Err(DecodeError::Version(2))
        ));
        for broken in ["", "{}", "{}\n", "{\"v\":1}\n", "\n", "\u{0}"] {
            assert!(Answer::decode(&Bytes::from(broken)).is_err(), "{broken:?}");
        }
    }
}
