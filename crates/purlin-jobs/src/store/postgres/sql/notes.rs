//! The texts about what jobs remember and leave behind.

pub(super) const PURGE_RESULTS: &str = "delete from {results} where job = any (array (
    select first.job from (
        select r.job from {results} r where r.expires_at <= {now}
        order by r.expires_at limit 1000 for update skip locked) first
    limit $2))";

/// Notes that were kept while their job was being done, which is the one moment when that overlooks
/// them. All notes are read.
pub(super) const PURGE_NOTES: &str = "delete from {notes} where ctid = any (array (
    select first.ctid from (
        select n.ctid from {notes} n
        where (select j.enqueued_at from {jobs} j where j.id = n.job) is distinct from n.enqueued_at
            and (select f.enqueued_at from {finished} f where f.id = n.job)
                is distinct from n.enqueued_at
        limit 1000) first
    limit $1))";

/// The notes of jobs in `gone` that have some.
pub(super) const FORGOTTEN: &str = "forgotten_notes as (
    delete from {notes}
    where job = any (array (select id from gone where notes is not null)))";

/// Keeps a note of a job `$3` under the lease `$2`. The job is locked first, so that whoever has ended
/// its lease meanwhile has committed, and what is read of the lease under a lock is how it is then.
pub(super) const NOTE: &str = "with job as materialized (
    select j.id, j.enqueued_at from {jobs} j where j.id = $3 and exists (
        select from {leases} l where l.id = $2 and $3 = any (l.ids))
    for no key update),
still as materialized (
    select l.id from {leases} l
    where l.id = $2 and $3 = any (l.ids) and exists (select from job)
    for key share skip locked),
flagged as (
    update {jobs} set notes = 0
    where id = $3 and notes is null and exists (select from still)),
kept as (
    insert into {notes} (job, enqueued_at, kind, name, value, due_at)
    select id, enqueued_at, $4, $5, $6, {now} + $7::interval from job
    where exists (select from still)
    on conflict (job, enqueued_at, kind, name) do {conflict}
    returning job)
select exists (select from still) as is_held, exists (select from kept) as is_kept";

pub(super) const NOTES: &str = "with job as materialized (
    select j.id, j.enqueued_at, j.notes from {jobs} j where j.id = $2
    union all
    select f.id, f.enqueued_at, f.notes from {finished} f where f.id = $2)
select coalesce(j.notes, 0) as signals, n.kind, n.name, n.value, n.due_at - {now} as due_in
from job j left join (select * from {notes} where job = $2) n on n.enqueued_at = j.enqueued_at
order by n.kind, n.name";

/// Whoever has this lock signals with a snapshot that is newer, and sees where the job waits.
pub(super) const LOCK_TO_SIGNAL: &str = "with job as materialized (
    select j.id from {jobs} j where j.id = $1 for no key update)
select exists (select from job) as is_there,
    exists (select from {jobs} j where j.id = $1) as was_there,
    exists (select from {finished} f where f.id = $1) as has_ended";

/// `$6`: the signal was kept by a call before, which could not make the job ready. `is_busy`: neither can this
/// one, since somebody else moves the job.
pub(super) const SIGNAL: &str = "with job as materialized (
    select j.id, j.enqueued_at, j.priority, j.queue, j.kind from {jobs} j where j.id = $2),
kept as (
    insert into {notes} (job, enqueued_at, kind, name, value)
    select id, enqueued_at, 3, $3, $4 from job
    on conflict (job, enqueued_at, kind, name) do nothing
    returning job),
counted as (
    update {jobs} set notes = coalesce(notes, 0) + 1 where id = $2 and exists (select from kept)),
waits as materialized (
    select n.job from {notes} n join job j on n.enqueued_at = j.enqueued_at
    where n.job = $2 and n.kind = 2 and n.name = $3 and ($6 or exists (select from kept))),
awake as (
    delete from {scheduled} where id = any (array (
        select s.id from {scheduled} s where s.id = $2 and exists (select from waits)
        for update skip locked))
    returning id),
placed as (
    insert into {ready} (queue, rank, id, kind)
    select queue, enqueued_at + priority * {step}, id, kind from job
    where exists (select from awake))
select exists (select from kept) as is_kept, exists (select from awake) as is_awake,
    exists (select from waits) and not exists (select from awake)
        and exists (select from {scheduled} s where s.id = $2) as is_busy,
    case when exists (select from awake) then pg_notify($5, '')::text end as told";

pub(super) const RESULT: &str = "select
    (select r.value from {results} r where r.job = $2 and r.expires_at > {now}) as value,
    exists (select from {jobs} j where j.id = $2) as is_pending";

pub(super) const KEEP_IN: &str = "insert into {results} (job, expires_at, value)
    values ($2, {now} + $3::interval, $4)
    on conflict (job) do update set expires_at = excluded.expires_at, value = excluded.value";
