create table {schema}.products (
    id          uuid primary key,
    name        text not null,
    price_cents bigint not null check (price_cents >= 0),
    -- The last line of defence against overselling; the statement that takes stock is the first.
    stock       bigint not null check (stock >= 0),
    version     bigint not null,
    created_at  timestamptz not null
);

create index products_newest on {schema}.products (created_at desc, id desc);

create table {schema}.orders (
    id          uuid primary key,
    customer    text not null,
    status      text not null check (status in ('pending', 'paid', 'cancelled', 'refunded')),
    total_cents bigint not null,
    note        text,
    created_at  timestamptz not null
);

create index orders_newest on {schema}.orders (customer, created_at desc, id desc);

create table {schema}.order_items (
    order_id         uuid not null references {schema}.orders (id),
    position         bigint not null,
    product_id       uuid not null references {schema}.products (id),
    quantity         bigint not null check (quantity > 0),
    unit_price_cents bigint not null,
    primary key (order_id, position),
    unique (order_id, product_id)
);
