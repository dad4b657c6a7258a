-- Ids are 16 bytes, times are microseconds since 1970.
create table products (
    id          blob primary key,
    name        text not null,
    price_cents integer not null check (price_cents >= 0),
    -- The last line of defence against overselling; the statement that takes stock is the first.
    stock       integer not null check (stock >= 0),
    version     integer not null,
    created_at  integer not null
) strict, without rowid;

create index products_newest on products (created_at desc, id desc);

create table orders (
    id          blob primary key,
    customer    text not null,
    status      text not null check (status in ('pending', 'paid', 'cancelled', 'refunded')),
    total_cents integer not null,
    note        text,
    created_at  integer not null
) strict, without rowid;

create index orders_newest on orders (customer, created_at desc, id desc);

create table order_items (
    order_id         blob not null references orders (id),
    position         integer not null,
    product_id       blob not null references products (id),
    quantity         integer not null check (quantity > 0),
    unit_price_cents integer not null,
    primary key (order_id, position),
    unique (order_id, product_id)
) strict, without rowid;
