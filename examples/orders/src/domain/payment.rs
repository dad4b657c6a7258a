use serde::Serialize;

use crate::domain::{OrderId, PaymentId, Timestamp};

/// One charge for an order, from the moment before the provider is asked.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Payment {
    pub(crate) id: PaymentId,
    pub(crate) order_id: OrderId,
    pub(crate) amount_cents: i64,
    pub(crate) status: PaymentStatus,
    /// The provider's name for the charge, once it is known. What it refuses has none.
    pub(crate) provider_ref: Option<String>,
    /// What the provider knows the charge by before it has a name.
    #[serde(skip)]
    pub(crate) charge_key: String,
    /// The key of the call that wrote what came of it.
    #[serde(skip)]
    pub(crate) settled_by: Option<String>,
    #[serde(skip)]
    pub(crate) created_at: Timestamp,
}

impl Payment {
    /// Whether what came of it is not written yet.
    pub(crate) fn is_open(&self) -> bool {
        self.status == PaymentStatus::Started
    }

    /// Whether this is what came of the call with this key.
    pub(crate) fn was_made_by(&self, key: &str) -> bool {
        !self.is_open() && (self.charge_key == key || self.settled_by.as_deref() == Some(key))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PaymentStatus {
    /// The provider was, or was about to be, asked. Whether it has charged is not known.
    Started,
    Captured,
    Declined,
    /// Captured, but the order was no longer pending by then.
    RefundDue,
}

impl PaymentStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Captured => "captured",
            Self::Declined => "declined",
            Self::RefundDue => "refund_due",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [
            Self::Started,
            Self::Captured,
            Self::Declined,
            Self::RefundDue,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }
}
