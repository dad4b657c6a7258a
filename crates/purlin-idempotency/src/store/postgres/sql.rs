use std::sync::Arc;

use purlin_store::SchemaName;
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

// `$1` is the override of the clock everywhere, and `$2` the id but for `ERASE` and `PURGE`.
// Durations are microseconds.

/// The time, which is the same everywhere in a statement, so that the planner can use an index.
const NOW: &str =
    "coalesce(timestamptz 'epoch' + $1::bigint * interval '1 microsecond', statement_timestamp())";

const EXPIRED: &str = "(r.expires_at <= {now} and (r.state = 1 or r.lease_until <= {now}))";

/// The record of the lease `($2, $3, $4)`, while its work has not ended.
const LEASED: &str = "r.id = $2 and r.attempt = $3 and r.nonce = $4 and r.state = 0
    and ({now} < r.expires_at or {now} < r.lease_until)";

/// What `Record::read` reads.
const COLUMNS: &str = "r.state, r.attempt, r.nonce, r.fingerprint, r.answer,
    r.lease_until - {now} as lease_left, r.expires_at - {now} as left";

/// An id that has a row is only read, whatever becomes of it: neither a lock nor a dead row is left.
/// A function adds one, since a statement that could write itself would take twice as long to read.
/// No row here, and none added, means that one was committed after this statement had begun.
const CLAIM: &str = "select {columns},
    case when r.id is null then {add}($1, $2, $3, $4, $5, $6, $7) end as fresh
from (select) one left join {records} r on r.id = $2";

/// Makes an expired row, or a lapsed one where `$7` allows it, the row of a new lease. One that is
/// locked belongs to a transaction that is about to end its work: it is left alone.
const TAKE_OVER: &str = "with free as (
    select r.id from {records} r
    where r.id = $2 and ({expired} or ($7 and r.state = 0 and r.lease_until <= {now}
        and (r.fingerprint is null or $4::bytea is null or r.fingerprint = $4)))
    for update skip locked)
update {records} r set
    state = 0,
    attempt = case when {now} < r.expires_at then r.attempt + 1 else 1 end,
    nonce = $3,
    fingerprint = case when {now} < r.expires_at then coalesce($4, r.fingerprint) else $4 end,
    lease_until = {now} + $5 * interval '1 microsecond',
    expires_at = {now} + $6 * interval '1 microsecond',
    answer = null
from free where r.id = free.id
returning r.attempt";

const EXTEND: &str = "update {records} r set
    lease_until = {now} + $5 * interval '1 microsecond',
    expires_at = greatest(r.expires_at, {now} + $5 * interval '1 microsecond')
where {leased}";

const COMPLETE: &str = "update {records} r set
    state = 1, fingerprint = $5, lease_until = null,
    expires_at = {now} + $6 * interval '1 microsecond', answer = $7
where {leased}";

/// Adds a completed record unless a visible one is there. An expired row is overwritten. The unique
/// index decides between several, which may take until a transaction ends that was first.
///
/// `$9` is when the transaction of the work began: another one in its place means that the work was
/// committed or rolled back already, and the record must not stand alone.
const KEEP: &str = "with seen as (select {columns} from {records} r where r.id = $2),
here as (select coalesce(now() - timestamptz 'epoch' = $9, true) as same),
kept as (
    insert into {records} as r (id, scope, state, attempt, nonce, fingerprint, expires_at, answer)
    select $2, $3, 1, $4, $5, $6, {now} + $7 * interval '1 microsecond', $8
    from here where same and not exists (select from {records} r where r.id = $2 and not {expired})
    on conflict (id) do update set
        state = 1, attempt = excluded.attempt, nonce = excluded.nonce,
        fingerprint = excluded.fingerprint, lease_until = null,
        expires_at = excluded.expires_at, answer = excluded.answer
    where {expired}
    returning 1)
select seen.*, exists (select from kept) as kept, same from here left join seen on true";

const RELEASE: &str = "delete from {records} r where {leased}";

const ABANDON: &str =
    "update {records} r set lease_until = least(r.lease_until, {now}) where {leased}";

const GET: &str = "select {columns} from {records} r where r.id = $2";

const REMOVE: &str = "delete from {records} r where r.id = $2 returning not {expired} as visible";

/// In the order of ids, so that two of them do not wait for each other.
const ERASE: &str = "with found as (
    select r.id, octet_length(r.answer) > 0 as answered from {records} r
    where r.scope = $2 and r.state = 1 and r.fingerprint is not null and {now} < r.expires_at
    order by r.id for update),
erased as (
    update {records} r set fingerprint = null, answer = ''
    where r.id = any (array (select id from found)))
select count(*) as erased from found where answered";

/// An array, since a join with so many rows as the planner expects would read the whole table.
const PURGE: &str = "delete from {records} where id = any (array (
    select r.id from {records} r where {expired}
    order by r.expires_at limit $2 for update skip locked))";

/// The snapshot of the statement may be older than its lock, so it looks once more when it has that.
/// Who finds a row needs no lock.
const BEGIN: &str = "select {columns},
    case when r.id is not null and not {expired} then null
        when pg_try_advisory_xact_lock($3) then {is_free}($2, {now}) end as free,
    now() - timestamptz 'epoch' as begun
from (select) one left join {records} r on r.id = $2";

/// The text of every statement for one schema. A clone of one is no copy.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) claim: SqlStr,
    pub(super) take_over: SqlStr,
    pub(super) extend: SqlStr,
    pub(super) complete: SqlStr,
    pub(super) keep: SqlStr,
    pub(super) release: SqlStr,
    pub(super) abandon: SqlStr,
    pub(super) get: SqlStr,
    pub(super) remove: SqlStr,
    pub(super) erase: SqlStr,
    pub(super) purge: SqlStr,
    pub(super) begin: SqlStr,
}

impl Statements {
    pub(super) fn of(schema: &SchemaName) -> Self {
        let records = format!("{}.purlin_idempotency_records", schema.quoted());
        let add = format!("{}.purlin_idempotency_add", schema.quoted());
        let is_free = format!("{}.purlin_idempotency_is_free", schema.quoted());
        let text = |sql: &str| {
            let sql = sql
                .replace("{columns}", COLUMNS)
                .replace("{leased}", LEASED)
                .replace("{expired}", EXPIRED)
                .replace("{now}", NOW)
                .replace("{records}", &records)
                .replace("{add}", &add)
                .replace("{is_free}", &is_free);
            AssertSqlSafe(Arc::<str>::from(sql)).into_sql_str()
        };
        Self {
            claim: text(CLAIM),
            take_over: text(TAKE_OVER),
            extend: text(EXTEND),
            complete: text(COMPLETE),
            keep: text(KEEP),
            release: text(RELEASE),
            abandon: text(ABANDON),
            get: text(GET),
            remove: text(REMOVE),
            erase: text(ERASE),
            purge: text(PURGE),
            begin: text(BEGIN),
        }
    }
}
