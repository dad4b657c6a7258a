//! The last touch to an error response.

use std::any::Any;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response::Parts};
use http_body::Body;

use crate::{
    MAX_DOCUMENT_BYTES, PROBLEM_JSON, ProblemBody, ProblemDetails, ProblemReport, Protocol,
    config::{Config, MAX_CLIENT_TEXT_BYTES},
    context::{Seen, is_encoded},
    details::is_media_type,
    grpc::{GrpcCode, trailers_only},
    json::OpenObject,
    problem_type::SLUG_BASE,
    render::{NO_STORE, PROBLEM_JSON_VALUE, remove_representation_headers},
    report::Chain,
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
        let is_problem = is_media_type(&head.headers, PROBLEM_JSON);
        if self.seen.is_head {
            // There is no body to read. What GET would have answered shows in the headers.
            let said = !is_problem && head.headers.contains_key(header::CONTENT_TYPE);
            return if said { Plan::Keep } else { Plan::Fill };
        }
        let size = body.size_hint().exact();
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
        let plain = !head.headers.contains_key(header::CONTENT_TYPE)
            || is_media_type(&head.headers, "text/plain");
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
                let details = ProblemDetails::blank(head.status);
                let code = GrpcCode::of_plain(head.status);
                grpc_response(head, content_type, code, &details)
            }
        }
    }

    /// Makes a problem of the status. Only the text of a client error becomes its detail.
    pub(crate) fn fill<B>(
        &self,
        mut head: Parts,
        text: Option<Vec<u8>>,
    ) -> Response<ProblemBody<B>> {
        let mut details = ProblemDetails::blank(head.status);
        details.detail = text.and_then(|text| String::from_utf8(text).ok());
        self.log(head.status, &mut head.extensions, Some(&details));
        if let Protocol::Grpc(content_type) = &self.seen.protocol {
            let code = GrpcCode::of_plain(head.status);
            return grpc_response(head, content_type, code, &details);
        }
        let document = serde_json::to_vec(&details).expect("texts and numbers are JSON");
        self.problem_response(head, details, &document)
    }

    /// Adds to a problem what the request knows. What is no document after all stays as it is.
    pub(crate) fn edit<B>(&self, mut head: Parts, document: Vec<u8>) -> Response<ProblemBody<B>> {
        let Ok(details) = ProblemDetails::from_json(&document) else {
            let response = Response::from_parts(head, ProblemBody::document(document.into()));
            return self.keep(response);
        };
        self.log(head.status, &mut head.extensions, Some(&details));
        if let Protocol::Grpc(content_type) = &self.seen.protocol {
            let code = head
                .extensions
                .get::<ProblemReport>()
                .map_or(GrpcCode::of_problem(head.status), |report| {
                    report.problem_type().grpc_code()
                });
            return grpc_response(head, content_type, code, &details);
        }
        self.problem_response(head, details, &document)
    }

    pub(crate) fn panicked<B>(&self, payload: &(dyn Any + Send)) -> Response<ProblemBody<B>> {
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
        let mut head = Response::new(()).into_parts().0;
        head.status = StatusCode::INTERNAL_SERVER_ERROR;
        head.extensions.insert(Logged);
        match &self.seen.protocol {
            Protocol::Http => self.fill(head, None),
            Protocol::Grpc(content_type) => {
                let details = ProblemDetails::blank(head.status);
                grpc_response(head, content_type, GrpcCode::Internal, &details)
            }
        }
    }

    /// `document` is `details` as it was written; where that is enough it is added to at its end,
    /// so that foreign members stay as they are to the byte.
    fn problem_response<B>(
        &self,
        mut head: Parts,
        mut details: ProblemDetails,
        document: &[u8],
    ) -> Response<ProblemBody<B>> {
        let context = self.seen.context();
        let mut rewrite = false;
        if let (Some(base), Some(slug)) = (
            &self.config.base,
            details.type_uri().strip_prefix(SLUG_BASE),
        ) {
            details.type_uri = Some(format!("{base}{slug}"));
            rewrite = true;
        }
        let mut open = OpenObject::reopen(document);
        let mut add = |name: &str, value: &str, details: &mut ProblemDetails| {
            open.push(name, value);
            details.extensions.insert(name.to_owned(), value.into());
        };
        if self.config.instance && details.instance.is_none() {
            details.instance = Some(context.path.to_owned());
            rewrite = true;
        }
        for (name, value) in [
            ("request_id", context.request_id),
            ("trace_id", context.trace_id),
        ] {
            if let Some(value) = value.filter(|_| !details.extensions.contains_key(name)) {
                add(name, value, &mut details);
            }
        }
        if let Some(edit) = &self.config.edit {
            edit(&context, &mut details);
            details.status = Some(head.status.as_u16());
            rewrite = true;
        }
        let (content_type, body) = self.write(&details, open, rewrite);
        remove_representation_headers(&mut head.headers);
        head.headers.insert(header::CONTENT_TYPE, content_type);
        head.headers
            .entry(header::CACHE_CONTROL)
            .or_insert(NO_STORE);
        self.vary(&mut head.headers);
        let body = if self.seen.is_head {
            Bytes::new()
        } else {
            body.into()
        };
        Response::from_parts(head, ProblemBody::document(body))
    }

    fn write(
        &self,
        details: &ProblemDetails,
        open: OpenObject,
        rewrite: bool,
    ) -> (HeaderValue, Vec<u8>) {
        #[cfg(feature = "xml")]
        if self.seen.wants_xml {
            return (
                crate::render::PROBLEM_XML_VALUE,
                crate::xml::render(details),
            );
        }
        let document = if rewrite {
            serde_json::to_vec(details).expect("a document that was read can be written")
        } else {
            open.close()
        };
        (PROBLEM_JSON_VALUE, document)
    }

    #[cfg(feature = "xml")]
    fn vary(&self, headers: &mut HeaderMap) {
        if self.config.xml {
            headers.append(header::VARY, HeaderValue::from_static("accept"));
        }
    }

    #[cfg(not(feature = "xml"))]
    #[expect(
        clippy::unused_self,
        reason = "there is nothing to vary by without XML"
    )]
    fn vary(&self, _headers: &mut HeaderMap) {}

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
        let ty = details.map(ProblemDetails::type_uri);
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

fn grpc_response<B>(
    mut head: Parts,
    content_type: &HeaderValue,
    code: GrpcCode,
    details: &ProblemDetails,
) -> Response<ProblemBody<B>> {
    let message = details
        .detail
        .as_deref()
        .or(details.title.as_deref())
        .unwrap_or_default();
    trailers_only(&mut head, content_type.clone(), code, message);
    Response::from_parts(head, ProblemBody::document(Bytes::new()))
}
