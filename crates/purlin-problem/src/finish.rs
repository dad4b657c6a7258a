//! The last touch to an error response.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response::Parts};
use http_body::Body;

use crate::{
    MAX_DOCUMENT_BYTES, PROBLEM_JSON, ProblemBody, ProblemDetails, ProblemReport, Protocol, blank,
    config::{Config, MAX_CLIENT_TEXT_BYTES},
    context::{Seen, is_encoded},
    details::is_media_type,
    grpc::{GrpcCode, trailers_only},
    problem_type::SLUG_BASE,
    render::{NO_STORE, PROBLEM_JSON_VALUE, remove_representation_headers},
    report::Chain,
    rewrite::rewrite,
};

/// What is to be done with an error response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It is somebody's own answer.
    Keep,
    /// It is a problem: read it and add to it.
    Edit,
    /// It says nothing, or what must not be repeated: make a problem of the status.
    Fill,
    /// It is a line of text to a client: read it, and make a problem with it.
    FillWithText,
    /// Its body was dropped before, in answer to `HEAD`; that of `GET` becomes a problem.
    Head,
}

/// Put on a response that a layer has logged, where there is no [`ProblemReport`] to say so.
#[derive(Clone, Copy, Debug)]
struct Logged;

pub(crate) struct Finish<'a> {
    pub(crate) seen: &'a Seen,
    pub(crate) config: &'a Config,
}

impl Finish<'_> {
    pub(crate) fn plan<B: Body>(&self, head: &Parts, body: &B) -> Plan {
        let is_problem = is_problem(head);
        let size = body.size_hint().exact();
        let plain = !head.headers.contains_key(header::CONTENT_TYPE)
            || is_media_type(&head.headers, "text/plain");
        if self.seen.is_head && size == Some(0) {
            return plan_without_body(head, is_problem, plain);
        }
        if is_encoded(&head.headers) && size != Some(0) {
            return Plan::Keep;
        }
        let fits = |max: u64| size.is_some_and(|size| size <= max);
        if is_problem {
            return if fits(MAX_DOCUMENT_BYTES as u64) {
                Plan::Edit
            } else {
                Plan::Keep
            };
        }
        if size == Some(0) || (plain && head.status.is_server_error()) {
            Plan::Fill
        } else if plain && fits(MAX_CLIENT_TEXT_BYTES) {
            Plan::FillWithText
        } else {
            Plan::Keep
        }
    }

    /// Leaves the response as it is, but logs it, and words it for gRPC if need be.
    pub(crate) fn keep<B>(
        &self,
        mut response: Response<ProblemBody<B>>,
    ) -> Response<ProblemBody<B>> {
        self.log(response.status(), response.extensions_mut(), None);
        match &self.seen.protocol {
            Protocol::Http => response,
            Protocol::Grpc(content_type) => {
                let (head, _) = response.into_parts();
                let mut details = ProblemDetails::blank(head.status);
                if let Some(report) = head.extensions.get::<ProblemReport>() {
                    details.title = Some(report.problem_type().title().to_owned());
                }
                self.complete(head.status, &mut details);
                grpc_response(head, content_type, &details)
            }
        }
    }

    /// The head of what `GET` answers. The length of its document is not known.
    pub(crate) fn head<B>(&self, mut head: Parts) -> Response<ProblemBody<B>> {
        self.log(head.status, &mut head.extensions, None);
        if !is_problem(&head) || self.config.edit.is_some() {
            head.headers.remove(header::CONTENT_LANGUAGE);
        }
        self.dress(&mut head.headers);
        Response::from_parts(head, ProblemBody::untold())
    }

    /// Makes a problem of the status. Only the text of a client error becomes its detail.
    pub(crate) fn fill<B>(
        &self,
        mut head: Parts,
        text: Option<Vec<u8>>,
    ) -> Response<ProblemBody<B>> {
        let mut details = ProblemDetails::blank(head.status);
        details.detail = text
            .filter(|_| is_unicode(&head.headers))
            .and_then(|text| String::from_utf8(text).ok());
        self.log(head.status, &mut head.extensions, Some(&details));
        head.headers.remove(header::CONTENT_LANGUAGE);
        let document = serde_json::to_vec(&details).expect("texts and numbers are JSON");
        self.problem_response(head, details, &document, true)
    }

    /// Adds to a problem what the request knows. What is no document after all stays as it is.
    pub(crate) fn edit<B>(&self, mut head: Parts, document: Vec<u8>) -> Response<ProblemBody<B>> {
        let Ok((details, tidy)) = ProblemDetails::read(&document) else {
            let response = Response::from_parts(head, ProblemBody::document(document.into()));
            return self.keep(response);
        };
        self.log(head.status, &mut head.extensions, Some(&details));
        self.problem_response(head, details, &document, tidy)
    }

    pub(crate) fn panicked<B>(&self, payload: &(dyn Any + Send)) -> Response<ProblemBody<B>> {
        self.log_panic(payload);
        let mut head = Response::new(()).into_parts().0;
        head.status = StatusCode::INTERNAL_SERVER_ERROR;
        // For its gRPC code, which is not that of an answer by somebody else.
        let report = ProblemReport::new(&blank::INTERNAL_SERVER_ERROR, None);
        let _logged = report.claim_log();
        head.extensions.insert(report);
        self.fill(head, None)
    }

    /// `document` is `details` as it was written.
    fn problem_response<B>(
        &self,
        mut head: Parts,
        mut details: ProblemDetails,
        document: &[u8],
        tidy: bool,
    ) -> Response<ProblemBody<B>> {
        let before = details.clone();
        self.complete(head.status, &mut details);
        if let Protocol::Grpc(content_type) = &self.seen.protocol {
            return grpc_response(head, content_type, &details);
        }
        if (&before.title, &before.detail) != (&details.title, &details.detail) {
            // RFC 9110 §8.5: it is the language of a text that is no longer there.
            head.headers.remove(header::CONTENT_LANGUAGE);
        }
        self.dress(&mut head.headers);
        let mut body = self.write(document, tidy, &before, &details);
        if self.seen.is_head {
            let length = HeaderValue::from(body.len());
            head.headers.insert(header::CONTENT_LENGTH, length);
            body.clear();
        }
        Response::from_parts(head, ProblemBody::document(body.into()))
    }

    /// Adds what the request and the configuration know of the problem.
    fn complete(&self, status: StatusCode, details: &mut ProblemDetails) {
        let context = self.seen.context();
        if let (Some(base), Some(slug)) = (
            &self.config.base,
            details.type_uri().strip_prefix(SLUG_BASE),
        ) {
            details.type_uri = Some(format!("{base}{slug}"));
        }
        if self.config.instance && details.instance.is_none() {
            details.instance = Some(context.path.to_owned());
        }
        for (name, value) in [
            ("request_id", context.request_id),
            ("trace_id", context.trace_id),
        ] {
            if let Some(value) = value.filter(|_| !details.extensions.contains_key(name)) {
                details.extensions.insert(name.to_owned(), value.into());
            }
        }
        // RFC 9457 §3.1.2: the same as on the line.
        if details.status.is_some() {
            details.status = Some(status.as_u16());
        }
        if let Some(edit) = &self.config.edit {
            let mut edited = details.clone();
            // An error must not become none at all because its text could not be made.
            match catch_unwind(AssertUnwindSafe(|| edit(&context, &mut edited))) {
                Ok(()) => {
                    *details = edited;
                    details.status = Some(status.as_u16());
                }
                Err(payload) => self.log_panic(&*payload),
            }
        }
    }

    /// Gives the header of a problem to a response that becomes one.
    fn dress(&self, headers: &mut HeaderMap) {
        remove_representation_headers(headers);
        headers.insert(header::CONTENT_TYPE, self.content_type());
        headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
        self.vary(headers);
    }

    #[cfg(feature = "xml")]
    fn content_type(&self) -> HeaderValue {
        if self.seen.wants_xml {
            crate::render::PROBLEM_XML_VALUE
        } else {
            PROBLEM_JSON_VALUE
        }
    }

    #[cfg(not(feature = "xml"))]
    #[expect(clippy::unused_self, reason = "there is one type without XML")]
    fn content_type(&self) -> HeaderValue {
        PROBLEM_JSON_VALUE
    }

    fn write(
        &self,
        document: &[u8],
        tidy: bool,
        before: &ProblemDetails,
        details: &ProblemDetails,
    ) -> Vec<u8> {
        #[cfg(feature = "xml")]
        if self.seen.wants_xml {
            return crate::xml::render(details);
        }
        rewrite(document, tidy, before, details)
    }

    #[cfg(feature = "xml")]
    fn vary(&self, headers: &mut HeaderMap) {
        if self.config.xml && !names(headers, header::VARY, "accept") {
            headers.append(header::VARY, HeaderValue::from_static("accept"));
        }
    }

    #[cfg(not(feature = "xml"))]
    #[expect(
        clippy::unused_self,
        reason = "there is nothing to vary by without XML"
    )]
    fn vary(&self, _headers: &mut HeaderMap) {}

    pub(crate) fn log_panic(&self, payload: &(dyn Any + Send)) {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a value that is no text");
        let context = self.seen.context();
        tracing::error!(
            target: "purlin_problem",
            request_id = context.request_id,
            trace_id = context.trace_id,
            panic = text,
            "panic"
        );
    }

    fn log(
        &self,
        status: StatusCode,
        extensions: &mut http::Extensions,
        details: Option<&ProblemDetails>,
    ) {
        let report = extensions.get::<ProblemReport>();
        let first = match report {
            Some(report) => report.claim_log(),
            None => extensions.get::<Logged>().is_none(),
        };
        if !first {
            return;
        }
        let context = self.seen.context();
        let (request_id, trace_id) = (context.request_id, context.trace_id);
        let ty = match (details, report) {
            (Some(details), _) => Some(details.type_uri()),
            (None, report) => report.map(|report| report.problem_type().uri()),
        };
        let error = report
            .and_then(ProblemReport::source)
            .map(|error| Chain(error).to_string());
        let error = error.as_deref();
        let status_code = status.as_u16();
        if status.is_server_error() {
            tracing::error!(
                target: "purlin_problem",
                status = status_code, r#type = ty, request_id, trace_id, error, "problem"
            );
        } else {
            tracing::debug!(
                target: "purlin_problem",
                status = status_code, r#type = ty, request_id, trace_id, error, "problem"
            );
        }
        if report.is_none() {
            extensions.insert(Logged);
        }
    }
}

/// What to do with an answer to `HEAD` whose body was dropped before it came here. What `GET` would
/// have answered shows in the header.
fn plan_without_body(head: &Parts, is_problem: bool, plain: bool) -> Plan {
    let length = head.headers.get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let fits = |max: u64| length.is_none_or(|length| length <= max);
    if is_encoded(&head.headers) {
        Plan::Keep
    } else if is_problem && fits(MAX_DOCUMENT_BYTES as u64) {
        Plan::Head
    } else if !plain {
        Plan::Keep
    } else if !head.headers.contains_key(header::CONTENT_TYPE) && fits(0) {
        Plan::Fill
    } else if head.status.is_server_error() || fits(MAX_CLIENT_TEXT_BYTES) {
        Plan::Head
    } else {
        Plan::Keep
    }
}

fn is_problem(head: &Parts) -> bool {
    is_media_type(&head.headers, PROBLEM_JSON)
}

/// Whether the text is in UTF-8 as far as its content type says. In another charset the same bytes
/// may be other characters.
fn is_unicode(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    content_type.to_str().is_ok_and(|content_type| {
        content_type
            .split(';')
            .skip(1)
            .filter_map(|parameter| parameter.split_once('='))
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
            .map(|(_, charset)| charset.trim().trim_matches('"'))
            .all(|charset| {
                ["utf-8", "us-ascii"]
                    .iter()
                    .any(|known| charset.eq_ignore_ascii_case(known))
            })
    })
}

/// Whether a list of names has this one, or stands for all.
#[cfg(feature = "xml")]
fn names(headers: &HeaderMap, field: http::HeaderName, name: &str) -> bool {
    headers
        .get_all(field)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim() == "*" || item.trim().eq_ignore_ascii_case(name))
}

fn grpc_response<B>(
    mut head: Parts,
    content_type: &HeaderValue,
    details: &ProblemDetails,
) -> Response<ProblemBody<B>> {
    let code = match head.extensions.get::<ProblemReport>() {
        Some(report) => report.problem_type().grpc_code(),
        None if is_problem(&head) => GrpcCode::of_problem(head.status),
        None => GrpcCode::of_plain(head.status),
    };
    let message = details
        .detail
        .as_deref()
        .or(details.title.as_deref())
        .unwrap_or_default();
    trailers_only(&mut head, content_type.clone(), code, message);
    Response::from_parts(head, ProblemBody::document(Bytes::new()))
}
