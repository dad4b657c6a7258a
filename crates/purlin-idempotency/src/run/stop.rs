//! The answers that do not come from the handler.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header::LOCATION};
use purlin_problem::{BoxError, Protocol};

use crate::{Answer, Event, Rejection, ResponseBody, config::Config, headers::announce};

/// What a replay is marked by. Stripe's spelling; the draft has none.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Why the handler is not called: the answer is there, or there is none.
pub(super) enum Stop {
    Replay(Arc<Answer>),
    Reject(Rejection, Option<BoxError>),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection, None)
    }
}

impl Stop {
    pub(super) fn into_response<R>(
        self,
        config: &Config,
        protocol: &Protocol,
    ) -> Response<ResponseBody<R>> {
        let (rejection, source) = match self {
            Self::Reject(rejection, source) => (rejection, source),
            Self::Replay(answer) => match replayed(&answer) {
                Some(response) => return response,
                None => match gone(Some(&answer)) {
                    Self::Reject(rejection, source) => (rejection, source),
                    Self::Replay(_) => unreachable!("what is gone is not replayed"),
                },
            },
        };
        refuse(config, protocol, rejection, source).map(|body| ResponseBody::whole(body, None))
    }
}

/// The executed request whose answer is not there.
pub(super) fn gone(answer: Option<&Answer>) -> Stop {
    Rejection::AnswerUnavailable {
        original_status: answer.map(|answer| answer.status),
        location: answer.and_then(|answer| {
            let mut location = answer.headers.get(LOCATION)?.clone();
            // A part of the answer, which no log shall show.
            location.set_sensitive(true);
            Some(location)
        }),
    }
    .into()
}

pub(super) fn replayed<R>(answer: &Answer) -> Option<Response<ResponseBody<R>>> {
    let body = answer.body.clone()?;
    let mut response = Response::new(ResponseBody::whole(body, answer.trailers.clone()));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(trailers) = &answer.trailers {
        announce(headers, trailers);
    }
    Some(response)
}

/// A response that says why.
pub(crate) fn refuse(
    config: &Config,
    protocol: &Protocol,
    rejection: Rejection,
    source: Option<BoxError>,
) -> Response<Bytes> {
    let event = Event::Rejected {
        rejection: &rejection,
    };
    if let Some(error) = &source {
        tracing::warn!(error = &**error, idempotency.event = event.name());
    }
    tell(config, &event);
    match &config.render {
        None => rejection.into_response(protocol, config.described_by.as_ref(), source),
        Some(render) => {
            let mut response = render(&rejection, protocol);
            response.extensions_mut().insert(rejection);
            response
        }
    }
}

pub(super) fn tell(config: &Config, event: &Event<'_>) {
    let record = event.record().map(tracing::field::display);
    tracing::debug!(idempotency.event = event.name(), record);
    if let Some(observer) = &config.observer {
        observer.on_event(event);
    }
}
