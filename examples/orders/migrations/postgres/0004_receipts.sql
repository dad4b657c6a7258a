-- The e-mails that were sent, which in this example go to a log.
create table {schema}.receipts (
    order_id    uuid primary key references {schema}.orders (id),
    customer    text not null,
    total_cents bigint not null check (total_cents >= 0),
    sent_at     timestamptz not null
);
