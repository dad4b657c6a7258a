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
    flow smallint,                      -- 1 if it has a row in `_children`, 2 if others wait for it, 3 if both
    queue text not null,
    kind text not null,
    payload bytea not null,
    traceparent text,
    unique_key bytea,                   -- 32 bytes
    error text,
    group_name text,
    group_limits bigint[]               -- as declared with it: at most, microseconds from start to start, burst
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
    flow smallint,
    queue text not null,
    kind text not null,
    payload bytea not null,
    traceparent text,
    unique_key bytea,
    error text,
    group_name text,
    group_limits bigint[]
) with (vacuum_truncate = off);
create index purlin_jobs_finished_ended_at on {schema}.purlin_jobs_finished (ended_at);

-- Jobs that wait for others, or did: blocked while `waits_for` is not 0. Whoever changes one, or an edge to
-- it, locks its row here first; of several in the order of their ids.
create table {schema}.purlin_jobs_children (
    id uuid primary key,
    start_at timestamptz,               -- when it may start
    delay interval,                     -- or how long after it waits for nobody
    waits_for integer not null,
    done integer not null default 0,    -- how those have ended that it does not wait for any more
    dead integer not null default 0,
    cancelled integer not null default 0
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off);

create table {schema}.purlin_jobs_edges (
    parent uuid not null,
    child uuid not null,
    on_ended boolean not null,          -- whether any end of the parent will do
    primary key (parent, child)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off);
create index purlin_jobs_edges_child on {schema}.purlin_jobs_edges (child);

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
    is_paused boolean not null,
    every bigint,                       -- microseconds from one start to the next; null if as they come
    burst integer,
    tat bigint                          -- when the next start is expected, in microseconds since 1970
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

-- A job with a group stands in `held` before it stands in `ready`. From there to its end it has a slot.

create table {schema}.purlin_jobs_held (
    group_name text not null,
    rank timestamptz not null,
    id uuid not null,
    primary key (group_name, rank, id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off);
create index purlin_jobs_held_id on {schema}.purlin_jobs_held (id);

create table {schema}.purlin_jobs_slots (
    id uuid primary key,
    rank timestamptz not null,          -- of its row of `ready`
    is_reserved boolean not null,       -- it has a token of the rate, and has not started
    group_name text not null
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off);
create index purlin_jobs_slots_group on {schema}.purlin_jobs_slots (group_name);

-- Who admits jobs of a group holds its row.
create table {schema}.purlin_jobs_groups (
    name text primary key,
    at_most integer,                    -- null: the window of the store
    every bigint,
    burst integer,
    tat bigint,
    due_at bigint,                      -- when it is to be looked at without other cause
    is_set boolean not null default false -- by an operator
) with (fillfactor = 50, vacuum_truncate = off);
create index purlin_jobs_groups_due_at on {schema}.purlin_jobs_groups (due_at)
    where due_at is not null;

-- What a group is to be told by those who do not hold its row.
create table {schema}.purlin_jobs_mail (
    seq bigint generated always as identity primary key,
    group_name text not null,
    what smallint not null,             -- 0 look, 1 declared, 2 started, 3 set, 4 not set any more
    at_most integer,
    every bigint,
    burst integer,
    starts bigint,
    started_at bigint
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off);
create index purlin_jobs_mail_group on {schema}.purlin_jobs_mail (group_name);

-- Admits what may be admitted in these groups, and says in how many microseconds there will be more by
-- their rates. A function, since each of its statements has a snapshot of its own: one that is newer
-- than the lock of the group, and sees what the statement has done that calls it.
create function {schema}.purlin_jobs_admit(names text[], clock bigint, allowance integer, channel text,
    out admitted bigint, out due_in bigint)
language plpgsql as $admit$
declare
    wanted text;
    line {schema}.purlin_jobs_groups%rowtype;
    letter {schema}.purlin_jobs_mail%rowtype;
    declared bigint[];
    now_at bigint;
    taken bigint;
    reserved bigint;
    room bigint;
    moved bigint;
    has_held boolean;
begin
    admitted := 0;
    -- In one order for all, so that nobody waits in a circle.
    for wanted in select distinct n.name from unnest(names) as n(name) order by n.name loop
        loop
            insert into {schema}.purlin_jobs_groups (name) values (wanted) on conflict do nothing;
            get diagnostics moved = row_count;
            select * into line from {schema}.purlin_jobs_groups g where g.name = wanted for update;
            exit when found;
        end loop;
        if moved > 0 then
            -- It was forgotten, and its jobs come back.
            declared := (
                select j.group_limits from {schema}.purlin_jobs_jobs j where j.id = (
                    select h.id from {schema}.purlin_jobs_held h where h.group_name = wanted
                    order by h.rank, h.id limit 1));
            line.at_most := declared[1];
            line.every := declared[2];
            line.burst := declared[3];
        end if;
        now_at := coalesce(clock, (extract(epoch from clock_timestamp()) * 1000000)::bigint);
        for letter in
            with opened as (
                delete from {schema}.purlin_jobs_mail m where m.group_name = wanted returning m.*)
            select * from opened o order by o.seq
        loop
            if letter.what = 3 or letter.what = 1 and not line.is_set then
                line.at_most := letter.at_most;
                line.every := letter.every;
                line.burst := letter.burst;
            end if;
            if letter.what in (3, 4) then
                line.is_set := letter.what = 3;
            elsif letter.what = 2 then
                line.tat := greatest(line.tat, letter.started_at)
                    + letter.starts * coalesce(line.every, 0);
            end if;
        end loop;
        select count(*), count(*) filter (where s.is_reserved) into taken, reserved
        from {schema}.purlin_jobs_slots s where s.group_name = wanted;
        room := coalesce(line.at_most, allowance) - taken;
        if line.every is not null then
            room := least(room, line.burst - reserved
                - (greatest(line.tat - now_at, 0) + line.every - 1) / line.every);
        end if;
        moved := 0;
        while room > 0 loop
            with gone as (
                delete from {schema}.purlin_jobs_held where ctid = any (array (
                    select first.ctid from (
                        select h.ctid from {schema}.purlin_jobs_held h where h.group_name = wanted
                        order by h.rank, h.id limit 1000 for update skip locked) first
                    limit room))
                returning id, rank),
            placed as materialized (
                select j.queue, j.id, j.kind, timestamptz 'epoch' + j.priority * interval '600 seconds'
                    + (now_at + moved - 1 + row_number() over (order by g.rank, g.id))
                        * interval '1 microsecond' as rank
                from gone g join {schema}.purlin_jobs_jobs j on j.id = g.id),
            slots as (
                insert into {schema}.purlin_jobs_slots (id, rank, is_reserved, group_name)
                select p.id, p.rank, line.every is not null, wanted from placed p)
            insert into {schema}.purlin_jobs_ready (queue, rank, id, kind)
            select p.queue, p.rank, p.id, p.kind from placed p order by p.rank;
            get diagnostics taken = row_count;
            exit when taken = 0;
            moved := moved + taken;
            room := room - taken;
        end loop;
        admitted := admitted + moved;
        if line.every is not null then
            reserved := reserved + moved;
        end if;
        select count(*) into taken from (
            select from {schema}.purlin_jobs_slots s where s.group_name = wanted
            limit coalesce(line.at_most, allowance)) s;
        -- In their order, so that it is the index that is asked, however common the group is.
        has_held := (
            select true from {schema}.purlin_jobs_held h where h.group_name = wanted
            order by h.rank, h.id limit 1) is not null;
        line.due_at := null;
        if has_held and room > 0 then
            -- Somebody is about to take the next one elsewhere, and may think better of it.
            line.due_at := now_at + 1000000;
        elsif has_held and line.every is not null and line.burst > reserved
            and taken < coalesce(line.at_most, allowance) then
            line.due_at := greatest(now_at,
                coalesce(line.tat, now_at) - (line.burst - reserved - 1) * line.every);
        elsif not has_held and taken = 0 and not exists (
                select from {schema}.purlin_jobs_slots s where s.group_name = wanted) then
            if line.every is not null and line.tat > now_at then
                line.due_at := line.tat;
            elsif not line.is_set then
                delete from {schema}.purlin_jobs_groups g where g.name = wanted;
                continue;
            end if;
        end if;
        due_in := least(due_in, line.due_at - now_at);
        update {schema}.purlin_jobs_groups g
        set at_most = line.at_most, every = line.every, burst = line.burst, tat = line.tat,
            due_at = line.due_at, is_set = line.is_set
        where g.name = wanted
            and (moved > 0 or (g.at_most, g.every, g.burst, g.tat, g.due_at, g.is_set)
                is distinct from (line.at_most, line.every, line.burst, line.tat, line.due_at,
                    line.is_set));
    end loop;
    if admitted > 0 then
        perform pg_notify(channel, '');
    end if;
end
$admit$;

-- Plans are made while these tables are empty, and kept: a burst of jobs would be read from the first to
-- the last by each claim until the next analyze. The planner goes by the pages that a table has, so
-- each gets more than it would read in turn, and keeps them. The ids and keys are lower than any that comes.
alter table {schema}.purlin_jobs_scheduled set (fillfactor = 10);
alter table {schema}.purlin_jobs_unique set (fillfactor = 10);
alter table {schema}.purlin_jobs_children set (fillfactor = 10);
alter table {schema}.purlin_jobs_edges set (fillfactor = 10);
alter table {schema}.purlin_jobs_mail set (fillfactor = 10);
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
insert into {schema}.purlin_jobs_children (id, waits_for)
select lpad(n::text, 32, '0')::uuid, 1 from generate_series(1, 2500) n;
insert into {schema}.purlin_jobs_edges (parent, child, on_ended)
select lpad(n::text, 32, '0')::uuid, lpad(n::text, 32, '0')::uuid, false
from generate_series(1, 2500) n;
insert into {schema}.purlin_jobs_finished (id, enqueued_at, ended_at, version, priority, max_attempts,
    failures, crashes, state, queue, kind, payload)
select lpad(n::text, 32, '0')::uuid, 'epoch', 'epoch', 1, 4, 20, 0, 0, 4, '', repeat('-', 1000), ''
from generate_series(1, 1000) n;
insert into {schema}.purlin_jobs_held (group_name, rank, id)
select repeat('-', 1000), 'epoch', lpad(n::text, 32, '0')::uuid from generate_series(1, 1000) n;
insert into {schema}.purlin_jobs_slots (id, rank, is_reserved, group_name)
select lpad(n::text, 32, '0')::uuid, 'epoch', false, repeat('-', 1000) from generate_series(1, 1000) n;
insert into {schema}.purlin_jobs_groups (name)
select lpad(n::text, 1000, '-') from generate_series(1, 1000) n;
insert into {schema}.purlin_jobs_mail (group_name, what)
select '-', 0 from generate_series(1, 2500) n;
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
delete from {schema}.purlin_jobs_children;
delete from {schema}.purlin_jobs_edges;
delete from {schema}.purlin_jobs_finished;
delete from {schema}.purlin_jobs_held;
delete from {schema}.purlin_jobs_slots;
delete from {schema}.purlin_jobs_groups;
delete from {schema}.purlin_jobs_mail;
alter table {schema}.purlin_jobs_scheduled reset (fillfactor);
alter table {schema}.purlin_jobs_unique reset (fillfactor);
alter table {schema}.purlin_jobs_children set (fillfactor = 50);
alter table {schema}.purlin_jobs_edges reset (fillfactor);
alter table {schema}.purlin_jobs_mail reset (fillfactor);
