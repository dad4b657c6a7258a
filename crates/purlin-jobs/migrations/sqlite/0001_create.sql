-- Ids are 16 bytes, unique keys 32; times are microseconds since 1970.

-- What jobs are. Where one stands is what the tables after this say, so that the row of a job that
-- succeeds is written once and deleted once. The payload stands last, since it may be long.
create table purlin_jobs (
    id               blob not null primary key,
    kind             text not null,
    version          integer not null,
    queue            text not null,
    -- By how much later than its time to start it stands in its queue.
    priority_offset  integer not null,
    max_attempts     integer not null,
    timeout          integer,
    traceparent      text,
    unique_key       blob,
    -- 0 until it starts, 1 until it is done, 2 for a period.
    unique_span      integer,
    failures         integer not null default 0,
    crashes          integer not null default 0,
    error            text,
    failed_at        integer,
    cancel_requested integer not null default 0,
    enqueued_at      integer not null,
    run_at           integer not null,
    rank             integer not null generated always as (run_at + priority_offset) virtual,
    -- dead or cancelled
    finished_as      text,
    finished_at      integer,
    -- 1 if it has a row in purlin_jobs_children, 2 if others wait for it, 3 if both; else null.
    flow             integer,
    group_name       text,
    -- As declared with it: `[at most, microseconds from start to start, burst]`.
    group_limits     text,
    -- Null when it has none, else how many signals have come.
    notes            integer,
    payload          blob not null
) strict;

create index purlin_jobs_finished on purlin_jobs (finished_at) where finished_at is not null;
create index purlin_jobs_cancel on purlin_jobs (id) where cancel_requested = 1;

create table purlin_jobs_ready (
    queue text not null,
    rank  integer not null,
    id    blob not null,
    kind  text not null,
    group_name text,
    primary key (queue, rank, id)
) strict, without rowid;

create table purlin_jobs_scheduled (
    run_at integer not null,
    id     blob not null,
    has_group integer not null default 0,
    primary key (run_at, id)
) strict, without rowid;

create table purlin_jobs_workers (
    id         blob not null primary key,
    expires_at integer not null
) strict, without rowid;

create index purlin_jobs_workers_expiry on purlin_jobs_workers (expires_at);

-- The leases that have jobs left, and the jobs.
create table purlin_jobs_leases (
    id     blob not null primary key,
    worker blob not null
) strict, without rowid;

create index purlin_jobs_leases_worker on purlin_jobs_leases (worker);

create table purlin_jobs_leased (
    lease blob not null,
    job   blob not null,
    group_name text,
    primary key (lease, job)
) strict, without rowid;

create table purlin_jobs_unique (
    key   blob not null primary key,
    job   blob not null,
    span  integer not null,
    -- When a period ends.
    until integer
) strict, without rowid;

create index purlin_jobs_unique_job on purlin_jobs_unique (job);
create index purlin_jobs_unique_until on purlin_jobs_unique (until) where until is not null;

-- Jobs that wait for others, or did. They are blocked while `waits_for` is not 0.
create table purlin_jobs_children (
    child     blob not null primary key,
    waits_for integer not null,
    -- How those have ended that it does not wait for any more.
    done      integer not null default 0,
    dead      integer not null default 0,
    cancelled integer not null default 0,
    -- When it may start: so long after it waits for nobody, or then; at once if both are null.
    delay     integer,
    start_at  integer
) strict, without rowid;

create table purlin_jobs_edges (
    parent   blob not null,
    child    blob not null,
    -- Whether any end of the parent will do.
    on_ended integer not null,
    primary key (parent, child)
) strict, without rowid;

create index purlin_jobs_edges_child on purlin_jobs_edges (child);

-- What jobs remember.
create table purlin_jobs_notes (
    job    blob not null,
    -- 0 step, 1 timer, 2 wait, 3 signal, 4 progress
    kind   integer not null,
    name   text not null,
    due_at integer,
    value  blob,
    primary key (job, kind, name)
) strict, without rowid;

-- However the job goes.
create trigger purlin_jobs_forget after delete on purlin_jobs when old.notes is not null
begin
    delete from purlin_jobs_notes where job = old.id;
end;

create table purlin_jobs_results (
    job        blob not null primary key,
    expires_at integer not null,
    value      blob not null
) strict;

create index purlin_jobs_results_expiry on purlin_jobs_results (expires_at);

create table purlin_jobs_queues (
    name   text not null primary key,
    paused integer not null,
    -- The time from start to start, if it has a rate, and when the next one is expected.
    every  integer,
    burst  integer,
    tat    integer
) strict, without rowid;

-- Up to when each schedule is dealt with. Apart from its jobs, which may be done and purged.
create table purlin_jobs_schedules (
    name      text not null primary key,
    cron      text not null,
    time_zone text not null,
    since     integer not null,
    last_at   integer,
    paused    integer not null
) strict, without rowid;

-- A job with a group stands here before it stands in `ready`. From there to its end it has a slot.
create table purlin_jobs_held (
    group_name text not null,
    rank       integer not null,
    id         blob not null,
    primary key (group_name, rank, id)
) strict, without rowid;

create table purlin_jobs_slots (
    group_name  text not null,
    job         blob not null,
    -- It has a token of the rate, and has not started.
    is_reserved integer not null,
    primary key (group_name, job)
) strict, without rowid;

create table purlin_jobs_groups (
    name    text not null primary key,
    -- Null: the window of the store.
    at_most integer,
    every   integer,
    burst   integer,
    tat     integer,
    -- When it is to be looked at without other cause.
    due_at  integer,
    -- By an operator.
    is_set  integer not null default 0
) strict, without rowid;

create index purlin_jobs_groups_due on purlin_jobs_groups (due_at) where due_at is not null;
