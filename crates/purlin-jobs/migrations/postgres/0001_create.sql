-- Jobs that are not done, dead or cancelled. A job that goes well is written once and deleted once.
create table {schema}.purlin_jobs_jobs (
    id uuid primary key,
    enqueued_at timestamptz not null,
    run_at timestamptz,                 -- when it was to start at first; null if at once
    failed_at timestamptz,              -- when `error` was told
    timeout bigint,                     -- microseconds
    version smallint not null,          -- 32768 and more are negative
    priority smallint not null,         -- 0 to 9
    max_attempts smallint not null,
    failures smallint not null default 0,
    crashes smallint not null default 0,
    unique_span smallint,               -- 0 until it starts, 1 until it is done, 2 for a period
    notes integer,                      -- null: it has none; else how many signals have come
    is_cancelled boolean not null default false, -- its worker is to be told
    queue text not null,
    kind text not null,
    payload bytea not null,
    traceparent text,
    unique_key bytea,                   -- 32 bytes
    error text
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off);
create index purlin_jobs_jobs_cancelled on {schema}.purlin_jobs_jobs (id) where is_cancelled;

-- A job that is not done stands in one of the next three: whoever takes it from there has it.

create table {schema}.purlin_jobs_ready (
    rank timestamptz not null,          -- when it may start, later by what its priority costs
    id uuid not null,
    queue text not null,
    kind text not null
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off);
create index purlin_jobs_ready_rank on {schema}.purlin_jobs_ready (queue, rank);

create table {schema}.purlin_jobs_scheduled (
    id uuid primary key,
    run_at timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off);
create index purlin_jobs_scheduled_run_at on {schema}.purlin_jobs_scheduled (run_at);

-- One row for each claim. Its jobs are those of `ids` that are not done.
create table {schema}.purlin_jobs_leases (
    id uuid primary key,
    worker uuid not null,
    ids uuid[] not null
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off);
alter table {schema}.purlin_jobs_leases alter column ids set storage external;
create index purlin_jobs_leases_worker on {schema}.purlin_jobs_leases (worker);

create table {schema}.purlin_jobs_workers (
    id uuid primary key,
    expires_at timestamptz not null
) with (fillfactor = 50);

create table {schema}.purlin_jobs_unique (
    key bytea primary key,
    job uuid not null,
    until timestamptz                   -- when it is free whatever becomes of the job
) with (vacuum_truncate = off);
create index purlin_jobs_unique_until on {schema}.purlin_jobs_unique (until) where until is not null;

create table {schema}.purlin_jobs_finished (
    id uuid primary key,
    enqueued_at timestamptz not null,
    run_at timestamptz,
    failed_at timestamptz,
    ended_at timestamptz not null,
    timeout bigint,
    version smallint not null,
    priority smallint not null,
    max_attempts smallint not null,
    failures smallint not null,
    crashes smallint not null,
    unique_span smallint,
    notes integer,
    state smallint not null,            -- 3 dead, 4 cancelled
    queue text not null,
    kind text not null,
    payload bytea not null,
    traceparent text,
    unique_key bytea,
    error text
) with (vacuum_truncate = off);
create index purlin_jobs_finished_ended_at on {schema}.purlin_jobs_finished (ended_at);

-- What jobs remember. Of a job that was enqueued at another time under the same id it is nobody's.
create table {schema}.purlin_jobs_notes (
    job uuid not null,
    enqueued_at timestamptz not null,   -- when the job was
    due_at timestamptz,
    kind smallint not null,             -- 0 step, 1 timer, 2 wait, 3 signal, 4 progress
    name text not null,
    value bytea,
    primary key (job, enqueued_at, kind, name)
) with (autovacuum_vacuum_scale_factor = 0.02, vacuum_truncate = off);

create table {schema}.purlin_jobs_results (
    job uuid primary key,
    expires_at timestamptz not null,
    value bytea not null
) with (vacuum_truncate = off);
create index purlin_jobs_results_expires_at on {schema}.purlin_jobs_results (expires_at);

create table {schema}.purlin_jobs_queues (
    name text primary key,
    is_paused boolean not null
);

-- Up to when each schedule is dealt with. Apart from its jobs, which may be done and purged.
create table {schema}.purlin_jobs_schedules (
    name text primary key,
    cron text not null,
    time_zone text not null,
    since timestamptz not null,
    last_at timestamptz,                -- the last time that had a job
    is_paused boolean not null
);

-- Plans are made while these tables are empty, and kept: a burst of jobs would be read from the first to
-- the last by each claim until the next analyze. The planner goes by the pages that a table has, so
-- each gets more than it would read in turn, and keeps them. The ids and keys are lower than any that comes.
alter table {schema}.purlin_jobs_scheduled set (fillfactor = 10);
alter table {schema}.purlin_jobs_unique set (fillfactor = 10);
insert into {schema}.purlin_jobs_jobs
    (id, enqueued_at, version, priority, max_attempts, queue, kind, payload)
select lpad(n::text, 32, '0')::uuid, 'epoch', 1, 4, 20, '', repeat('-', 1000), ''
from generate_series(1, 1000) n;
insert into {schema}.purlin_jobs_ready (rank, id, queue, kind)
select 'epoch', lpad(n::text, 32, '0')::uuid, '', repeat('-', 1000) from generate_series(1, 1000) n;
insert into {schema}.purlin_jobs_scheduled (id, run_at)
select lpad(n::text, 32, '0')::uuid, 'epoch' from generate_series(1, 2500) n;
insert into {schema}.purlin_jobs_leases (id, worker, ids)
select id, id, array_fill(id, array[60])
from (select lpad(n::text, 32, '0')::uuid as id from generate_series(1, 1000) n) filler;
insert into {schema}.purlin_jobs_unique (key, job)
select decode(lpad(n::text, 8, '0'), 'hex'), lpad(n::text, 32, '0')::uuid
from generate_series(1, 2500) n;
insert into {schema}.purlin_jobs_finished (id, enqueued_at, ended_at, version, priority, max_attempts,
    failures, crashes, state, queue, kind, payload)
select lpad(n::text, 32, '0')::uuid, 'epoch', 'epoch', 1, 4, 20, 0, 0, 4, '', repeat('-', 1000), ''
from generate_series(1, 1000) n;
insert into {schema}.purlin_jobs_notes (job, enqueued_at, kind, name, value)
select lpad(n::text, 32, '0')::uuid, 'epoch', 0, '', decode(repeat('00', 1000), 'hex')
from generate_series(1, 1000) n;
insert into {schema}.purlin_jobs_results (job, expires_at, value)
select lpad(n::text, 32, '0')::uuid, 'epoch', decode(repeat('00', 1000), 'hex')
from generate_series(1, 1000) n;
delete from {schema}.purlin_jobs_notes;
delete from {schema}.purlin_jobs_results;
delete from {schema}.purlin_jobs_jobs;
delete from {schema}.purlin_jobs_ready;
delete from {schema}.purlin_jobs_scheduled;
delete from {schema}.purlin_jobs_leases;
delete from {schema}.purlin_jobs_unique;
delete from {schema}.purlin_jobs_finished;
alter table {schema}.purlin_jobs_scheduled reset (fillfactor);
alter table {schema}.purlin_jobs_unique reset (fillfactor);
