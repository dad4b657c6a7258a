//! Status codes as RFC 9110 names them.

use http::StatusCode;

/// The reason phrase of a status, for the `title` of `about:blank` (RFC 9457 §4.2.1).
///
/// The `http` crate still has the phrases of RFC 7231 for 413 and 422. A code that is not
/// registered gets the name of its class.
pub(crate) const fn phrase(status: StatusCode) -> &'static str {
    let code = status.as_u16();
    match code {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ if code < 500 => "Client Error",
        _ => "Server Error",
    }
}

/// Whether the status may stand in a problem: 400 to 599.
pub(crate) const fn is_error(status: StatusCode) -> bool {
    let code = status.as_u16();
    code >= 400 && code <= 599
}

/// The header field that a response of this status must carry by RFC 9110, if there is one.
pub(crate) const fn required_header(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        401 => Some("WWW-Authenticate"),
        405 => Some("Allow"),
        407 => Some("Proxy-Authenticate"),
        426 => Some("Upgrade"),
        _ => None,
    }
}
