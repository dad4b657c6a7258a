//! Problem types of the IANA registry "HTTP Problem Types" (RFC 9457 §4.2), and those that the
//! rate limit draft asks it to register.

use http::StatusCode;

use crate::ProblemType;

macro_rules! registered {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $fragment:literal, $title:literal;)*) => {
        $(
            $(#[$doc])*
            pub static $name: ProblemType = ProblemType::new(
                StatusCode::$status,
                concat!("https://iana.org/assignments/http-problem-types#", $fragment),
                $title,
            );
        )*

        /// The type of that fragment, for the derive's `iana = "…"`. Evaluated at compile time.
        #[doc(hidden)]
        #[must_use]
        #[track_caller]
        pub const fn by_fragment(fragment: &str) -> &'static ProblemType {
            $(if equal(fragment, $fragment) {
                return &$name;
            })*
            panic!(concat!("no such registered type; there are:", $(" ", $fragment),*))
        }
    };
}

registered! {
    /// The `Date` of a request is too far from the server's clock (RFC 9458 §6.5.2).
    DATE = BAD_REQUEST, "date", "date field in request outside of acceptable range";
    /// An oblivious request was encrypted to a key that is not known (RFC 9458 §5.3).
    OHTTP_KEY = BAD_REQUEST, "ohttp-key", "key identifier unknown";
    /// A quota is used up; `violated-policies` names them (draft-ietf-httpapi-ratelimit-headers).
    QUOTA_EXCEEDED = TOO_MANY_REQUESTS, "quota-exceeded",
        "Request cannot be satisfied as assigned quota has been exceeded";
    /// The server has less room than usual (draft-ietf-httpapi-ratelimit-headers).
    TEMPORARY_REDUCED_CAPACITY = SERVICE_UNAVAILABLE, "temporary-reduced-capacity",
        "Request cannot be satisfied due to temporary server capacity constraints";
    /// The pattern of requests looks like abuse (draft-ietf-httpapi-ratelimit-headers).
    ABNORMAL_USAGE_DETECTED = TOO_MANY_REQUESTS, "abnormal-usage-detected",
        "Request not satisfied due to detection of abnormal request pattern";
}

const fn equal(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}
