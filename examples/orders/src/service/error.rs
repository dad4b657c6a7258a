use std::time::Duration;

use http::header::InvalidHeaderValue;
use purlin_jobs::EnqueueError;
use purlin_problem::{Problem, Violations, violation::VALIDATION};
use purlin_store::{StoreError, StoreErrorKind};
use serde::Serialize;

use crate::{
    domain::{OrderStatus, PaymentId, ProductId, Status},
    provider::ProviderError,
};

/// When to come back after something that passes by itself.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a service did not do what it was asked to. `#[error]` is for the log, `#[problem]` for the
/// client.
#[derive(Debug, thiserror::Error, Problem)]
pub(crate) enum Error {
    /// There is no product with this id.
    #[error("no such product")]
    #[problem(status = 404, slug = "product-not-found", title = "Product not found")]
    ProductNotFound,

    /// There is no order with this id among those of the customer who asks.
    #[error("no such order")]
    #[problem(status = 404, slug = "order-not-found", title = "Order not found")]
    OrderNotFound,

    /// Less is in stock than was ordered. `short` names each such product by the place where the
    /// order has it. Nothing was ordered.
    #[error("stock is short")]
    #[problem(status = 409, slug = "out-of-stock", title = "Not enough in stock")]
    OutOfStock {
        #[problem(ext)]
        short: Vec<Short>,
    },

    /// Only an order that is pending can be changed in this way. `order_status` is what it is.
    #[error("order is {}", order_status.as_str())]
    #[problem(
        status = 409,
        slug = "order-not-pending",
        title = "The order is not pending"
    )]
    NotPending {
        #[problem(ext)]
        order_status: OrderStatus,
    },

    #[error("order is not valid")]
    #[problem(of = VALIDATION)]
    Invalid {
        #[problem(ext)]
        errors: Violations,
    },

    /// The database did not answer in time, or somebody else was faster again and again. Whether
    /// the request had an effect is not known.
    #[error("database is not available")]
    #[problem(
        status = 503,
        slug = "database-unavailable",
        title = "The database is not available"
    )]
    Unavailable {
        #[problem(header = "retry-after")]
        retry_after: Duration,
        source: StoreError,
    },

    /// The order was closed while its charge was under way, and the charge was captured. It is kept
    /// as `payment_id` and will be refunded.
    #[error("captured for an order that is no longer pending")]
    #[problem(
        status = 409,
        slug = "refund-due",
        title = "The order was closed while it was paid"
    )]
    RefundDue {
        #[problem(ext)]
        payment_id: PaymentId,
        #[problem(ext)]
        provider_ref: Option<String>,
    },

    /// The payment provider has refused the charge, and nothing was charged. The order can be paid
    /// again, with another key.
    #[error("payment provider has refused the charge")]
    #[problem(
        status = 402,
        slug = "payment-refused",
        title = "The payment was refused"
    )]
    Refused {
        #[problem(ext)]
        payment_id: PaymentId,
    },

    /// The payment provider cannot be reached. Nothing was charged by this request; the order can
    /// be paid again.
    #[error("payment provider is not available")]
    #[problem(
        status = 503,
        slug = "payment-provider-unavailable",
        title = "The payment provider is not available"
    )]
    ProviderUnavailable {
        #[problem(header = "retry-after")]
        retry_after: Duration,
        source: ProviderError,
    },

    /// The payment provider did not answer in time. Whether it has charged is not known; to pay the
    /// same order again is safe and does not charge twice.
    #[error("payment provider does not answer")]
    #[problem(
        status = 504,
        slug = "payment-provider-timeout",
        title = "The payment provider does not answer"
    )]
    ProviderTimeout {
        #[problem(header = "retry-after")]
        retry_after: Duration,
        source: ProviderError,
    },

    /// The payment provider failed. Whether it has charged is not known; to pay the same order
    /// again is safe and does not charge twice.
    #[error("payment provider failed")]
    #[problem(
        status = 502,
        slug = "payment-provider-failed",
        title = "The payment provider failed"
    )]
    ProviderFailed {
        #[problem(header = "retry-after")]
        retry_after: Duration,
        source: ProviderError,
    },

    /// There is no webhook endpoint with this id among those of the customer who asks.
    #[error("no such webhook endpoint")]
    #[problem(
        status = 404,
        slug = "webhook-endpoint-not-found",
        title = "Webhook endpoint not found"
    )]
    EndpointNotFound,

    /// The customer has as many webhook endpoints as one may have, which is `limit`.
    #[error("{limit} webhook endpoints already")]
    #[problem(
        status = 409,
        slug = "too-many-webhook-endpoints",
        title = "Too many webhook endpoints"
    )]
    TooManyEndpoints {
        #[problem(ext)]
        limit: i64,
    },

    /// There is no webhook delivery with this id among those of the customer who asks.
    #[error("no such webhook delivery")]
    #[problem(
        status = 404,
        slug = "webhook-delivery-not-found",
        title = "Webhook delivery not found"
    )]
    DeliveryNotFound,

    /// Only a delivery that has failed for good can be replayed. `delivery_status` is what it is.
    #[error("webhook delivery is not dead")]
    #[problem(
        status = 409,
        slug = "webhook-delivery-not-dead",
        title = "The webhook delivery is not dead"
    )]
    DeliveryNotDead {
        #[problem(ext)]
        delivery_status: Status,
    },

    #[error("no random bytes")]
    #[problem(internal)]
    Random(#[source] getrandom::Error),

    #[error("key of the charge is not the value of a header")]
    #[problem(internal)]
    ChargeKey(#[source] InvalidHeaderValue),

    #[error("job cannot be enqueued")]
    #[problem(internal)]
    Enqueue(#[source] EnqueueError),

    #[error("database failed")]
    #[problem(internal)]
    Database(#[source] StoreError),
}

/// A product of which there is too little.
#[derive(Debug, Serialize)]
pub(crate) struct Short {
    /// A JSON Pointer into the order.
    pub(crate) pointer: String,
    pub(crate) product_id: ProductId,
    pub(crate) requested: i64,
}

impl From<StoreError> for Error {
    fn from(source: StoreError) -> Self {
        use StoreErrorKind::{Conflict, Timeout, Unavailable};
        if matches!(source.kind(), Unavailable | Timeout | Conflict) {
            Self::Unavailable {
                retry_after: RETRY_AFTER,
                source,
            }
        } else {
            Self::Database(source)
        }
    }
}

impl From<EnqueueError> for Error {
    fn from(source: EnqueueError) -> Self {
        match source {
            EnqueueError::Store(source) => source.into(),
            source => Self::Enqueue(source),
        }
    }
}

impl From<ProviderError> for Error {
    fn from(source: ProviderError) -> Self {
        let retry_after = RETRY_AFTER;
        match source {
            ProviderError::Unreachable(_) => Self::ProviderUnavailable {
                retry_after,
                source,
            },
            ProviderError::Timeout => Self::ProviderTimeout {
                retry_after,
                source,
            },
            ProviderError::Broken(_)
            | ProviderError::Refused(_)
            | ProviderError::Unexpected(_)
            | ProviderError::Garbled(_) => Self::ProviderFailed {
                retry_after,
                source,
            },
        }
    }
}

impl Error {
    /// Says for the log what was being done when the database failed, and for how long.
    pub(crate) fn during(
        self,
        store: &'static str,
        operation: &'static str,
        tried: Duration,
    ) -> Self {
        match self {
            Self::Unavailable { source, .. } | Self::Database(source) => {
                StoreError::new(source.kind(), store, operation)
                    .with_tried_for(tried)
                    .with_source(source)
                    .into()
            }
            other => other,
        }
    }

    /// Whether nothing was changed and the same again may well succeed: a deadlock, a
    /// serialization failure.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Unavailable { source, .. } if source.kind() == StoreErrorKind::Conflict)
    }
}
