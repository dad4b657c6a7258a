//! The payment provider, over HTTP.

mod url;

use std::{error::Error, time::Duration};

use http::{HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

pub(crate) use url::ProviderUrl;

use crate::{
    domain::OrderId,
    outgoing::{self, HttpClient},
};

/// How long one call may take, connecting included: less than half of what a request may take, so
/// that what came of it is written and answered in time, also while the service stops.
const LIMIT: Duration = Duration::from_secs(4);

const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Asks for charges. Cloning it is cheap, and shares the connections.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    client: HttpClient,
    url: ProviderUrl,
}

/// What the provider answered.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) status: ChargeStatus,
    reference: String,
    amount_cents: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChargeStatus {
    Captured,
    Declined,
}

#[derive(Debug, Serialize)]
struct NewCharge<'a> {
    reference: &'a str,
    amount_cents: i64,
}

/// Why there is no charge to be read. Only after [`Unreachable`](Self::Unreachable) and
/// [`Refused`](Self::Refused) is it certain that nothing was charged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    #[error("no connection")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    #[error("no answer in {} s", LIMIT.as_secs())]
    Timeout,
    #[error("the connection broke")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// Asked again with the same key, it says the same.
    #[error("refused with {0}")]
    Refused(StatusCode),
    #[error("answered {0}")]
    Unexpected(StatusCode),
    #[error("the answer is not understood")]
    Garbled(#[source] Option<serde_json::Error>),
}

impl Provider {
    pub(crate) fn new(url: ProviderUrl) -> Self {
        let client = outgoing::client();
        Self { client, url }
    }

    /// Asks once. The same key with the same order and amount is the same charge, so that whoever
    /// gets an error may ask again.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the provider may or may not have charged.
    pub(crate) async fn charge(
        &self,
        key: &HeaderValue,
        order: OrderId,
        amount_cents: i64,
    ) -> Result<Charge, ProviderError> {
        let reference = order.to_string();
        let new = NewCharge {
            reference: &reference,
            amount_cents,
        };
        let body = serde_json::to_vec(&new).expect("a text and a number are JSON");
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.charges().clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("idempotency-key", key.clone());
        let charge = timeout(LIMIT, self.send(request))
            .await
            .unwrap_or(Err(ProviderError::Timeout))?;
        if charge.reference == reference && charge.amount_cents == amount_cents {
            Ok(charge)
        } else {
            Err(ProviderError::Garbled(None))
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Charge, ProviderError> {
        let response = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                ProviderError::Unreachable(error)
            } else {
                ProviderError::Broken(error.into())
            }
        })?;
        let status = response.status();
        match status {
            StatusCode::CREATED => {}
            StatusCode::PAYMENT_REQUIRED | StatusCode::UNPROCESSABLE_ENTITY => {
                return Err(ProviderError::Refused(status));
            }
            // A 404 or a 403 may come from somebody in between, who knows nothing of the charge.
            _ => return Err(ProviderError::Unexpected(status)),
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await.map_err(ProviderError::Broken)?;
        serde_json::from_slice(&body.to_bytes())
            .map_err(|error| ProviderError::Garbled(Some(error)))
    }
}
