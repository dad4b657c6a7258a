//! `tonic::Status` and back.

use std::sync::Arc;

use http::StatusCode;
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{Problem, ProblemDetails};

/// The code of the type, the detail or else the title as the message, and the header fields as
/// metadata. The source stays with the status for the log; `tonic` does not send it.
///
/// A handler whose errors are problems returns them by `?`:
///
/// ```
/// use purlin_problem::{Problem, blank};
/// use tonic::{Code, Status};
///
/// fn find(id: u64) -> Result<(), Status> {
///     Err(Problem::new(&blank::NOT_FOUND).with_detail(format_args!("no order {id}")))?
/// }
///
/// let status = find(7).unwrap_err();
/// assert_eq!((status.code(), status.message()), (Code::NotFound, "no order 7"));
/// ```
impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let code = Code::from(problem.problem_type().grpc_code() as i32);
        let message = problem.message();
        let (headers, source) = problem.into_headers_and_source();
        let metadata = MetadataMap::from_headers(headers);
        let mut status = Self::with_metadata(code, message, metadata);
        if let Some(source) = source {
            status.set_source(Arc::from(source));
        }
        status
    }
}

/// The refusal of a gRPC server as a problem of `about:blank`: the HTTP status that
/// `google/rpc/code.proto` gives its code, and the message as the detail.
///
/// This is the client's view of another server, as [`ProblemDetails::parse`] is for HTTP. A gateway
/// decides itself what of it its own clients may see: behind a code such as `INTERNAL` the message
/// may be about the inside of the service.
///
/// ```
/// use purlin_problem::ProblemDetails;
/// use tonic::Status;
///
/// let details = ProblemDetails::from(&Status::already_exists("the SKU is taken"));
/// assert_eq!(details.status, Some(409));
/// assert_eq!(details.detail.as_deref(), Some("the SKU is taken"));
/// ```
impl From<&Status> for ProblemDetails {
    fn from(status: &Status) -> Self {
        let code = http_status(status.code());
        Self {
            detail: (!status.message().is_empty()).then(|| status.message().to_owned()),
            ..Self::blank(StatusCode::from_u16(code).expect("the table has status codes"))
        }
    }
}

/// The table of `google/rpc/code.proto`. `OK` is no refusal, so that a problem of it is one of
/// the server that sent it.
const fn http_status(code: Code) -> u16 {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Cancelled => 499,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => 500,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
    }
}
