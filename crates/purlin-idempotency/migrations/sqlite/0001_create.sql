-- Ids are 32 bytes, scopes and nonces 16, fingerprints 41; times are microseconds since 1970.
-- The table has rowids, since an answer may be much larger than what an index page holds well.
create table purlin_idempotency (
    id            blob not null primary key,
    scope         blob not null,
    attempt       integer not null,
    nonce         blob not null,
    fingerprint   blob,
    -- Null once the work is done.
    lease_until   integer,
    expires_at    integer not null,
    -- Null while the work is under way, and after it was erased.
    answer        blob,
    -- A record is there as long as its lease is live, even when it should have expired before.
    visible_until integer not null
        generated always as (max(expires_at, coalesce(lease_until, expires_at))) virtual
) strict;

create index purlin_idempotency_scope on purlin_idempotency (scope);
create index purlin_idempotency_visible on purlin_idempotency (visible_until);
