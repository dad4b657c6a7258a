//! All statements.
//!
//! Lists come as JSON, with ids in hexadecimal. Bytes of any length come as one blob beside it, in which
//! the list says where they stand.
//!
//! Only `execute` and `fetch_all` step a statement to its end. `fetch_optional` and `fetch_one` stop at
//! the first row: they are for reads.

/// The ids of a list.
macro_rules! ids {
    () => {
        "(select unhex(value) from json_each(?1))"
    };
}

/// The jobs that workers of a list have.
macro_rules! jobs_of_workers {
    () => {
        "(select job from purlin_jobs_leased where lease in (
            select id from purlin_jobs_leases
            where worker in (select unhex(value) from json_each(?1))))"
    };
}

macro_rules! is_ready {
    () => {
        "exists (
            select 1 from purlin_jobs_ready ready
            where ready.queue = job.queue and ready.rank = job.rank and ready.id = job.id)"
    };
}

macro_rules! is_scheduled {
    () => {
        "exists (
            select 1 from purlin_jobs_scheduled scheduled
            where scheduled.run_at = job.run_at and scheduled.id = job.id)"
    };
}

macro_rules! is_blocked {
    () => {
        "(job.flow & 1 and exists (
            select 1 from purlin_jobs_children children
            where children.child = job.id and children.waits_for > 0))"
    };
}

macro_rules! is_held {
    () => {
        "exists (
            select 1 from purlin_jobs_held held
            where held.group_name = job.group_name and held.rank = job.rank and held.id = job.id)"
    };
}

macro_rules! state {
    () => {
        concat!(
            "case when job.finished_as is not null then job.finished_as when ",
            is_ready!(),
            " then 'ready' when ",
            is_scheduled!(),
            " then 'scheduled' when job.group_name is not null and ",
            is_held!(),
            " then 'held' when ",
            is_blocked!(),
            " then 'blocked' else 'leased' end"
        )
    };
}

macro_rules! view {
    () => {
        concat!(
            "select job.id, kind, version, queue, ",
            state!(),
            " as state, payload, failures, crashes, max_attempts, error, failed_at,
                enqueued_at, run_at, finished_at, waits_for, done, dead, cancelled
            from purlin_jobs job
            left join purlin_jobs_children children
                on job.flow & 1 and children.child = job.id "
        )
    };
}

pub(super) const KNOWN: &str = concat!("select id from purlin_jobs where id in ", ids!());

/// Who has these unique keys, whether that job waits, its group and its flow.
pub(super) const HOLDERS: &str = concat!(
    "select holder.key, holder.job, ",
    is_ready!(),
    " or ",
    is_scheduled!(),
    " or ",
    is_held!(),
    ", job.group_name, job.flow
    from json_each(?1) wanted
    cross join purlin_jobs_unique holder on holder.key = substr(?2, 1 + wanted.value, 32)
    left join purlin_jobs job on job.id = holder.job
    where holder.until is null or holder.until > ?3"
);

pub(super) const ADD: &str = "
insert into purlin_jobs (
    id, kind, version, queue, priority_offset, max_attempts, timeout, traceparent,
    unique_key, unique_span, enqueued_at, run_at, flow, group_name, group_limits, payload)
select
    unhex(value ->> 'id'), value ->> 'kind', value ->> 'version', value ->> 'queue',
    value ->> 'priority_offset', value ->> 'max_attempts', value ->> 'timeout',
    value ->> 'traceparent', substr(?2, 1 + (value ->> 'key_at'), 32), value ->> 'span',
    ?3, value ->> 'run_at', value ->> 'flow', value ->> 'group_name', value ->> 'group_limits',
    coalesce(substr(?2, 1 + (value ->> 'payload_at'), value ->> 'payload_bytes'), x'')
from json_each(?1)";

pub(super) const ADD_READY: &str = "
insert into purlin_jobs_ready (queue, rank, id, kind)
select value ->> 'queue', (value ->> 'run_at') + (value ->> 'priority_offset'),
    unhex(value ->> 'id'), value ->> 'kind'
from json_each(?1)
where value ->> 'run_at' <= ?2 and value ->> 'group_name' is null
    and not coalesce((value ->> 'flow') & 1, 0)";

pub(super) const ADD_HELD: &str = "
insert into purlin_jobs_held (group_name, rank, id)
select value ->> 'group_name', (value ->> 'run_at') + (value ->> 'priority_offset'),
    unhex(value ->> 'id')
from json_each(?1)
where value ->> 'run_at' <= ?2 and value ->> 'group_name' is not null
    and not coalesce((value ->> 'flow') & 1, 0)";

pub(super) const ADD_SCHEDULED: &str = "
insert into purlin_jobs_scheduled (run_at, id, has_group)
select value ->> 'run_at', unhex(value ->> 'id'), value ->> 'group_name' is not null
from json_each(?1)
where value ->> 'run_at' > ?2 and not coalesce((value ->> 'flow') & 1, 0)";

pub(super) const TAKE_KEYS: &str = "
insert into purlin_jobs_unique (key, job, span, until)
select substr(?2, 1 + (value ->> 'key_at'), 32), unhex(value ->> 'id'), value ->> 'span',
    value ->> 'key_until'
from json_each(?1)
where value ->> 'key_at' is not null
on conflict (key) do update set job = excluded.job, span = excluded.span, until = excluded.until";

pub(super) const TAKE_KEY_AGAIN: &str = "
insert into purlin_jobs_unique (key, job, span)
select unique_key, id, unique_span from purlin_jobs where id = ?1 and unique_span = 1
on conflict (key) do update set job = excluded.job, span = excluded.span, until = null";

pub(super) const UNREADY: &str = "
delete from purlin_jobs_ready
where (queue, rank, id) = (select queue, rank, id from purlin_jobs where id = ?1)";

pub(super) const UNSCHEDULE: &str = "
delete from purlin_jobs_scheduled
where (run_at, id) = (select run_at, id from purlin_jobs where id = ?1)";

pub(super) const DELETE: &str = concat!("delete from purlin_jobs where id in ", ids!());

/// Frees the keys of those jobs that have ended.
pub(super) const FREE_KEYS: &str = concat!(
    "delete from purlin_jobs_unique where span in (0, 1) and job in ",
    ids!(),
    " and not exists (
        select 1 from purlin_jobs job
        where job.id = purlin_jobs_unique.job and job.finished_as is null)"
);

pub(super) const JOIN: &str = "
insert into purlin_jobs_workers (id, expires_at) values (?1, ?2)
on conflict (id) do update set expires_at = excluded.expires_at";

pub(super) const BEAT: &str = "
update purlin_jobs_workers set expires_at = ?3 where id = ?1 and expires_at > ?2";

pub(super) const TO_CANCEL: &str = "
select job.id from purlin_jobs job indexed by purlin_jobs_cancel
where cancel_requested = 1 and exists (
    select 1
    from purlin_jobs_leases lease
    join purlin_jobs_leased leased on leased.lease = lease.id and leased.job = job.id
    where lease.worker = ?1)";

/// Whether the worker is alive, and whether the lease is there.
pub(super) const BEFORE_CLAIM: &str = "
select
    exists (select 1 from purlin_jobs_workers where id = ?1 and expires_at > ?2),
    exists (select 1 from purlin_jobs_leases where id = ?3),
    queue.every, queue.burst, queue.tat
from (select 1) left join purlin_jobs_queues queue on queue.name = ?4";

pub(super) const LEASE: &str = "
insert into purlin_jobs_leased (lease, job, group_name)
select ?1, id, group_name from purlin_jobs_ready
where queue = ?2 and kind in (select value from json_each(?3))
    and not exists (select 1 from purlin_jobs_queues where name = ?2 and paused)
order by rank, id
limit ?4";

pub(super) const ADD_LEASE: &str = "insert into purlin_jobs_leases (id, worker) values (?1, ?2)";

/// With the rank of each.
pub(super) const CLAIMED: &str = "
select id, kind, version, payload, traceparent, failures, crashes, max_attempts, timeout,
    enqueued_at, coalesce(unique_span = 0, false), rank, done, dead, cancelled,
    job.group_name is not null
from purlin_jobs_leased leased cross join purlin_jobs job on job.id = leased.job
    left join purlin_jobs_children children on job.flow & 1 and children.child = job.id
where lease = ?1
order by rank, id";

/// What [`LEASE`] has taken, of which the last one is known. An `in` of rows would read all jobs
/// of one rank for each.
pub(super) const UNREADY_UP_TO: &str = "
delete from purlin_jobs_ready
where queue = ?1 and kind in (select value from json_each(?2)) and (rank, id) <= (?3, ?4)";

/// Frees the keys that are held until the start.
pub(super) const FREE_START_KEYS: &str = "
delete from purlin_jobs_unique
where span = 0 and job in (select job from purlin_jobs_leased where lease = ?1)";

/// Takes jobs out of a lease, and returns those that were in it, with their groups and flows.
pub(super) const UNLEASE: &str = "
delete from purlin_jobs_leased
where lease = ?2 and job in (select unhex(value) from json_each(?1))
returning job, group_name, (select flow from purlin_jobs where id = job)";

/// A list of jobs with the time to start (null: as when it was enqueued), the error and the end.
pub(super) const CHANGE: &str = "
update purlin_jobs set
    run_at = coalesce(value ->> 'run_at', enqueued_at),
    failures = min(failures + (value ->> 'error' is not null), 65535),
    error = coalesce(value ->> 'error', error),
    failed_at = iif(value ->> 'error' is null, failed_at, ?2),
    finished_as = coalesce(value ->> 'finished_as', iif(cancel_requested = 1, 'cancelled', null)),
    finished_at = iif(value ->> 'finished_as' is null and cancel_requested = 0, null, ?2),
    cancel_requested = 0
from json_each(?1)
where purlin_jobs.id = unhex(value ->> 'id')";

/// Makes those jobs ready, by their time to start, that have not ended.
pub(super) const READY: &str = concat!(
    "insert into purlin_jobs_ready (queue, rank, id, kind)
    select queue, rank, id, kind from purlin_jobs
    where finished_as is null and group_name is null and id in ",
    ids!()
);

/// Puts those of these jobs into the lines of their groups that have one and have not ended.
pub(super) const HOLD: &str = concat!(
    "insert into purlin_jobs_held (group_name, rank, id)
    select group_name, rank, id from purlin_jobs
    where finished_as is null and group_name is not null and id in ",
    ids!()
);

/// Schedules those jobs, due or not, that have not ended.
pub(super) const SCHEDULE: &str = concat!(
    "insert into purlin_jobs_scheduled (run_at, id, has_group)
    select run_at, id, group_name is not null from purlin_jobs where finished_as is null and id in ",
    ids!()
);

/// Ends a lease that has no jobs any more.
pub(super) const END_LEASE: &str = "
delete from purlin_jobs_leases
where id = ?1 and not exists (select 1 from purlin_jobs_leased where lease = ?1)";

pub(super) const FORGET_WORKER: &str = "delete from purlin_jobs_workers where id = ?1";

pub(super) const FORGET_DEAD: &str = "
delete from purlin_jobs_workers
where id in (
    select id from purlin_jobs_workers where expires_at <= ?1 order by expires_at, id limit ?2)
returning id";

/// Returns the jobs, how those ended that did, and the flow and group of each.
pub(super) const GIVE_BACK: &str = concat!(
    "update purlin_jobs set
        run_at = enqueued_at,
        finished_as = iif(cancel_requested = 1, 'cancelled', null),
        finished_at = iif(cancel_requested = 1, ?2, null),
        cancel_requested = 0
    where id in ",
    jobs_of_workers!(),
    " returning id, finished_as, flow, group_name"
);

/// Counts a crash of each. Returns as [`GIVE_BACK`].
pub(super) const CRASH: &str = concat!(
    "update purlin_jobs set
        run_at = enqueued_at,
        crashes = min(crashes + 1, 65535),
        finished_as = case
            when cancel_requested = 1 then 'cancelled'
            when crashes + 1 >= ?2 then 'dead'
        end,
        finished_at = iif(cancel_requested = 1 or crashes + 1 >= ?2, ?3, null),
        error = iif(cancel_requested = 0 and crashes + 1 >= ?2, ?4, error),
        failed_at = iif(cancel_requested = 0 and crashes + 1 >= ?2, ?3, failed_at),
        cancel_requested = 0
    where id in ",
    jobs_of_workers!(),
    " returning id, finished_as, flow, group_name"
);

pub(super) const UNLEASE_OF_WORKERS: &str = "
delete from purlin_jobs_leased where lease in (
    select id from purlin_jobs_leases where worker in (select unhex(value) from json_each(?1)))";

pub(super) const END_LEASES_OF_WORKERS: &str = "
delete from purlin_jobs_leases where worker in (select unhex(value) from json_each(?1))";

/// When the next job is due, and the next group.
pub(super) const NEXT: &str = "
select (select min(run_at) from purlin_jobs_scheduled),
    (select min(due_at) from purlin_jobs_groups where due_at is not null)";

/// The last of those that are promoted now, and whether some of them have a group.
pub(super) const LAST_DUE: &str = "
select run_at, id, max(has_group) over () from (
    select run_at, id, has_group from purlin_jobs_scheduled
    where run_at <= ?1 order by run_at, id limit ?2)
order by run_at desc, id desc
limit 1";

pub(super) const PROMOTE_UP_TO: &str = "
insert into purlin_jobs_ready (queue, rank, id, kind)
select queue, rank, job.id, kind
from purlin_jobs_scheduled scheduled cross join purlin_jobs job on job.id = scheduled.id
where (scheduled.run_at, scheduled.id) <= (?1, ?2) and not has_group";

pub(super) const HOLD_UP_TO: &str = "
insert into purlin_jobs_held (group_name, rank, id)
select group_name, rank, job.id
from purlin_jobs_scheduled scheduled cross join purlin_jobs job on job.id = scheduled.id
where (scheduled.run_at, scheduled.id) <= (?1, ?2) and has_group
returning group_name";

pub(super) const DUE_GROUPS: &str = "
select name from purlin_jobs_groups where due_at <= ?1 order by due_at limit ?2";

/// The last declaration stands, unless an operator has set something.
pub(super) const DECLARE: &str = "
insert into purlin_jobs_groups (name, at_most, every, burst) values (?1, ?2, ?3, ?4)
on conflict (name) do update
set at_most = excluded.at_most, every = excluded.every, burst = excluded.burst
where not is_set";

pub(super) const LIMIT_GROUP: &str = "
insert into purlin_jobs_groups (name, at_most, every, burst, is_set) values (?1, ?2, ?3, ?4, 1)
on conflict (name) do update
set at_most = excluded.at_most, every = excluded.every, burst = excluded.burst, is_set = 1";

pub(super) const UNLIMIT_GROUP: &str = "update purlin_jobs_groups set is_set = 0 where name = ?1";

/// As its first job has declared it, if it was forgotten.
pub(super) const REMEMBER: &str = "
insert into purlin_jobs_groups (name, at_most, every, burst)
select ?1, group_limits ->> 0, group_limits ->> 1, group_limits ->> 2
from purlin_jobs where id = (
    select id from purlin_jobs_held where group_name = ?1 order by rank, id limit 1)
on conflict (name) do nothing";

pub(super) const GROUP: &str = "
select at_most, every, burst, tat, is_set,
    (select count(*) from purlin_jobs_slots where group_name = name),
    (select count(*) from purlin_jobs_slots where group_name = name and is_reserved)
from purlin_jobs_groups where name = ?1";

pub(super) const HELD: &str = "select count(*) from purlin_jobs_held where group_name = ?1";

pub(super) const ANY_HELD: &str =
    "select exists (select 1 from purlin_jobs_held where group_name = ?1)";

pub(super) const FIRST_HELD: &str = "
select rank, id from purlin_jobs_held where group_name = ?1 order by rank, id limit ?2";

pub(super) const UNHOLD_UP_TO: &str =
    "delete from purlin_jobs_held where group_name = ?1 and (rank, id) <= (?2, ?3)";

/// Each of a list a microsecond after the one before.
pub(super) const ADMIT: &str = "
update purlin_jobs set run_at = ?2 + key from json_each(?1)
where purlin_jobs.id = unhex(value)";

pub(super) const READY_ADMITTED: &str = concat!(
    "insert into purlin_jobs_ready (queue, rank, id, kind, group_name)
    select queue, rank, id, kind, group_name from purlin_jobs where id in ",
    ids!()
);

pub(super) const TAKE_SLOTS: &str = "
insert into purlin_jobs_slots (group_name, job, is_reserved)
select ?2, unhex(value), ?3 from json_each(?1)";

pub(super) const FREE_SLOTS: &str = "
delete from purlin_jobs_slots
where group_name = ?2 and job in (select unhex(value) from json_each(?1))";

/// With a lease, jobs of the groups spend their tokens. Returns the group of each.
pub(super) const START: &str = "
update purlin_jobs_slots set is_reserved = 0
from purlin_jobs_leased leased
where leased.lease = ?1 and leased.group_name is not null
    and purlin_jobs_slots.group_name = leased.group_name
    and purlin_jobs_slots.job = leased.job and is_reserved
returning purlin_jobs_slots.group_name";

pub(super) const STANDS: &str =
    "update purlin_jobs_groups set tat = ?2, due_at = ?3 where name = ?1";

pub(super) const FORGET_GROUP: &str = "delete from purlin_jobs_groups where name = ?1";

pub(super) const UNHOLD: &str = "
delete from purlin_jobs_held
where (group_name, rank, id) = (select group_name, rank, id from purlin_jobs where id = ?1)";

pub(super) const LIMIT_QUEUE: &str = "
insert into purlin_jobs_queues (name, paused, every, burst) values (?1, 0, ?2, ?3)
on conflict (name) do update set every = excluded.every, burst = excluded.burst,
    tat = iif(excluded.every is null, null, tat)";

pub(super) const PACE: &str = "update purlin_jobs_queues set tat = ?2 where name = ?1";

pub(super) const UNSCHEDULE_UP_TO: &str =
    "delete from purlin_jobs_scheduled where (run_at, id) <= (?1, ?2)";

pub(super) const DATA_VERSION: &str = "pragma data_version";

/// Whether there is something to claim in these queues.
pub(super) const ANY_READY: &str = "
select exists (
    select 1 from json_each(?1) wanted cross join purlin_jobs_ready on queue = wanted.value
    where not exists (select 1 from purlin_jobs_queues where name = wanted.value and paused))";

pub(super) const GET: &str = concat!(view!(), "where job.id = ?1");

pub(super) const LIST: &str = concat!(
    view!(),
    "where job.id > ?1
        and (?2 is null or queue = ?2) and (?3 is null or kind = ?3) and (?4 is null or state = ?4)
    order by job.id
    limit ?5"
);

/// With its flow and group.
pub(super) const STATE: &str = concat!(
    "select ",
    state!(),
    ", job.flow, job.group_name from purlin_jobs job where job.id = ?1"
);

pub(super) const COUNTS: &str = concat!(
    "select ",
    state!(),
    " as state, count(*) from purlin_jobs job where ?1 is null or queue = ?1 group by state"
);

/// Since when the next one to be claimed is ready.
pub(super) const OLDEST_READY: &str = "
select run_at from purlin_jobs where id = (
    select id from purlin_jobs_ready where ?1 is null or queue = ?1 order by rank, id limit 1)";

pub(super) const CANCEL_WAITING: &str = "
update purlin_jobs set finished_as = 'cancelled', finished_at = ?2 where id = ?1";

pub(super) const CANCEL_LEASED: &str = "update purlin_jobs set cancel_requested = 1 where id = ?1";

/// Whether another job has the key that a dead one would need.
pub(super) const KEY_IS_TAKEN: &str = "
select exists (
    select 1
    from purlin_jobs job
    join purlin_jobs_unique holder on holder.key = job.unique_key
    where job.id = ?1 and job.unique_span = 1 and (holder.until is null or holder.until > ?2))";

pub(super) const REPLAY: &str = "
update purlin_jobs set
    run_at = ?2,
    failures = iif(finished_as is null, failures, 0),
    crashes = iif(finished_as is null, crashes, 0),
    finished_as = null,
    finished_at = null
where id = ?1";

pub(super) const PAUSE: &str = "
insert into purlin_jobs_queues (name, paused) values (?1, 1)
on conflict (name) do update set paused = 1 where not paused";

pub(super) const RESUME: &str =
    "update purlin_jobs_queues set paused = 0 where name = ?1 and paused";

pub(super) const PURGE_JOBS: &str = "
delete from purlin_jobs where id in (
    select id from purlin_jobs where finished_at <= ?1 order by finished_at limit ?2)
returning id, flow";

pub(super) const PURGE_RESULTS: &str = "
delete from purlin_jobs_results where job in (
    select job from purlin_jobs_results where expires_at <= ?1 order by expires_at limit ?2)";

pub(super) const KEEP_RESULT: &str = "
insert into purlin_jobs_results (job, expires_at, value) values (?1, ?2, ?3)
on conflict (job) do update set expires_at = excluded.expires_at, value = excluded.value";

/// The result of a job, and whether that is still to end.
pub(super) const RESULT: &str = "
select (select value from purlin_jobs_results where job = ?1 and expires_at > ?2),
    exists (select 1 from purlin_jobs where id = ?1 and finished_as is null)";

pub(super) const IS_LEASED: &str =
    "select exists (select 1 from purlin_jobs_leased where lease = ?1 and job = ?2)";

pub(super) const NOTE: &str = "
insert into purlin_jobs_notes (job, kind, name, value, due_at) values (?1, ?2, ?3, ?4, ?5)
on conflict (job, kind, name) do nothing";

/// The same, over what is there.
pub(super) const REPORT: &str = "
insert into purlin_jobs_notes (job, kind, name, value, due_at) values (?1, ?2, ?3, ?4, ?5)
on conflict (job, kind, name) do update set value = excluded.value";

/// Says that a job has notes, and of how many signals more.
pub(super) const HAS_NOTES: &str = "
update purlin_jobs set notes = coalesce(notes, 0) + ?2 where id = ?1 and (notes is null or ?2 > 0)";

pub(super) const NOTES: &str = "
select coalesce(job.notes, 0), note.kind, note.name, note.value, note.due_at
from purlin_jobs job left join purlin_jobs_notes note on note.job = job.id
where job.id = ?1
order by note.kind, note.name";

pub(super) const IS_WAITING: &str = "
select exists (select 1 from purlin_jobs_notes where job = ?1 and kind = 2 and name = ?2)";

/// Puts a job where it stood when it was enqueued.
pub(super) const BACK: &str = "update purlin_jobs set run_at = enqueued_at where id = ?1";

/// Those jobs that have got more signals than is said of them.
pub(super) const HEARD_MORE: &str = "
select job.id from json_each(?1) cross join purlin_jobs job on job.id = unhex(value ->> 'id')
where job.notes > (value ->> 'signals')";

pub(super) const PURGE_KEYS: &str = "
delete from purlin_jobs_unique where key in (
    select key from purlin_jobs_unique where until <= ?1 order by until limit ?2)";

/// A list of jobs that wait for others.
pub(super) const ADD_CHILDREN: &str = "
insert into purlin_jobs_children (child, waits_for, delay, start_at)
select unhex(value ->> 'child'), value ->> 'waits_for', value ->> 'delay', value ->> 'start_at'
from json_each(?1)";

pub(super) const ADD_EDGES: &str = "
insert into purlin_jobs_edges (parent, child, on_ended)
select unhex(value ->> 'parent'), unhex(value ->> 'child'), value ->> 'on_ended'
from json_each(?1)";

pub(super) const HAND_CHILDREN_ON: &str = "
update purlin_jobs_edges set parent = ?2 where parent = ?1";

/// Those jobs of a flow that were cancelled when they would have waited again.
pub(super) const CANCELLED: &str = concat!(
    "select id from purlin_jobs where finished_as = 'cancelled' and id in ",
    ids!()
);

/// Whoever waits until a job of the list is done, or until one is that waits for such a one.
pub(super) const FALLEN: &str = concat!(
    "with recursive fallen (id) as (
        select child from purlin_jobs_edges where not on_ended and parent in ",
    ids!(),
    " union
        select edge.child from fallen cross join purlin_jobs_edges edge on edge.parent = fallen.id
        where not on_ended)
    select id from fallen"
);

pub(super) const CANCEL_FALLEN: &str = concat!(
    "update purlin_jobs set finished_as = 'cancelled', finished_at = ?2 where id in ",
    ids!()
);

pub(super) const UNBLOCK: &str = concat!(
    "update purlin_jobs_children set waits_for = 0 where child in ",
    ids!()
);

pub(super) const CUT_OFF: &str = concat!("delete from purlin_jobs_edges where child in ", ids!());

/// Takes away the edges from these parents, of which the second list is dead.
pub(super) const CUT: &str = "
delete from purlin_jobs_edges
where parent in (select unhex(value) from json_each(?1))
    and (on_ended or parent not in (select unhex(value) from json_each(?2)))
returning parent, child";

/// Counts how parents have ended. Returns for each child how many are left, when it may start, and its group.
pub(super) const COUNT: &str = "
update purlin_jobs_children set
    waits_for = waits_for
        - (value ->> 'done') - (value ->> 'dead') - (value ->> 'cancelled'),
    done = purlin_jobs_children.done + (value ->> 'done'),
    dead = purlin_jobs_children.dead + (value ->> 'dead'),
    cancelled = purlin_jobs_children.cancelled + (value ->> 'cancelled')
from json_each(?1)
where child = unhex(value ->> 'child')
returning child, waits_for, delay, start_at,
    (select group_name from purlin_jobs where id = child)";

pub(super) const START_AT: &str = "
update purlin_jobs set run_at = value ->> 'run_at'
from json_each(?1)
where purlin_jobs.id = unhex(value ->> 'id')";

pub(super) const FORGET_CHILDREN: &str =
    concat!("delete from purlin_jobs_children where child in ", ids!());

pub(super) const PUT_SCHEDULE: &str = "
insert into purlin_jobs_schedules (name, cron, time_zone, since, paused) values (?1, ?2, ?3, ?4, 0)
on conflict (name) do update set
    cron = excluded.cron, time_zone = excluded.time_zone, since = max(since, excluded.since)
where (cron, time_zone) is not (excluded.cron, excluded.time_zone)";

pub(super) const LIST_SCHEDULES: &str = "
select name, cron, time_zone, since, last_at, paused from purlin_jobs_schedules order by name";

pub(super) const FIRE_SCHEDULE: &str = "
update purlin_jobs_schedules set since = ?3, last_at = iif(?4, ?3, last_at)
where name = ?1 and since = ?2 and ?2 < ?3 and ?3 <= ?5 and not paused";

pub(super) const PAUSE_SCHEDULE: &str =
    "update purlin_jobs_schedules set paused = 1 where name = ?1 and not paused";

pub(super) const RESUME_SCHEDULE: &str = "
update purlin_jobs_schedules set paused = 0, since = max(since, ?2) where name = ?1 and paused";

pub(super) const REMOVE_SCHEDULE: &str = "delete from purlin_jobs_schedules where name = ?1";
