-- The e-mails that were sent, which in this example go to a log.
create table receipts (
    order_id    blob primary key references orders (id),
    customer    text not null,
    total_cents integer not null check (total_cents >= 0),
    sent_at     integer not null
) strict, without rowid;
