-- What the provider refuses is declined, and has no name there. SQLite cannot change a check.
create table payments_new (
    id           blob primary key,
    order_id     blob not null references orders (id),
    amount_cents integer not null check (amount_cents >= 0),
    -- started: what the provider did is not known. refund_due: captured, but the order was closed.
    status       text not null check (status in ('started', 'captured', 'declined', 'refund_due')),
    -- The Idempotency-Key of the charge, and the key of the call that wrote what came of it.
    charge_key   text not null,
    settled_by   text,
    provider_ref text,
    created_at   integer not null,
    unique (order_id, charge_key),
    check ((status = 'started') = (settled_by is null)),
    check (
        case status
            when 'started' then provider_ref is null
            when 'declined' then true
            else provider_ref is not null
        end
    )
) strict, without rowid;

insert into payments_new
select id, order_id, amount_cents, status, charge_key, settled_by, provider_ref, created_at
from payments;

drop table payments;

alter table payments_new rename to payments;

-- One charge at a time, and none after one that was captured.
create unique index payments_open on payments (order_id)
    where status in ('started', 'captured');
