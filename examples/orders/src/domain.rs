//! What the shop deals in. Nothing here knows HTTP or SQL.

mod customer;
mod id;
mod order;
mod payment;
mod product;
mod timestamp;
mod webhook;

pub(crate) use customer::Customer;
pub(crate) use id::{DeliveryId, EndpointId, OrderId, PaymentId, ProductId};
pub(crate) use order::{NewItem, NewOrder, Order, OrderItem, OrderStatus, total_cents};
pub(crate) use payment::{Payment, PaymentStatus};
pub(crate) use product::{NewProduct, Product, ProductChanges};
pub(crate) use timestamp::Timestamp;
pub(crate) use webhook::{Delivery, Endpoint, EndpointUrl, Message, Progress, Secret, Status};
