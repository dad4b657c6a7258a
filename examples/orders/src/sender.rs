//! Sends webhooks: signed messages over HTTP (Standard Webhooks 1.0).

use std::{error::Error, time::Duration};

use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use http_body_util::Full;
use hyper::body::Bytes;
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook, WebhookError,
};
use tokio::time::timeout;

use crate::{
    domain::{DeliveryId, Message, Secret, Timestamp},
    outgoing::{self, HttpClient},
};

/// How long a receiver may take to answer, connecting included. Shorter than workers that end give
/// their jobs.
const LIMIT: Duration = Duration::from_secs(5);

/// The longest wait that a receiver is granted.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// Cloning it is cheap, and shares the connections.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    client: HttpClient,
}

/// Why a receiver has not confirmed a message. None of these names the URL or what was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("no connection")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    #[error("no answer in {} s", LIMIT.as_secs())]
    Timeout,
    #[error("the connection broke")]
    Broken(#[source] hyper_util::client::legacy::Error),
    /// It wants no more messages.
    #[error("answered 410: the endpoint is gone")]
    Gone,
    #[error("answered {status}")]
    Refused {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    #[error("cannot be signed")]
    Unsigned(#[source] Box<dyn Error + Send + Sync>),
}

impl Sender {
    pub(crate) fn new() -> Self {
        Self {
            client: outgoing::client(),
        }
    }

    /// Sends it once. Only a 2xx says that it has arrived; a redirect is not followed.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, it may or may not have arrived.
    pub(crate) async fn send(&self, message: &Message, at: Timestamp) -> Result<(), SendError> {
        let request = request(message, at).map_err(SendError::Unsigned)?;
        let asked = timeout(LIMIT, self.client.request(request)).await;
        let response = asked.map_err(|_elapsed| SendError::Timeout)?;
        let response = response.map_err(|error| {
            if error.is_connect() {
                SendError::Unreachable(error)
            } else {
                SendError::Broken(error)
            }
        })?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(SendError::Gone),
            status => Err(SendError::Refused {
                status,
                retry_after: retry_after(response.headers().get(RETRY_AFTER)),
            }),
        }
    }
}

fn request(
    message: &Message,
    at: Timestamp,
) -> Result<Request<Full<Bytes>>, Box<dyn Error + Send + Sync>> {
    let id = webhook_id(message.id);
    let seconds = at.unix_micros().div_euclid(1_000_000);
    let signature = sign(&message.secrets, &id, seconds, &message.payload)?;
    let mut request = Request::new(Full::from(message.payload.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = message.url.uri().clone();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static("purlin-orders"));
    headers.insert(HEADER_WEBHOOK_ID, HeaderValue::try_from(id)?);
    headers.insert(HEADER_WEBHOOK_TIMESTAMP, HeaderValue::from(seconds));
    headers.insert(HEADER_WEBHOOK_SIGNATURE, HeaderValue::try_from(signature)?);
    Ok(request)
}

/// The same in every attempt: receivers know by it what they have had already.
fn webhook_id(delivery: DeliveryId) -> String {
    format!("msg_{delivery}")
}

/// A signature by each secret, with spaces between.
fn sign(secrets: &[Secret], id: &str, seconds: i64, payload: &str) -> Result<String, WebhookError> {
    let signatures: Result<Vec<_>, _> = secrets
        .iter()
        .map(|secret| Webhook::new(secret.reveal())?.sign(id, seconds, payload.as_bytes()))
        .collect();
    Ok(signatures?.join(" "))
}

/// Seconds; a date is not worth a parser here (RFC 9110 section 10.2.3 allows both).
fn retry_after(value: Option<&HeaderValue>) -> Option<Duration> {
    let seconds: u32 = value?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.into()).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn signatures() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, at) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330);
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let payload = r#"{"test": 2432232314}"#;
        let signed = sign(std::slice::from_ref(&secret), id, at, payload).unwrap();
        assert_eq!(signed, one);
        let other = Secret::generate().unwrap();
        let signed = sign(&[other, secret], id, at, payload).unwrap();
        let (first, second) = signed.split_once(' ').unwrap();
        assert_eq!(second, one);
        assert!(first.starts_with("v1,") && first != one);
    }

    #[test]
    fn waits() {
        for (text, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("999999", Some(86_400)),
            ("-1", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ] {
            let value = HeaderValue::from_static(text);
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(Some(&value)), expected, "{text}");
        }
        assert_eq!(retry_after(None), None);
    }
}
