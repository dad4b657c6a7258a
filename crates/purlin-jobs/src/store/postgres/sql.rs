mod flows;
mod notes;

use std::sync::Arc;

use purlin_store::SchemaName;
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use self::flows::{FLOW, IF_OWNED, LINK, LOWEST, SEED};
use crate::Priority;

// `$1` is the override of the clock wherever `{now}` stands. Other times are intervals.
//
// Three habits keep every plan an index scan, also one that is made for any parameters and a table of
// millions: rows are found by `= any (array (…))` and not by a join, which the planner takes
// for one with as many rows as a table has; a `limit` with a parameter stands around one with a
// number, since for the first the planner expects a tenth of the table; and what was unnested is
// joined from its own side.
//
// Whoever changes a job owns the place where it stands first: its row of `ready` or `scheduled`,
// deleted, or its lease, locked. Only then he touches its row of `jobs`, and last its unique key. A snapshot
// may be older than a lock that was waited for; what is read under a lock of its own is not.

/// The time, which is the same everywhere in a statement, so that the planner can use an index.
const NOW: &str =
    "coalesce(timestamptz 'epoch' + $1::bigint * interval '1 microsecond', statement_timestamp())";

/// The time in microseconds since 1970, later the later it is asked for: for rates, under a lock.
const CLOCK: &str =
    "coalesce($1::bigint, (extract(epoch from clock_timestamp()) * 1000000)::bigint)";

/// Admits jobs of the groups in `stirred`. All of that is read before, so that what has made it is done.
const ADMIT: &str = "admitted as materialized (
    select a.* from (select array (select s.group_name from stirred s) as names) n
    cross join lateral {admit}(n.names, $1::bigint, {window}, '{channel}') a
    where cardinality(n.names) > 0)";

/// What was admitted, and in how many microseconds there will be more.
const ADMITTED: &str = "coalesce((select a.admitted from admitted a), 0) as admitted,
    (select a.due_in from admitted a) as due_in";

/// What no attempt changes of a job.
const FIXED: &str =
    "id, enqueued_at, run_at, timeout, version, priority, max_attempts, unique_span, notes,
    flow, queue, kind, payload, traceparent, unique_key, group_name, group_limits";

/// What changes when its work goes wrong.
const TOLD: &str = "failures, crashes, failed_at, error";

/// Adds jobs unless one of the id is there, each a microsecond after the one before. `{conflict}` stands
/// only where a violation of the key cannot be answered by trying again: it costs a record of the log for
/// each job.
const ENQUEUE: &str = "with entry as (
    select e.*, {now} + (e.position - 1) * interval '1 microsecond' as enqueued_at,
        coalesce(timestamptz 'epoch' + e.at, {now} + e.after) as run_at
    from unnest($2::uuid[], $3::text[], $4::smallint[], $5::bytea[], $6::text[], $7::text[],
        $8::smallint[], $9::smallint[], $10::bigint[], $11::interval[], $12::interval[],
        $13::bytea[], $14::smallint[], $15::smallint[], $18::text[], $19::integer[],
        $20::bigint[], $21::integer[]) with ordinality as e(id, kind, version, payload,
        traceparent, queue, priority, max_attempts, timeout, after, at, unique_key, unique_span,
        flow, group_name, at_most, every, burst, position)),
added as (
    insert into {jobs} (id, enqueued_at, run_at, timeout, version, priority, max_attempts,
        unique_span, flow, queue, kind, payload, traceparent, unique_key, group_name, group_limits)
    select id, enqueued_at, case when run_at > {now} then run_at end, timeout, version, priority,
        max_attempts, unique_span, flow, queue, kind, payload, traceparent, unique_key, group_name,
        case when group_name is not null then array[at_most, every, burst]::bigint[] end
    from entry where not exists (select from {jobs} j where j.id = entry.id)
        and not exists (select from {finished} f where f.id = entry.id)
    order by position
    {conflict}
    returning id, queue, kind, priority, enqueued_at, run_at, group_name,
        coalesce(flow, 0) & 1 = 1 as is_blocked),
placed as (
    insert into {ready} (queue, rank, id, kind)
    select queue, enqueued_at + priority * {step}, id, kind from added
    where run_at is null and group_name is null and not is_blocked
    returning rank),
later as (
    insert into {scheduled} (id, run_at)
    select id, run_at from added where run_at is not null and not is_blocked),
lined as (
    insert into {held} (group_name, rank, id)
    select group_name, enqueued_at + priority * {step}, id from added
    where run_at is null and group_name is not null and not is_blocked
    returning group_name),
declared as (
    insert into {mail} (group_name, what, at_most, every, burst)
    select distinct on (d.group_name) d.group_name, 1, d.at_most, d.every, d.burst
    from unnest($2::uuid[], $18::text[], $19::integer[], $20::bigint[], $21::integer[])
        with ordinality as d(id, group_name, at_most, every, burst, position)
    where cardinality($18::text[]) > 0 and d.group_name is not null
        and exists (select from added a where a.id = d.id)
    order by d.group_name, d.position desc
    returning group_name),
stirred as (select group_name from declared union select group_name from lined){admitting}
select array (select id from added) as ids, {admission},
    (select min(rank) from placed) - timestamptz 'epoch' as lowest,
    case when exists (select from added) then pg_notify($16, $17)::text end as told";

/// Which of these ids are there.
const KNOWN: &str = "select id from {jobs} where id = any ($1)
    union all select id from {finished} where id = any ($1)";

/// Takes unique keys that nobody holds. It waits for who has taken or freed one and not committed yet.
const TAKE_KEYS: &str = "insert into {unique} (job, key, until)
    select e.job, e.key, {now} + e.period
    from unnest($2::uuid[], $3::bytea[], $4::interval[]) as e(job, key, period)
    order by e.key
    on conflict (key) do nothing
    returning job";

const HOLDERS: &str = "select u.key, u.job, u.until <= {now} as is_over
    from {unique} u where u.key = any ($2)";

const DROP_KEYS: &str = "delete from {unique} u where u.key = any ($2) and u.until <= {now}";

/// Where the job `$2` waits, if it is ready. One that has never failed stands where it was put at first,
/// one with a slot where that says.
const SPOT: &str = "job as materialized (
    select j.id, j.queue, coalesce(
        (select s.rank from {slots} s where s.id = j.id and j.group_name is not null),
        j.enqueued_at + j.priority * {step}) as rank
    from {jobs} j where j.id = $2),
exact as materialized (
    select r.ctid from job join {ready} r on r.queue = job.queue and r.rank = job.rank
    where r.id = $2),
spot as materialized (
    select ctid from exact
    union all
    select r.ctid from {ready} r where r.id = $2 and exists (select from job)
        and not exists (select from exact)
        and not exists (select from {scheduled} s where s.id = $2)
        and not exists (select from {children} c where c.id = $2 and c.waits_for > 0)
        and not exists (select from {held} h where h.id = $2)
        and not exists (select from {leases} l where $2 = any (l.ids))),
unready as (
    delete from {ready} where ctid = any (array (select ctid from spot)) returning id),
unscheduled as (
    delete from {scheduled} s where s.id = $2 and exists (select from job) returning s.id),
unheld as (
    delete from {held} h where h.id = $2 and exists (select from job) returning h.id),
owned as (
    select id from unready union all select id from unscheduled union all select id from unheld)";

/// Puts the job `$3` in the place of `$2`, if that waits. `has_moved`: it was on its way, or has lost the
/// key `$4`.
const REPLACE: &str = "with {spot},
gone as (
    delete from {jobs} j where j.id = $2 and exists (select from owned)
    returning j.id, j.notes, j.group_name),
{forgotten},
{posted},
moved as (
    update {unique} u set job = $3, until = {now} + $5::interval
    where u.key = $4 and u.job = $2 and exists (select from owned)),
children as materialized (
    select c.id from {children} c
    where c.id = any (array (select e.child from {edges} e where e.parent = $2))
    order by c.id for update),
handed_on as (
    update {edges} set parent = $3
    where parent = $2 and child = any (array (select id from children))
        and exists (select from owned)
    returning child)
select exists (select from owned) as done, exists (select from handed_on) as has_children,
    exists (select from posted) as is_stirred,
    exists (select from spot)
        or exists (select from {held} h where h.id = $2)
        or exists (select from {scheduled} s where s.id = $2)
        or not exists (select from {unique} u where u.key = $4 and u.job = $2) as has_moved";

const JOIN: &str = "insert into {workers} (id, expires_at)
    values ($2, {now} + $3::interval)
    on conflict (id) do update set expires_at = excluded.expires_at";

/// A second claim of one lease reads what the first was given, or waits for it and then fails on its
/// key. The worker's row is locked so that it is not rescued before the lease can be seen.
const CLAIM: &str = "with alive as materialized (
    select pg_advisory_xact_lock($8) from {workers} w where w.id = $2 and {now} < w.expires_at
    for key share of w),
before as materialized (
    select l.ids from {leases} l where l.id = $3 and exists (select from alive)),
pace as materialized (
    select q.every, q.burst, q.tat from {queues} q
    where q.name = $4 and q.every is not null and exists (select from alive)
        and not exists (select from before) and not q.is_paused
    for update of q),
taken as (
    delete from {ready} where ctid = any (array (
        select first.ctid from (
            select r.ctid from {ready} r
            where r.queue = $4 and r.kind = any ($5)
                and r.rank >= coalesce(timestamptz 'epoch' + $6::interval, '-infinity')
                and exists (select from alive) and not exists (select from before)
                and not exists (select from {queues} q where q.name = $4 and q.is_paused)
            order by r.rank limit 1000 for update of r skip locked) first
        limit least($7, (
            select greatest(p.burst - (greatest(p.tat - {clock}, 0) + p.every - 1) / p.every, 0)
            from pace p))))
    returning id, rank),
leased as (
    insert into {leases} (id, worker, ids)
    select $3, $2, array_agg(id order by rank) from taken having count(*) > 0
    returning ids),
found as materialized (
    select o.position, j.*
    from unnest((select ids from before union all select ids from leased))
        with ordinality as o(job, position)
    join {jobs} j on j.id = o.job),
paced as (
    update {queues} q
    set tat = greatest(q.tat, {clock}) + q.every * (select count(*) from taken)
    where q.name = $4 and exists (select from pace) and exists (select from taken)),
begun as (
    update {slots} set is_reserved = false
    where id = any (array (select id from found where group_name is not null)) and is_reserved
    returning group_name),
told as (
    insert into {mail} (group_name, what, starts, started_at)
    select group_name, 2, count(*), {clock} from begun group by group_name),
started as (
    delete from {unique}
    where key = any (array (select unique_key from found where unique_span = 0))
        and job = any (array (select id from found where unique_span = 0)))
select exists (select from alive) as is_alive,
    (select max(rank) from taken) - timestamptz 'epoch' as highest,
    (select true from {mail} m order by m.seq limit 1) is not null
        or exists (select from begun) as is_stirred,
    (select greatest(p.tat, {clock}) - {clock}
        + p.every * ((select count(*) from taken) + 1 - p.burst) from pace p) as more_in,
    f.id, f.kind, f.version, f.payload, f.traceparent, f.failures, f.crashes, f.max_attempts,
    f.timeout, f.enqueued_at - timestamptz 'epoch' as enqueued_at,
    case when f.flow & 1 > 0 then (
        select array[c.done, c.dead, c.cancelled] from {children} c where c.id = f.id)
    end as parents
from (select) one left join found f on true
order by f.position";

/// Deletes the lease `{lease}` unless it has a job in `{rest}`. Somebody who joined its work to a
/// transaction of his own is not waited for.
const DROP_LEASE: &str = "dropped as (
    delete from {leases} where id = any (array (
        select l.id from {leases} l where l.id = {lease} and not exists (
            select from {jobs} j where j.id = any (array ({rest})))
        for update skip locked))
    returning id)";

const SETTLE_DONE: &str = "with recursive held as materialized (
    select l.ids from {leases} l where l.id = $2 for no key update),
gone as (
    delete from {jobs} where id = any (array (
        select unnest($3::uuid[]) intersect select unnest(held.ids) from held))
    returning id, unique_key, unique_span, notes, flow, group_name),
{forgotten},
freed as (
    delete from {unique}
    where key = any (array (select unique_key from gone where unique_span < 2))
        and job = any (array (select id from gone where unique_span < 2))),
{drop_lease},
closed as materialized (select id, flow, 5 as state from gone where flow is not null),
{flow},
emptied as (
    delete from {slots}
    where id = any (array (select id from gone where group_name is not null))
    returning group_name),
stirred as (
    select group_name from emptied union select group_name from begun_in_line),
{admitting}
select array (select id from gone) as ids, {lowest}, {admission},
    case when exists (select from begun) then pg_notify($4, '')::text end as told";

const REST_OF_DONE: &str = "select unnest(held.ids) from held except select id from gone";

/// What becomes of jobs that were owned by this statement. `found` has their columns as they shall be,
/// and `state`: 3 dead, 4 cancelled, 5 done; null if they shall wait again, for `after` if that is not null.
/// Then what that means to their children.
const MOVED: &str = "gone as (
    delete from {jobs} where id = any (array (select id from found where state is not null))),
forgotten_notes as (
    delete from {notes} where job = any (array (
        select id from found where state = 5 and notes is not null))),
ended as (
    insert into {finished} ({fixed}, {told}, state, ended_at)
    select {fixed}, {told}, state, {now} from found where state in (3, 4)),
freed as (
    delete from {unique}
    where key = any (array (
            select unique_key from found where state is not null and unique_span < 2))
        and job = any (array (select id from found where state is not null and unique_span < 2))),
changed as (
    update {jobs} j set failures = f.failures, crashes = f.crashes,
        failed_at = f.failed_at, error = f.error
    from found f where j.id = f.id and f.state is null
        and (j.failures, j.crashes) is distinct from (f.failures, f.crashes)),
placed as (
    insert into {ready} (queue, rank, id, kind)
    select queue, enqueued_at + priority * {step}, id, kind
    from found where state is null and after is null and group_name is null),
lined as (
    insert into {held} (group_name, rank, id)
    select group_name, enqueued_at + priority * {step}, id
    from found where state is null and after is null and group_name is not null
    returning group_name),
emptied as (
    delete from {slots}
    where id = any (array (select id from found where group_name is not null))
    returning group_name),
later as (
    insert into {scheduled} (id, run_at)
    select id, {now} + after
    from found where state is null and after is not null),
closed as materialized (
    select id, flow, state from found where flow is not null and state is not null),
{flow},
stirred as (
    select group_name from found where group_name is not null
    union select group_name from lined union select group_name from emptied
    union select group_name from begun_in_line),
{admitting}";

/// Outcomes: -1 done with a result, 0 done, 1 retry, 2 discard, 3 cancelled, 4 snooze, 5 release, 6 await. Who
/// signals locks the row of the job too: how many have come is read under that lock.
const SETTLE: &str = "with recursive held as materialized (
    select l.ids from {leases} l where l.id = $2 for no key update),
said as materialized (
    select s.* from unnest($3::uuid[], $4::smallint[], $5::interval[], $6::text[],
            $8::integer[], $9::bytea[], $10::interval[])
        as s(job, outcome, after, reason, signals, result, ttl)
    where s.job = any (array (select unnest(held.ids) from held))),
found as materialized (
    select {fixed}, outcome, crashes,
        case when outcome = 6 and notes > signals then null else after end as after,
        least(failures + (outcome in (1, 2))::integer, 32767)::smallint as failures,
        case when outcome in (1, 2) then {now} else failed_at end as failed_at,
        case when outcome in (1, 2) then reason else error end as error,
        case when outcome <= 0 then 5 when outcome = 2 then 3
            when outcome = 3 or is_cancelled then 4 end as state
    from said join {jobs} j on j.id = said.job
    for update of j),
{moved},
kept as (
    insert into {results} (job, expires_at, value)
    select s.job, {now} + s.ttl, s.result from said s
    where s.outcome = -1 and s.job = any (array (select id from found))
    on conflict (job) do update set expires_at = excluded.expires_at, value = excluded.value),
{drop_lease},
shrunk as (
    update {leases} set ids = array ({rest})
    where id = $2 and exists (select from found where outcome > 0)
        and not exists (select from dropped))
select array (select id from found) as ids, {lowest}, {admission},
    case when exists (select from found where state is null) or exists (select from begun)
        then pg_notify($7, '')::text end as told";

const REST_OF_SETTLED: &str = "select unnest(held.ids) from held except select id from found";

/// Whoever has this lock keeps the job: a settlement and a rescue of it wait, or leave it out.
const LOCK_JOB: &str = "select j.id from {jobs} j where j.id = $2
    and exists (select from {leases} l where l.id = $1 and $2 = any (l.ids)) for update of j";

/// With a snapshot that is newer than the lock. The lease is locked too for those above `read
/// committed`, whose snapshot is not: they fail if it has changed.
const COMPLETE_IN: &str = "with recursive still as materialized (
    select l.id from {leases} l where l.id = $2 and $3 = any (l.ids) for key share skip locked),
gone as (
    delete from {jobs} j where j.id = $3 and exists (select from still)
    returning j.id, j.unique_key, j.unique_span, j.notes, j.flow, j.group_name),
{forgotten},
{posted},
freed as (
    delete from {unique} u using gone g
    where u.key = g.unique_key and u.job = g.id and g.unique_span < 2),
closed as materialized (select id, flow, 5 as state from gone where flow is not null),
{flow}
select exists (select from gone) as done, {lowest},
    case when exists (select from begun) or exists (select from posted)
        then pg_notify($4, '')::text end as told";

/// Drops leases too whose last jobs were done by two settlements at once, or in a transaction.
const HEARTBEAT: &str = "with alive as (
    update {workers} w set expires_at = {now} + $3::interval
    where w.id = $2 and {now} < w.expires_at returning w.id),
dropped as (
    delete from {leases} where id = any (array (
        select l.id from {leases} l where l.worker = $2
            and not exists (select from {jobs} j where j.id = any (l.ids))
        for update skip locked)))
select exists (select from alive) as is_alive, array (
    select j.id from {jobs} j where j.is_cancelled and exists (
        select from {leases} l where l.worker = $2 and j.id = any (l.ids))) as ids";

const FORGET: &str = "delete from {workers} where id = $1";

/// Of a worker that is not known any more, so that no claim of it can be under way.
const GIVE_BACK: &str = "with recursive held as (
    delete from {leases} l where l.worker = $2 returning l.ids),
found as materialized (
    select {fixed}, {told}, null::interval as after, case when is_cancelled then 4 end as state
    from {jobs} j where j.id = any (array (select unnest(held.ids) from held)) for update),
{moved}
select {admission},
    case when exists (select from found) then pg_notify($3, '')::text end as told";

const IS_ANY_DEAD: &str =
    "select exists (select from {workers} w where w.expires_at <= {now}) as is_any";

/// Nobody is alive again after this. It waits for claims that are under way, so that who looks for their
/// leases after it has committed sees them.
const MARK_DEAD: &str = "update {workers} set expires_at = '-infinity' where id = any (array (
    select w.id from {workers} w where w.expires_at <= {now} and w.expires_at > '-infinity'
    order by w.expires_at, w.id limit $2 for update))";

/// Settlements are waited for. A job whose work is about to be committed is left, with its lease and
/// its worker, for the next time.
const RESCUE: &str = "with recursive marked as materialized (
    select w.id from {workers} w where w.expires_at = '-infinity'
    order by w.id limit $2 for update),
held as materialized (
    select l.id, l.ids from {leases} l where l.worker = any (array (select id from marked))
    order by l.id for no key update),
found as materialized (
    select {fixed}, failures, least(crashes + 1, 32767)::smallint as crashes,
        case when dies then {now} else failed_at end as failed_at,
        case when dies then $4 else error end as error, null::interval as after,
        case when is_cancelled then 4 when dies then 3 end as state
    from (
        select j.*, crashes + 1 >= $3 and not is_cancelled as dies from {jobs} j
        where j.id = any (array (select unnest(held.ids) from held))
        for update skip locked) j),
{moved},
rest as materialized (
    select held.id, array (select unnest(held.ids) except select found.id from found) as ids
    from held),
dropped as (
    delete from {leases} where id = any (array (
        select l.id from rest join {leases} l on l.id = rest.id
        where not exists (select from {jobs} j where j.id = any (rest.ids))
        for update of l skip locked))
    returning id),
shrunk as (
    update {leases} l set ids = rest.ids from rest
    where l.id = any (array (
            select id from rest except select id from dropped))
        and l.id = rest.id),
forgotten as (
    delete from {workers} w where w.id = any (array (select id from marked)) and not exists (
        select from {leases} l
        where l.worker = w.id and l.id <> all (array (select id from dropped)))
    returning w.id)
select (select count(*) from forgotten) as workers,
    (select count(*) from found where state is null) as ready,
    (select count(*) from found where state = 3) as dead,
    (select count(*) from marked) > (select count(*) from forgotten) as is_any_left, {admission},
    case when exists (select from found where state is null) or exists (select from begun)
        then pg_notify($5, '')::text end as told";

const PROMOTE: &str = "with due as (
    delete from {scheduled} where ctid = any (array (
        select first.ctid from (
            select s.ctid from {scheduled} s where s.run_at <= {now}
            order by s.run_at limit 1000 for update skip locked) first
        limit $2))
    returning id, run_at),
found as materialized (
    select j.queue, d.run_at + j.priority * {step} as rank, j.id, j.kind, j.group_name, d.run_at
    from due d join {jobs} j on j.id = d.id),
placed as (
    insert into {ready} (queue, rank, id, kind)
    select queue, rank, id, kind from found where group_name is null
    order by run_at
    returning 1),
lined as (
    insert into {held} (group_name, rank, id)
    select group_name, rank, id from found where group_name is not null
    returning group_name),
stirred as materialized (
    select group_name from lined
    union select name from (
        select g.name from {groups} g where g.due_at <= {clock}
        order by g.due_at limit 1000) late
    union select group_name from (
        select m.group_name from {mail} m order by m.seq limit 1000) told),
{admitting}
select (select count(*) from due) as moved, (select count(*) from placed) as placed, {admission},
    least(
        (select min(s.run_at) from {scheduled} s where s.run_at > {now}) - {now},
        (select greatest(g.due_at - {clock}, 0) from {groups} g
            where g.due_at is not null and g.name <> all (array (select group_name from stirred))
            order by g.due_at limit 1) * interval '1 microsecond') as next_in,
    case when exists (select from placed) then pg_notify($3, '')::text end as told";

/// A job that runs is locked before its lease is looked at once more: it may have come to its end.
const CANCEL: &str = "with recursive {spot},
found as materialized (
    select {fixed}, {told}, null::interval as after, 4 as state
    from {jobs} j where j.id = $2 and exists (select from owned)),
{moved},
running as materialized (
    select j.id from {jobs} j where j.id = $2 and not exists (select from owned)
        and exists (select from {leases} l where $2 = any (l.ids)) for update),
lease as materialized (
    select l.id from {leases} l where $2 = any (l.ids) and exists (select from running)
    for key share skip locked),
flagged as (
    update {jobs} set is_cancelled = true
    where id = $2 and exists (select from lease) returning id)
select exists (select from job) as is_known,
    exists (select from owned) or exists (select from flagged)
        or exists (select from lost where id = $2) as done, {lowest}, {admission},
    case when exists (select from begun) then pg_notify($3, '')::text end as told";

const REPLAY: &str = "with dead as materialized (
    select f.* from {finished} f where f.id = $2 and f.state = 3 for update),
over as (
    delete from {unique} u using dead d
    where u.key = d.unique_key and d.unique_span = 1 and u.until <= {now} returning u.key),
taken as (
    insert into {unique} (key, job)
    select unique_key, id from dead
    where unique_span = 1 and (select count(*) from over) >= 0
    on conflict (key) do nothing returning key),
back as (
    delete from {finished} f where f.id = any (array (
        select id from dead
        where unique_span is distinct from 1 or exists (select from taken)))
    returning {fixed}, failed_at, error),
added as (
    insert into {jobs} ({fixed}, failed_at, error) select {fixed}, failed_at, error from back
    returning id, queue, priority, kind, group_name),
soon as (delete from {scheduled} s where s.id = $2 returning s.id),
waiting as materialized (
    select id, queue, priority, kind, group_name from added
    union all
    select j.id, j.queue, j.priority, j.kind, j.group_name from {jobs} j
    where j.id = any (array (select id from soon))),
placed as (
    insert into {ready} (queue, rank, id, kind)
    select queue, {now} + priority * {step}, id, kind from waiting where group_name is null
    returning id),
stirred as (
    insert into {held} (group_name, rank, id)
    select group_name, {now} + priority * {step}, id from waiting where group_name is not null
    returning group_name),
{admitting}
select exists (select from waiting) as done, {admission},
    exists (select from dead) and not exists (select from back) as is_taken,
    case when exists (select from placed) then pg_notify($3, '')::text end as told";

/// What `row::view` reads of jobs and finished jobs in `seen`.
const VIEW: &str =
    "select v.id, v.kind, v.version, v.queue, v.state, v.payload, v.failures, v.crashes,
    v.max_attempts, v.error, v.failed_at - timestamptz 'epoch' as failed_at,
    v.enqueued_at - timestamptz 'epoch' as enqueued_at,
    coalesce(s.run_at, coalesce(r.rank, h.rank) - v.priority * {step}) - timestamptz 'epoch' as run_at,
    v.ended_at - timestamptz 'epoch' as ended_at,
    c.waits_for, array[c.done, c.dead, c.cancelled] as parents
from seen v
left join {scheduled} s on s.id = v.id
left join {held} h on h.id = v.id
left join {ready} r on v.state = 0 and r.id = v.id
left join {children} c on v.flow & 1 > 0 and c.id = v.id
order by v.id";

/// The state of a job that has not ended.
const WHERE: &str = "case
    when exists (select from {scheduled} s where s.id = j.id) then 1
    when exists (select from {held} h where h.id = j.id) then 5
    when j.flow & 1 > 0
        and exists (select from {children} c where c.id = j.id and c.waits_for > 0) then 6
    when j.id in (select unnest(l.ids) from {leases} l) then 2
    else 0 end";

const GET: &str = "with seen as materialized (
    select {fixed}, {told}, {where} as state, null::timestamptz as ended_at
    from {jobs} j where j.id = $1
    union all
    select {fixed}, {told}, state, ended_at from {finished} where id = $1)
{view}";

const LIST: &str = "with seen as materialized (
    (select * from (
        select {fixed}, {told}, {where} as state, null::timestamptz as ended_at
        from {jobs} j where ($1::uuid is null or j.id > $1)
            and ($2::text is null or j.queue = $2) and ($3::text is null or j.kind = $3)) waiting
    where $4::smallint is null or state = $4
    order by id limit $5)
    union all
    (select {fixed}, {told}, state, ended_at
    from {finished} where ($1::uuid is null or id > $1)
        and ($2::text is null or queue = $2) and ($3::text is null or kind = $3)
        and ($4::smallint is null or state = $4)
    order by id limit $5)
    order by id limit $5)
{view}";

/// What is neither ready, scheduled, held nor blocked is leased. Counted once each: at a higher cost the server
/// would compile the plan, which takes longer than to run it.
const COUNTS: &str = "with waiting as materialized (
    select
        (select count(*) from {jobs} j where $2::text is null or j.queue = $2) as jobs,
        (select count(*) from {ready} r where $2::text is null or r.queue = $2) as ready,
        (select count(*) from {scheduled} s where $2::text is null or exists (
            select from {jobs} j where j.id = s.id and j.queue = $2)) as scheduled,
        (select count(*) from {children} c where c.waits_for > 0 and ($2::text is null or exists (
            select from {jobs} j where j.id = c.id and j.queue = $2))) as blocked,
        (select count(*) from {held} h where $2::text is null or exists (
            select from {jobs} j where j.id = h.id and j.queue = $2)) as held),
finished as (
    select count(*) filter (where f.state = 3) as dead,
        count(*) filter (where f.state = 4) as cancelled
    from {finished} f where $2::text is null or f.queue = $2),
oldest as materialized (
    select r.id, r.rank from {ready} r where $2::text is null or r.queue = $2
    order by r.rank, r.id limit 1)
select w.ready, w.scheduled, w.blocked, w.held,
    w.jobs - w.ready - w.scheduled - w.blocked - w.held as leased, f.*,
    (select {now} - (o.rank - j.priority * {step}) from oldest o join {jobs} j on j.id = o.id)
        as oldest_ready
from waiting w, finished f";

const PAUSE: &str = "insert into {queues} as q (name, is_paused) values ($1, true)
    on conflict (name) do update set is_paused = true where not q.is_paused";

const RESUME: &str = "with resumed as (
    update {queues} set is_paused = false where name = $1 and is_paused returning name)
select pg_notify($2, name)::text as told from resumed";

const NEXT_IN: &str = "select least(
        (select min(s.run_at) from {scheduled} s) - {now},
        (select g.due_at - {clock} from {groups} g where g.due_at is not null
            order by g.due_at limit 1) * interval '1 microsecond') as next_in";

/// The groups of jobs in `gone` lose their slots, and are told to look when that is committed: who joins a
/// transaction of somebody else's does not make others wait for its end.
const POSTED: &str = "emptied as (
    delete from {slots}
    where id = any (array (select id from gone where group_name is not null))
    returning group_name),
posted as (
    insert into {mail} (group_name, what)
    select group_name, 0 from gone where group_name is not null
    union select group_name, 0 from emptied
    {posted_too}
    returning group_name)";

/// Admits jobs of groups that were told something.
const OPEN_MAIL: &str = "with stirred as materialized (
    select group_name from (select m.group_name from {mail} m order by m.seq limit 1000) told),
{admitting}
select {admission}";

const LIMIT_GROUP: &str = "with stirred as (
    insert into {mail} (group_name, what, at_most, every, burst) values ($2, $3, $4, $5, $6)
    returning group_name),
{admitting}
select {admission}";

const GROUP: &str = "select g.at_most, g.every, g.burst, coalesce(g.is_set, false) as is_set,
    g.name is not null as is_known, h.held, s.admitted
from (select count(*) as held from {held} h where h.group_name = $1) h
cross join (select count(*) as admitted from {slots} s where s.group_name = $1) s
left join {groups} g on g.name = $1";

const LIMIT_QUEUE: &str = "with limited as (
    insert into {queues} as q (name, is_paused, every, burst) values ($1, false, $2, $3)
    on conflict (name) do update set every = excluded.every, burst = excluded.burst,
        tat = case when excluded.every is not null then q.tat end
    returning name)
select pg_notify('{channel}', name)::text as told from limited";

/// Whoever still waits for one of these waits for one that is dead.
const PURGE_FINISHED: &str = "with recursive gone as (
    delete from {finished} where id = any (array (
        select first.id from (
            select f.id from {finished} f where f.ended_at <= {now} - $2::interval
            order by f.ended_at limit 1000 for update skip locked) first
        limit $3))
    returning id, notes, flow),
{forgotten},
closed as materialized (select id, flow, 4 as state from gone where flow is not null),
{flow},
stirred as (select group_name from begun_in_line),
{admitting},
forgotten as (
    delete from {children} where id = any (array (select id from closed where flow & 1 > 0)))
select (select count(*) from gone) as purged, {lowest}, {admission},
    case when exists (select from begun) then pg_notify($4, '')::text end as told";

const PURGE_KEYS: &str = "delete from {unique} where key = any (array (
    select first.key from (
        select u.key from {unique} u where u.until <= {now}
        order by u.until limit 1000 for update skip locked) first
    limit $2))";

const PUT_SCHEDULE: &str = "insert into {schedules} as s (name, cron, time_zone, since, is_paused)
    values ($2, $3, $4, {now}, false)
    on conflict (name) do update set cron = excluded.cron, time_zone = excluded.time_zone,
        since = greatest(s.since, excluded.since)
    where (s.cron, s.time_zone) is distinct from (excluded.cron, excluded.time_zone)";

const LIST_SCHEDULES: &str =
    "select {now} - timestamptz 'epoch' as now, s.name, s.cron, s.time_zone,
    s.since - timestamptz 'epoch' as since, s.last_at - timestamptz 'epoch' as last_at, s.is_paused
from (select) one left join {schedules} s on true
order by s.name collate \"C\"";

const FIRE_SCHEDULE: &str = "update {schedules} set since = timestamptz 'epoch' + $4,
    last_at = case when $5 then timestamptz 'epoch' + $4 else last_at end
where name = $2 and since = timestamptz 'epoch' + $3::interval
    and $3 < $4::interval and timestamptz 'epoch' + $4 <= {now} and not is_paused
returning name";

const PAUSE_SCHEDULE: &str =
    "update {schedules} set is_paused = true where name = $1 and not is_paused";

const RESUME_SCHEDULE: &str =
    "update {schedules} set is_paused = false, since = greatest(since, {now})
where name = $2 and is_paused";

const REMOVE_SCHEDULE: &str = "delete from {schedules} where name = $1";

/// The most rows that one statement purges or promotes: the numbers in the texts above.
pub(super) const BATCH: u32 = 1_000;

/// The text of every statement for one schema. A clone of one is no copy.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) enqueue: SqlStr,
    pub(super) enqueue_in: SqlStr,
    pub(super) link: SqlStr,
    pub(super) known: SqlStr,
    pub(super) take_keys: SqlStr,
    pub(super) holders: SqlStr,
    pub(super) drop_keys: SqlStr,
    pub(super) replace: SqlStr,
    pub(super) join: SqlStr,
    pub(super) claim: SqlStr,
    pub(super) settle_done: SqlStr,
    pub(super) settle: SqlStr,
    pub(super) lock_job: SqlStr,
    pub(super) complete_in: SqlStr,
    pub(super) heartbeat: SqlStr,
    pub(super) forget: SqlStr,
    pub(super) give_back: SqlStr,
    pub(super) is_any_dead: SqlStr,
    pub(super) mark_dead: SqlStr,
    pub(super) rescue: SqlStr,
    pub(super) promote: SqlStr,
    pub(super) next_in: SqlStr,
    pub(super) cancel: SqlStr,
    pub(super) replay: SqlStr,
    pub(super) get: SqlStr,
    pub(super) list: SqlStr,
    pub(super) counts: SqlStr,
    pub(super) pause: SqlStr,
    pub(super) resume: SqlStr,
    pub(super) purge_finished: SqlStr,
    pub(super) purge_keys: SqlStr,
    pub(super) put_schedule: SqlStr,
    pub(super) list_schedules: SqlStr,
    pub(super) fire_schedule: SqlStr,
    pub(super) pause_schedule: SqlStr,
    pub(super) resume_schedule: SqlStr,
    pub(super) remove_schedule: SqlStr,
    pub(super) open_mail: SqlStr,
    pub(super) limit_group: SqlStr,
    pub(super) group: SqlStr,
    pub(super) limit_queue: SqlStr,
    pub(super) purge_results: SqlStr,
    pub(super) purge_notes: SqlStr,
    pub(super) note: SqlStr,
    pub(super) report: SqlStr,
    pub(super) notes: SqlStr,
    pub(super) lock_to_signal: SqlStr,
    pub(super) signal: SqlStr,
    pub(super) result: SqlStr,
    pub(super) keep_in: SqlStr,
}

impl Statements {
    pub(super) fn of(schema: &SchemaName, channel: &str, window: u32) -> Self {
        let tables = [
            "jobs",
            "ready",
            "scheduled",
            "leases",
            "workers",
            "unique",
            "finished",
            "queues",
            "children",
            "edges",
            "schedules",
            "held",
            "slots",
            "groups",
            "mail",
            "admit",
            "notes",
            "results",
        ]
        .map(|table| {
            let name = format!("{}.purlin_jobs_{table}", schema.quoted());
            (format!("{{{table}}}"), name)
        });
        let step = format!("interval '{} seconds'", Priority::STEP.as_secs());
        let channel = channel.replace('\'', "''");
        let text = |sql: &str| {
            // A fragment stands before those that it holds.
            let mut sql = sql
                .replace("{spot}", SPOT)
                .replace("{moved}", MOVED)
                .replace("{flow}", FLOW)
                .replace("{seed}", "")
                .replace("{if_owned}", "")
                .replace("{lowest}", LOWEST)
                .replace("{posted}", POSTED)
                .replace("{posted_too}", "")
                .replace("{admitting}", ADMIT)
                .replace("{admission}", ADMITTED)
                .replace("{window}", &window.to_string())
                .replace("{channel}", &channel)
                .replace("{forgotten}", notes::FORGOTTEN)
                .replace("{view}", VIEW)
                .replace("{where}", WHERE)
                .replace("{fixed}", FIXED)
                .replace("{told}", TOLD)
                .replace("{now}", NOW)
                .replace("{clock}", CLOCK)
                .replace("{step}", &step);
            for (placeholder, table) in &tables {
                sql = sql.replace(placeholder, table);
            }
            AssertSqlSafe(Arc::<str>::from(sql)).into_sql_str()
        };
        let settling = |sql: &str, lease: &str, rest: &str| {
            let drop_lease = DROP_LEASE.replace("{lease}", lease);
            let sql = sql.replace("{drop_lease}", &drop_lease);
            text(&sql.replace("{rest}", rest))
        };
        let flow = FLOW.replace("{seed}", SEED).replace("{if_owned}", IF_OWNED);
        let moved = MOVED.replace("{flow}", &flow);
        let cancel = CANCEL.replace("{moved}", &moved);
        let posted = POSTED.replace(
            "{posted_too}",
            "union select group_name, 0 from begun_in_line",
        );
        let complete_in = COMPLETE_IN.replace("{posted}", &posted);
        Self {
            enqueue: text(
                &ENQUEUE
                    .replace("{conflict}", "")
                    .replace("{admitting}", ",\n{admitting}"),
            ),
            enqueue_in: text(
                &ENQUEUE
                    .replace("{conflict}", "on conflict (id) do nothing")
                    .replace("{admitting}", "")
                    .replace(
                        "{admission}",
                        "0::bigint as admitted, null::bigint as due_in",
                    ),
            ),
            link: text(LINK),
            known: text(KNOWN),
            take_keys: text(TAKE_KEYS),
            holders: text(HOLDERS),
            drop_keys: text(DROP_KEYS),
            replace: text(REPLACE),
            join: text(JOIN),
            claim: text(CLAIM),
            settle_done: settling(SETTLE_DONE, "$2", REST_OF_DONE),
            settle: settling(SETTLE, "$2", REST_OF_SETTLED),
            lock_job: text(LOCK_JOB),
            complete_in: text(&complete_in),
            heartbeat: text(HEARTBEAT),
            forget: text(FORGET),
            give_back: text(GIVE_BACK),
            is_any_dead: text(IS_ANY_DEAD),
            mark_dead: text(MARK_DEAD),
            rescue: text(RESCUE),
            promote: text(PROMOTE),
            next_in: text(NEXT_IN),
            cancel: text(&cancel),
            replay: text(REPLAY),
            get: text(GET),
            list: text(LIST),
            counts: text(COUNTS),
            pause: text(PAUSE),
            resume: text(RESUME),
            purge_finished: text(PURGE_FINISHED),
            purge_keys: text(PURGE_KEYS),
            open_mail: text(OPEN_MAIL),
            limit_group: text(LIMIT_GROUP),
            group: text(GROUP),
            limit_queue: text(LIMIT_QUEUE),
            purge_results: text(notes::PURGE_RESULTS),
            purge_notes: text(notes::PURGE_NOTES),
            note: text(&notes::NOTE.replace("{conflict}", "nothing")),
            report: text(&notes::NOTE.replace("{conflict}", "update set value = excluded.value")),
            notes: text(notes::NOTES),
            lock_to_signal: text(notes::LOCK_TO_SIGNAL),
            signal: text(notes::SIGNAL),
            result: text(notes::RESULT),
            keep_in: text(notes::KEEP_IN),
            put_schedule: text(PUT_SCHEDULE),
            list_schedules: text(LIST_SCHEDULES),
            fire_schedule: text(FIRE_SCHEDULE),
            pause_schedule: text(PAUSE_SCHEDULE),
            resume_schedule: text(RESUME_SCHEDULE),
            remove_schedule: text(REMOVE_SCHEDULE),
        }
    }
}
