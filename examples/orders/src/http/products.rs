use axum::{
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
};
use purlin_problem::{
    JsonPointer, Problem, Violation, Violations,
    extract::{Json, Path},
};
use serde::{Deserialize, Deserializer};

use crate::{
    domain::{NewProduct, Product, ProductChanges, ProductId},
    http::{
        App,
        list::{List, MAX_ITEMS},
    },
};

const MAX_NAME_CHARS: usize = 200;
const MAX_STOCK: i64 = 1_000_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateProduct {
    name: String,
    price_cents: i64,
    stock: i64,
}

/// A JSON merge patch (RFC 7396) but for `null`: no member can be removed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeProduct {
    #[serde(default, deserialize_with = "not_null")]
    name: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    price_cents: Option<i64>,
    #[serde(default, deserialize_with = "not_null")]
    stock: Option<i64>,
}

pub(super) async fn create(
    State(app): State<App>,
    Json(new): Json<CreateProduct>,
) -> Result<impl IntoResponse, Problem> {
    let product = app.products.create(new.check()?).await?;
    let location = format!("/v1/products/{}", product.id);
    Ok((
        StatusCode::CREATED,
        [(LOCATION, location)],
        axum::Json(product),
    ))
}

pub(super) async fn show(
    State(app): State<App>,
    Path(id): Path<ProductId>,
) -> Result<axum::Json<Product>, Problem> {
    Ok(axum::Json(app.products.get(id).await?))
}

pub(super) async fn list(State(app): State<App>) -> Result<axum::Json<List<Product>>, Problem> {
    Ok(axum::Json(app.products.list(MAX_ITEMS).await?.into()))
}

pub(super) async fn change(
    State(app): State<App>,
    Path(id): Path<ProductId>,
    Json(changes): Json<ChangeProduct>,
) -> Result<axum::Json<Product>, Problem> {
    let product = app.products.update(id, &changes.check()?).await?;
    Ok(axum::Json(product))
}

impl CreateProduct {
    fn check(self) -> Result<NewProduct, Problem> {
        check(Some(&self.name), Some(self.price_cents), Some(self.stock))?;
        Ok(NewProduct {
            name: self.name,
            price_cents: self.price_cents,
            stock: self.stock,
        })
    }
}

impl ChangeProduct {
    fn check(self) -> Result<ProductChanges, Problem> {
        check(self.name.as_deref(), self.price_cents, self.stock)?;
        Ok(ProductChanges {
            name: self.name,
            price_cents: self.price_cents,
            stock: self.stock,
        })
    }
}

/// Everything that is wrong with the members that are there.
fn check(name: Option<&str>, price_cents: Option<i64>, stock: Option<i64>) -> Result<(), Problem> {
    let mut violations = Violations::new();
    let mut refuse = |member: &str, code: &'static str, detail: &'static str| {
        let pointer = JsonPointer::root().key(member);
        violations.push(Violation::new(detail).with_code(code).at_pointer(pointer));
    };
    if let Some(name) = name {
        if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS {
            refuse(
                "name",
                "length",
                "must have 1 to 200 characters, not only blanks",
            );
        }
        if name.contains(char::is_control) {
            refuse("name", "format", "must not have control characters");
        }
    }
    if price_cents.is_some_and(|cents| cents < 0) {
        refuse("price_cents", "range", "must be 0 or more");
    }
    if stock.is_some_and(|stock| !(0..=MAX_STOCK).contains(&stock)) {
        refuse("stock", "range", "must be 0 to 1000000000");
    }
    violations.into_result()
}

fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
