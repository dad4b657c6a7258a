//! The rules for what stands in the string literals of an attribute.
//!
//! The constants of `purlin-problem` check most of this again; here the error points at the literal
//! and says what to write instead.

use syn::LitStr;

/// Why a literal is refused.
pub(crate) type Refusal = String;

/// A slug: lower-case letters, digits and hyphens.
pub(crate) fn check_slug(slug: &LitStr) -> Result<(), Refusal> {
    let text = slug.value();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.chars().all(fits) {
        return Ok(());
    }
    Err(
        "a slug has lower-case letters, digits and hyphens only, such as `out-of-stock`; for any \
         other URI reference write `type = \"…\"`"
            .to_owned(),
    )
}

/// A title: some text on one line.
pub(crate) fn check_title(title: &LitStr) -> Result<(), Refusal> {
    let text = title.value();
    if text.is_empty() {
        return Err("the title is empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("a title is one line, without control characters".to_owned());
    }
    Ok(())
}

/// A challenge of `WWW-Authenticate`: visible ASCII that begins with a scheme.
pub(crate) fn check_challenge(challenge: &LitStr) -> Result<(), Refusal> {
    let text = challenge.value();
    let scheme = text.split(' ').next().unwrap_or_default();
    if is_token(scheme) && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(());
    }
    Err(
        "a challenge is a scheme and its parameters in visible ASCII, such as `Bearer` or \
         `Basic realm=\"orders\"` (RFC 9110 section 11.6.1)"
            .to_owned(),
    )
}

/// The name of an extension member; `raw` allows names outside of the RFC's recommendation.
pub(crate) fn check_ext_name(name: &str, raw: bool) -> Result<(), Refusal> {
    if ["type", "title", "status", "detail", "instance"].contains(&name) {
        return Err(format!(
            "`{name}` is a member of RFC 9457 itself; give the extension another name by \
             `ext = \"…\"`"
        ));
    }
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if raw {
        return if starts && name.chars().all(|c| plain(c) || c == '-' || c == '.') {
            Ok(())
        } else {
            Err(format!(
                "`{name}` cannot be an extension: a letter or underscore comes first, then \
                 letters, digits, `_`, `-` and `.`"
            ))
        };
    }
    if starts && name.len() >= 3 && name.chars().all(plain) {
        return Ok(());
    }
    Err(format!(
        "`{name}` cannot be an extension: RFC 9457 section 3.2 recommends three or more letters, \
         digits and underscores, a letter first; where the name is given from outside, write \
         `ext(raw = \"…\")`"
    ))
}

/// The name of a header field, as it is sent (lower-case).
pub(crate) fn check_header(name: &str) -> Result<(), Refusal> {
    match name {
        _ if !is_token(name) => Err("this is not the name of a header field".to_owned()),
        "www-authenticate" => {
            Err("this header is a challenge: write `#[problem(challenge)]`".to_owned())
        }
        "allow" => Err("this header belongs to status 405: write `#[problem(allow)]`".to_owned()),
        "content-type" | "content-length" | "content-encoding" | "transfer-encoding" => {
            Err("this header describes the problem's document and cannot be set".to_owned())
        }
        _ => Ok(()),
    }
}

/// The codes of `google/rpc/code.proto` but `OK`, and what `GrpcCode` calls them.
const GRPC_CODES: [(&str, &str); 16] = [
    ("CANCELLED", "Cancelled"),
    ("UNKNOWN", "Unknown"),
    ("INVALID_ARGUMENT", "InvalidArgument"),
    ("DEADLINE_EXCEEDED", "DeadlineExceeded"),
    ("NOT_FOUND", "NotFound"),
    ("ALREADY_EXISTS", "AlreadyExists"),
    ("PERMISSION_DENIED", "PermissionDenied"),
    ("RESOURCE_EXHAUSTED", "ResourceExhausted"),
    ("FAILED_PRECONDITION", "FailedPrecondition"),
    ("ABORTED", "Aborted"),
    ("OUT_OF_RANGE", "OutOfRange"),
    ("UNIMPLEMENTED", "Unimplemented"),
    ("INTERNAL", "Internal"),
    ("UNAVAILABLE", "Unavailable"),
    ("DATA_LOSS", "DataLoss"),
    ("UNAUTHENTICATED", "Unauthenticated"),
];

/// The variant of `GrpcCode` for the name of a code.
pub(crate) fn grpc_variant(name: &LitStr) -> Result<&'static str, Refusal> {
    let text = name.value();
    GRPC_CODES
        .iter()
        .find(|(code, _)| *code == text)
        .map(|(_, variant)| *variant)
        .ok_or_else(|| {
            let names: Vec<&str> = GRPC_CODES.iter().map(|(code, _)| *code).collect();
            format!(
                "this is not the code of a gRPC error; there are: {}",
                names.join(", ")
            )
        })
}

/// A token of RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
