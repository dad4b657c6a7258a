//! What is printed at start, to stdout.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
};

use crate::{http::CUSTOMER_HEADER, provider::ProviderUrl, service::Reconcile};

/// Says where the service listens and what to try. Each line that begins with `curl` works as it
/// stands, without further tools, when the ones before it have been run.
pub(crate) fn print(addr: SocketAddr, payments: &ProviderUrl) -> io::Result<()> {
    let url = format!("http://{addr}");
    let nightly = Reconcile::nightly();
    let nightly = nightly.cron();
    let json = "-H 'Content-Type: application/json'";
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "listening on {url}

payments go to {payments}

orders and payments are compared at {nightly}, by whoever runs jobs; now: orders reconcile

Try, one after the other: a product, an order of the newest product, its payment, all orders.

curl -s {url}/v1/products {json} -d '{{\"name\":\"Teapot\",\"price_cents\":2490,\"stock\":10}}'
curl -s {url}/v1/orders {json} -d '{{\"items\":[{{\"product_id\":\"'$(curl -s {url}/v1/products | cut -d\\\" -f6)'\",\"quantity\":2}}]}}'
curl -s {url}/v1/orders/$(curl -s {url}/v1/orders | cut -d\\\" -f6)/payments {json} -d '{{\"amount_cents\":4980}}'
curl -s {url}/v1/orders

WARNING: callers are NOT authenticated. The header {CUSTOMER_HEADER}: NAME says who is asking
(default: demo), and whoever can reach this address can say so.
"
    )?;
    out.flush()
}
