use axum::extract::FromRequestParts;
use http::{HeaderName, StatusCode, request::Parts};
use purlin_problem::{Problem, ProblemType, Violation, Violations};

use crate::domain::Customer;

/// Says who is asking, and is believed: this stands where authentication will be.
pub(crate) const HEADER: &str = "x-demo-customer";

pub(super) static INVALID_HEADER: ProblemType = ProblemType::slug(
    StatusCode::BAD_REQUEST,
    "invalid-header",
    "A header field is not valid",
)
.with_description("`errors` names the field and says how its value should look.");

impl<S: Sync> FromRequestParts<S> for Customer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        customer(parts).ok_or_else(|| {
            let violation = Violation::new("must be 1 to 64 of A-Z a-z 0-9 - _ . and stand once")
                .with_code("format")
                .at_header(HeaderName::from_static(HEADER));
            Problem::new(&INVALID_HEADER).with_violations(Violations::from(violation))
        })
    }
}

/// Who is asking; `None` when the header is not one.
pub(super) fn customer(parts: &Parts) -> Option<Customer> {
    let mut values = parts.headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Some(Customer::demo());
    };
    let customer = value.to_str().ok().and_then(Customer::parse);
    customer.filter(|_| values.next().is_none())
}
