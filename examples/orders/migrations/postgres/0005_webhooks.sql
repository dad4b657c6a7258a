-- Who is told when a payment of this customer was captured.
create table {schema}.webhook_endpoints (
    id              uuid primary key,
    customer        text not null,
    url             text not null,
    secret          text not null,
    -- Signs too until then, so that a receiver can change its secret without losing a message.
    previous_secret text,
    previous_until  timestamptz,
    created_at      timestamptz not null,
    check ((previous_secret is null) = (previous_until is null))
);

create index webhook_endpoints_of on {schema}.webhook_endpoints (customer, id);

-- A message to one endpoint. The job of the same id sends it.
create table {schema}.webhook_deliveries (
    id           uuid primary key,
    endpoint_id  uuid not null references {schema}.webhook_endpoints (id),
    -- As it is signed and sent, the same in every attempt.
    payload      text not null,
    created_at   timestamptz not null,
    delivered_at timestamptz
);

create index webhook_deliveries_newest on {schema}.webhook_deliveries (endpoint_id, created_at desc, id desc);
