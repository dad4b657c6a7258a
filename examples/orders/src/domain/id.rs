use std::fmt;

use purlin_jobs::JobId;
use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub(crate) struct $name(pub(crate) Uuid);

        impl $name {
            /// A new one, which sorts after those made before it by this process.
            pub(crate) fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Reads the form with hyphens (RFC 9562 §4). The others that `Uuid` reads would give
            /// one thing several addresses.
            pub(crate) fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().filter(|_| text.len() == 36).map(Self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| de::Error::custom("not a UUID"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// Names a product. The order of ids is the order in which rows are locked.
    ProductId
    /// Names an order.
    OrderId
    /// Names a payment.
    PaymentId
    /// Names a webhook endpoint.
    EndpointId
    /// Names a webhook delivery, and the job that makes it.
    DeliveryId
}

impl From<DeliveryId> for JobId {
    fn from(id: DeliveryId) -> Self {
        Self::from_uuid(id.0)
    }
}
