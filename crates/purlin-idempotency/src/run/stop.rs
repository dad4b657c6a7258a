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
            // Not a copy, unless it is kept in memory too.
            Self::Replay(answer) => match replayed(Arc::unwrap_or_clone(answer)) {
                Ok(response) => return response,
                Err(gone) => (gone, None),
            },
        };
        refuse(config, protocol, rejection, source).map(|body| ResponseBody::whole(body, None))
    }
}

/// The executed request whose answer is not there.
pub(super) fn gone(answer: Option<&Answer>) -> Rejection {
    Rejection::AnswerUnavailable {
        original_status: answer.map(|answer| answer.status),
        location: answer.and_then(|answer| {
            let mut location = answer.headers.get(LOCATION)?.clone();
            // A part of the answer, which no log shall show.
            location.set_sensitive(true);
            Some(location)
        }),
    }
}

fn replayed<R>(mut answer: Answer) -> Result<Response<ResponseBody<R>>, Rejection> {
    let Some(body) = answer.body.take() else {
        return Err(gone(Some(&answer)));
    };
    let headers = &mut answer.headers;
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(trailers) = &answer.trailers {
        announce(headers, trailers);
    }
    let mut response = Response::new(ResponseBody::whole(body, answer.trailers));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
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
