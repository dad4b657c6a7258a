-- Who is told when a payment of this customer was captured.
create table webhook_endpoints (
    id              blob primary key,
    customer        text not null,
    url             text not null,
    secret          text not null,
    -- Signs too until then, so that a receiver can change its secret without losing a message.
    previous_secret text,
    previous_until  integer,
    created_at      integer not null,
    check ((previous_secret is null) = (previous_until is null))
) strict, without rowid;

create index webhook_endpoints_of on webhook_endpoints (customer, id);

-- A message to one endpoint. The job of the same id sends it.
create table webhook_deliveries (
    id           blob primary key,
    endpoint_id  blob not null references webhook_endpoints (id),
    -- As it is signed and sent, the same in every attempt.
    payload      text not null,
    created_at   integer not null,
    delivered_at integer
) strict, without rowid;

create index webhook_deliveries_newest on webhook_deliveries (endpoint_id, created_at desc, id desc);
