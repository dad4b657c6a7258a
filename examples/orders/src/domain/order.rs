use serde::Serialize;

use crate::domain::{OrderId, ProductId, Timestamp};

/// What a customer has ordered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) status: OrderStatus,
    pub(crate) items: Vec<OrderItem>,
    pub(crate) total_cents: i64,
    pub(crate) note: Option<String>,
    pub(crate) customer: String,
    pub(crate) created_at: Timestamp,
}

/// How many of which product, at the price of that moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OrderItem {
    pub(crate) product_id: ProductId,
    pub(crate) quantity: i64,
    pub(crate) unit_price_cents: i64,
}

/// An order that is not placed yet.
#[derive(Debug, Clone)]
pub(crate) struct NewOrder {
    /// No product twice.
    pub(crate) items: Vec<NewItem>,
    pub(crate) note: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct NewItem {
    pub(crate) product_id: ProductId,
    pub(crate) quantity: i64,
}

/// The sum of all items, if it fits.
pub(crate) fn total_cents(items: &[OrderItem]) -> Option<i64> {
    items.iter().try_fold(0_i64, |total, item| {
        total.checked_add(item.unit_price_cents.checked_mul(item.quantity)?)
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OrderStatus {
    /// Waits for its payment.
    Pending,
    Paid,
    Cancelled,
    Refunded,
}

impl OrderStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Paid, Self::Cancelled, Self::Refunded]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}
