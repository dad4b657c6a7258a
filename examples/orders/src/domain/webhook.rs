use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Uri;
use serde::Serialize;

use crate::domain::{DeliveryId, EndpointId, Timestamp};

/// Where a customer wants to be told what happened.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) url: EndpointUrl,
    pub(crate) created_at: Timestamp,
}

/// An `http` URL without a user, a password or a fragment.
#[derive(Clone, Serialize)]
#[serde(into = "String")]
pub(crate) struct EndpointUrl(Uri);

impl EndpointUrl {
    const MAX_BYTES: usize = 2_048;

    /// # Errors
    ///
    /// What is wrong with it, in words for the one who sent it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const MALFORMED: &str = "must be of the form http://host:port/path";
        if text.len() > Self::MAX_BYTES {
            return Err("must have at most 2048 bytes");
        }
        let uri: Uri = text.parse().map_err(|_| MALFORMED)?;
        let authority = uri.authority().ok_or(MALFORMED)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("must begin with http: this service has no TLS"),
            _ => return Err(MALFORMED),
        }
        // A port that is none is dropped by `Uri` without a word.
        let has_port = authority.as_str() != authority.host();
        if authority.as_str().contains('@')
            || authority.host().is_empty()
            || (has_port && authority.port_u16().is_none_or(|port| port == 0))
            || text.contains('#')
        {
            return Err(MALFORMED);
        }
        Ok(Self(uri))
    }

    pub(crate) const fn uri(&self) -> &Uri {
        &self.0
    }
}

impl From<EndpointUrl> for String {
    fn from(url: EndpointUrl) -> Self {
        url.0.to_string()
    }
}

impl fmt::Debug for EndpointUrl {
    /// Not the path, by which some receivers know their senders.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointUrl({:?})", self.0.host())
    }
}

/// What messages to an endpoint are signed with: `whsec_` and 24 to 64 bytes in base64
/// (Standard Webhooks 1.0, "Signature scheme").
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    const PREFIX: &str = "whsec_";

    /// A new one, which nobody can guess.
    pub(crate) fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{}{}", Self::PREFIX, STANDARD.encode(bytes))))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.strip_prefix(Self::PREFIX)?).ok()?;
        (24..=64)
            .contains(&bytes.len())
            .then(|| Self(text.to_owned()))
    }

    /// For the database, for the one answer that shows it, and for signing.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// One message to one endpoint.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Delivery {
    pub(crate) id: DeliveryId,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) created_at: Timestamp,
    pub(crate) delivered_at: Option<Timestamp>,
}

/// How far a delivery is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Progress {
    #[serde(flatten)]
    pub(crate) delivery: Delivery,
    pub(crate) status: Status,
    /// Of those since it was made or replayed.
    pub(crate) failed_attempts: u16,
    pub(crate) last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It is being delivered, or will be tried again.
    Pending,
    Delivered,
    /// It has failed for good, unless it is replayed.
    Dead,
}

/// What is sent, and with what it is signed.
pub(crate) struct Message {
    pub(crate) id: DeliveryId,
    pub(crate) url: EndpointUrl,
    pub(crate) payload: String,
    /// The newest first.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) is_delivered: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in [
            "http://example.com",
            "http://127.0.0.1:8080/hooks?of=shop",
            "http://[::1]:80/",
        ] {
            assert!(EndpointUrl::parse(good).is_ok(), "{good}");
        }
        let long = format!("http://h/{}", "x".repeat(2_048));
        for bad in [
            "",
            "/hooks",
            "example.com",
            "ftp://h/",
            "https://h/",
            "http://",
            "http:///x",
            "http://u:p@h/",
            "http://h:0/",
            "http://h:x/",
            "http://h:99999/",
            "http://h/#f",
            "http://h/ x",
            &long,
        ] {
            assert!(EndpointUrl::parse(bad).is_err(), "{bad}");
        }
        let shown = format!("{:?}", EndpointUrl::parse("http://h/s3cr3t").unwrap());
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }

    #[test]
    fn secrets() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (text, is_one) in [
            (of(23), false),
            (of(24), true),
            (of(64), true),
            (of(65), false),
            (of(32).replace("whsec_", ""), false),
            (of(32) + "!", false),
            ("whsec_".to_owned(), false),
        ] {
            assert_eq!(Secret::parse(&text).is_some(), is_one, "{text}");
        }
        let one = Secret::generate().unwrap();
        assert!(Secret::parse(one.reveal()).is_some());
        assert_ne!(one.reveal(), Secret::generate().unwrap().reveal());
        assert_eq!(format!("{one:?}"), "Secret(***)");
    }
}
