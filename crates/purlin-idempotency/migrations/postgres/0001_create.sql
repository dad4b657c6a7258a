create table {schema}.purlin_idempotency_records (
    id bytea primary key,           -- 32 bytes
    scope bytea not null,           -- 16 bytes
    state smallint not null,        -- 0 in flight, 1 completed
    attempt bigint not null,
    nonce bytea not null,           -- 16 bytes
    fingerprint bytea,              -- 41 bytes; null while not known, and once erased
    lease_until timestamptz,        -- null when completed
    expires_at timestamptz not null,
    answer bytea                    -- null while in flight; empty once erased
);
-- What encodes an answer compresses it, where that is wanted.
alter table {schema}.purlin_idempotency_records alter column answer set storage external;
create index purlin_idempotency_records_expires_at
    on {schema}.purlin_idempotency_records (expires_at);
-- What can be erased, and nothing else: a claim does not write to this index.
create index purlin_idempotency_records_scope
    on {schema}.purlin_idempotency_records (scope) where state = 1 and fingerprint is not null;
-- Whether no record of the id can be seen at that moment. A volatile function looks with a snapshot of
-- its own, which is newer than that of the statement that calls it: a statement which has waited
-- for nothing but taken a lock meanwhile learns by it what was committed before it had the lock.
create function {schema}.purlin_idempotency_is_free(wanted bytea, at timestamptz) returns boolean
language plpgsql volatile as $$
begin
    return not exists (
        select from {schema}.purlin_idempotency_records r
        where r.id = wanted and (at < r.expires_at or at < r.lease_until));
end
$$;
-- Adds a record that is in flight, unless one of the id is there already. Durations are microseconds,
-- and so is the time since 1970, where it is not the server's.
create function {schema}.purlin_idempotency_add(
    at bigint, id bytea, scope bytea, nonce bytea, fingerprint bytea, lease bigint, kept bigint
) returns boolean language plpgsql volatile as $$
declare
    now timestamptz := coalesce(timestamptz 'epoch' + $1 * interval '1 microsecond', statement_timestamp());
begin
    insert into {schema}.purlin_idempotency_records
        (id, scope, state, attempt, nonce, fingerprint, lease_until, expires_at)
    values ($2, $3, 0, 1, $4, $5, now + $6 * interval '1 microsecond', now + $7 * interval '1 microsecond')
    on conflict do nothing;
    return found;
end
$$;
