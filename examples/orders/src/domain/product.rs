use serde::Serialize;

use crate::domain::{ProductId, Timestamp};

/// Something to be sold.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Product {
    pub(crate) id: ProductId,
    pub(crate) name: String,
    pub(crate) price_cents: i64,
    pub(crate) stock: i64,
    /// Grows with every change, that of the stock by an order included.
    pub(crate) version: i64,
    pub(crate) created_at: Timestamp,
}

/// A product that is not there yet.
#[derive(Debug, Clone)]
pub(crate) struct NewProduct {
    pub(crate) name: String,
    pub(crate) price_cents: i64,
    pub(crate) stock: i64,
}

/// What shall be different; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProductChanges {
    pub(crate) name: Option<String>,
    pub(crate) price_cents: Option<i64>,
    pub(crate) stock: Option<i64>,
}

impl ProductChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.name.is_none() && self.price_cents.is_none() && self.stock.is_none()
    }
}
