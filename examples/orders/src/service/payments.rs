#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::HeaderValue;
use purlin_problem::{JsonPointer, Violation};
use purlin_store::{Clock, StoreError, StoreErrorKind};

use crate::{
    database::Database,
    domain::{Customer, OrderId, OrderStatus, Payment, PaymentId, PaymentStatus, Timestamp},
    provider::{Charge, ChargeStatus, Provider, ProviderError},
    repository::{orders, payments},
    service::{Error, Webhooks, unit_of_work},
};

/// What can be done with payments.
///
/// # Guarantees
///
/// However many calls pay an order at once, and wherever they end, the provider captures at most
/// once for it, as long as it keeps to its own idempotency and remembers a key until the order is
/// settled:
///
/// - Before the provider is asked, a row says with which key. An order has one such row that is not
///   settled, so all who come meanwhile ask for the same charge, with the key of the first.
/// - Asked again with that key, the provider tells what it did the first time. So a call that
///   breaks off after the charge is made good by the next one, whoever makes it.
/// - What came of it is written once, in one transaction with the order's status and the webhooks
///   that tell it. A refusal (402 or 422) settles it too: nothing was charged, and the next payment is a new one.
///
/// An order may be cancelled while a charge is under way. A charge that turns out captured is then
/// kept as `refund_due` and logged as an error. If nobody asks again, its row stays `started`: what
/// the provider did is to be looked up there, by the key of the row.
#[derive(Debug, Clone)]
pub(crate) struct Payments {
    database: Database,
    clock: Arc<dyn Clock>,
    provider: Provider,
    webhooks: Webhooks,
}

impl Payments {
    pub(crate) fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        provider: Provider,
        webhooks: Webhooks,
    ) -> Self {
        Self {
            database,
            clock,
            provider,
            webhooks,
        }
    }

    /// Charges the total of a pending order, which is paid when the charge is captured.
    ///
    /// `key` names the execution: whoever calls again with the same one gets the payment that it
    /// made, and does not pay again. Among calls with different keys one gets the payment; the
    /// others are told that the order is paid. It must be the value of a header and belong to no
    /// other order.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the order is as if the call had failed: whoever pays it next finishes what
    /// was begun.
    pub(crate) async fn pay(
        &self,
        customer: &Customer,
        order: OrderId,
        amount_cents: i64,
        key: &str,
    ) -> Result<Payment, Error> {
        let payment = unit_of_work::run(&self.database, "start payment", async || {
            self.start(customer, order, amount_cents, key).await
        })
        .await?;
        if payment.status != PaymentStatus::Started {
            return outcome(payment, key);
        }
        // No transaction is open meanwhile: the provider may take its time.
        let charge_key = HeaderValue::from_str(&payment.charge_key).map_err(Error::ChargeKey)?;
        let asked = self
            .provider
            .charge(&charge_key, order, payment.amount_cents)
            .await;
        let charge = match asked {
            Ok(charge) => Some(charge),
            Err(error @ ProviderError::Refused(_)) => {
                tracing::info!(%error, payment = %payment.id, "the charge was refused");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let settled = unit_of_work::run(&self.database, "settle payment", async || {
            self.settle(customer, &payment, charge.as_ref(), key).await
        })
        .await?;
        outcome(settled, key)
    }

    /// The payment that this key has made, or the one that is under way, or a new one.
    async fn start(
        &self,
        customer: &Customer,
        id: OrderId,
        amount_cents: i64,
        key: &str,
    ) -> Result<Payment, Error> {
        let mut work = self.database.begin().await?;
        let order = orders::get(work.connection(), id, customer).await?;
        let order = order.ok_or(Error::OrderNotFound)?;
        let of_order = payments::of_order(work.connection(), id).await?;
        let made = of_order.iter().find(|payment| payment.was_made_by(key));
        if let Some(made) = made.filter(|made| made.amount_cents == amount_cents) {
            return Ok(made.clone());
        }
        let open = of_order.into_iter().find(Payment::is_open);
        if order.status != OrderStatus::Pending {
            if let Some(open) = open {
                tracing::warn!(
                    payment = %open.id, order = %id,
                    "the order was closed while it is not known whether it was charged"
                );
            }
            return Err(Error::NotPending {
                order_status: order.status,
            });
        }
        if amount_cents != order.total_cents {
            return Err(not_the_total());
        }
        if let Some(open) = open {
            tracing::info!(payment = %open.id, "finishing a payment that was begun before");
            return Ok(open);
        }
        let payment = Payment {
            id: PaymentId::new(),
            order_id: id,
            amount_cents,
            status: PaymentStatus::Started,
            provider_ref: None,
            charge_key: key.to_owned(),
            settled_by: None,
            created_at: Timestamp::now(&*self.clock),
        };
        if !payments::start(work.connection(), &payment).await? {
            // Somebody else has begun one since: the next attempt sees it.
            return Err(StoreError::new(StoreErrorKind::Conflict, "payments", "start").into());
        }
        work.commit().await?;
        Ok(payment)
    }

    /// Writes what came of it, unless that has been written, and gives what is written. There is no
    /// charge when it was refused.
    async fn settle(
        &self,
        customer: &Customer,
        payment: &Payment,
        charge: Option<&Charge>,
        key: &str,
    ) -> Result<Payment, Error> {
        use OrderStatus::{Paid, Pending};
        let mut work = self.database.begin().await?;
        let status = match charge.map(|charge| charge.status) {
            None | Some(ChargeStatus::Declined) => PaymentStatus::Declined,
            Some(ChargeStatus::Captured) => {
                let order = payment.order_id;
                if orders::change_status(work.connection(), order, customer, Pending, Paid).await? {
                    PaymentStatus::Captured
                } else {
                    PaymentStatus::RefundDue
                }
            }
        };
        let provider_ref = charge.map(|charge| &*charge.id);
        if !payments::settle(work.connection(), payment.id, status, provider_ref, key).await? {
            // Somebody else was faster. Nothing of this unit of work is to be kept.
            let settled = payments::get(work.connection(), payment.id).await?;
            return settled.ok_or_else(|| {
                StoreError::new(StoreErrorKind::Corrupt, "payments", "find again").into()
            });
        }
        let settled = Payment {
            status,
            provider_ref: provider_ref.map(str::to_owned),
            settled_by: Some(key.to_owned()),
            ..payment.clone()
        };
        if status == PaymentStatus::Captured {
            let connection = work.connection();
            self.webhooks
                .captured(connection, customer, &settled)
                .await?;
        }
        work.commit().await?;
        if status == PaymentStatus::RefundDue {
            tracing::error!(
                payment = %payment.id, order = %payment.order_id, provider_ref,
                "captured for an order that is no longer pending: to be refunded"
            );
        }
        Ok(settled)
    }
}

/// What a settled payment is to the call with this key.
fn outcome(payment: Payment, key: &str) -> Result<Payment, Error> {
    match payment.status {
        PaymentStatus::Captured if payment.settled_by.as_deref() != Some(key) => {
            Err(Error::NotPending {
                order_status: OrderStatus::Paid,
            })
        }
        PaymentStatus::Declined if payment.provider_ref.is_none() => Err(Error::Refused {
            payment_id: payment.id,
        }),
        PaymentStatus::Captured | PaymentStatus::Declined => Ok(payment),
        PaymentStatus::RefundDue => Err(Error::RefundDue {
            payment_id: payment.id,
            provider_ref: payment.provider_ref,
        }),
        // Settling never leaves one so.
        PaymentStatus::Started => {
            Err(StoreError::new(StoreErrorKind::Corrupt, "payments", "settle").into())
        }
    }
}

fn not_the_total() -> Error {
    let violation = Violation::new("must be the total of the order")
        .with_code("not_the_total")
        .at_pointer(JsonPointer::root().key("amount_cents"));
    Error::Invalid {
        errors: violation.into(),
    }
}
