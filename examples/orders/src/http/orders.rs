use std::collections::HashSet;

use axum::{
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
};
use purlin_problem::{
    JsonPointer, Problem, Violation, Violations,
    extract::{Json, Path},
};
use serde::Deserialize;

use crate::{
    domain::{Customer, NewItem, NewOrder, Order, OrderId, ProductId},
    http::{
        App,
        idempotency::SharedTransaction,
        list::{List, MAX_ITEMS},
    },
};

/// Of products in one order: each takes a round trip to the database or two.
const MAX_PRODUCTS: usize = 100;
const MAX_QUANTITY: i64 = 1_000_000;
const MAX_NOTE_CHARS: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateOrder {
    items: Vec<CreateItem>,
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateItem {
    /// Text, so that several that are no UUIDs are refused at once.
    product_id: String,
    quantity: i64,
}

pub(super) async fn create(
    State(app): State<App>,
    customer: Customer,
    shared: Option<SharedTransaction>,
    Json(new): Json<CreateOrder>,
) -> Result<impl IntoResponse, Problem> {
    let new = new.check()?;
    let order = match shared {
        // The layer commits it, with the record of the key.
        Some(mut shared) => {
            let connection = shared.connection();
            app.orders.place_in(connection, &customer, &new).await?
        }
        None => app.orders.place(&customer, &new).await?,
    };
    let location = format!("/v1/orders/{}", order.id);
    Ok((
        StatusCode::CREATED,
        [(LOCATION, location)],
        axum::Json(order),
    ))
}

pub(super) async fn show(
    State(app): State<App>,
    customer: Customer,
    Path(id): Path<OrderId>,
) -> Result<axum::Json<Order>, Problem> {
    Ok(axum::Json(app.orders.get(&customer, id).await?))
}

pub(super) async fn list(
    State(app): State<App>,
    customer: Customer,
) -> Result<axum::Json<List<Order>>, Problem> {
    let orders = app.orders.list(&customer, MAX_ITEMS).await?;
    Ok(axum::Json(orders.into()))
}

pub(super) async fn cancel(
    State(app): State<App>,
    customer: Customer,
    Path(id): Path<OrderId>,
) -> Result<axum::Json<Order>, Problem> {
    Ok(axum::Json(app.orders.cancel(&customer, id).await?))
}

impl CreateOrder {
    /// The order, or everything that is wrong with it.
    fn check(self) -> Result<NewOrder, Problem> {
        let mut violations = Violations::new();
        let mut refuse = |pointer: JsonPointer, code: &'static str, detail: &'static str| {
            violations.push(Violation::new(detail).with_code(code).at_pointer(pointer));
        };
        let root = JsonPointer::root();
        let at_items = root.key("items");
        if !(1..=MAX_PRODUCTS).contains(&self.items.len()) {
            refuse(at_items.clone(), "length", "must have 1 to 100 items");
        }
        let mut seen = HashSet::new();
        let mut items = Vec::with_capacity(self.items.len());
        for (index, item) in self.items.iter().enumerate() {
            let at_item = at_items.index(index);
            let at_id = at_item.key("product_id");
            match ProductId::parse(&item.product_id) {
                None => refuse(at_id, "format", "must be a UUID"),
                Some(id) if !seen.insert(id) => {
                    refuse(at_id, "duplicate", "is in this order already");
                }
                Some(product_id) => items.push(NewItem {
                    product_id,
                    quantity: item.quantity,
                }),
            }
            if !(1..=MAX_QUANTITY).contains(&item.quantity) {
                refuse(at_item.key("quantity"), "range", "must be 1 to 1000000");
            }
        }
        if let Some(note) = &self.note {
            if note.chars().count() > MAX_NOTE_CHARS {
                refuse(
                    root.key("note"),
                    "length",
                    "must have at most 1000 characters",
                );
            }
            // Which Postgres cannot store.
            if note.contains('\0') {
                refuse(
                    root.key("note"),
                    "format",
                    "must not have the character U+0000",
                );
            }
        }
        violations.into_result()?;
        Ok(NewOrder {
            items,
            note: self.note,
        })
    }
}
