//! What the end of a job means to those that wait for it.
//!
//! The count of a child is right under concurrency since it is taken from the row as it is once that is
//! locked, whatever the snapshot says. Edges are read before: none comes to a parent that is there, but for
//! those of one that it replaces. An edge counts when it was deleted by this very statement.

/// Lets jobs that are added in this transaction wait for others that are.
pub(super) const LINK: &str = "with child as (
    insert into {children} (id, waits_for, start_at, delay)
    select e.id, e.waits_for, timestamptz 'epoch' + e.at, e.after
    from unnest($1::uuid[], $2::integer[], $3::interval[], $4::interval[])
        as e(id, waits_for, at, after))
insert into {edges} (parent, child, on_ended)
select e.parent, e.child, e.on_ended
from unnest($5::uuid[], $6::uuid[], $7::boolean[]) as e(parent, child, on_ended)";

/// Tells the children of `closed`: the jobs of flows that this statement has ended, with their `flow` and
/// `state` (3 dead, 4 cancelled, 5 done). `fallen` wait until one of them is done that never will be; of
/// these the statement owns those in `lost`, and cancels them. It stands in a `with recursive`, and is
/// taken for cheap: a level of them is one row, of which the planner, by what it knows of an equality, expects
/// few, since a plan that seems to cost much is compiled by the server each time, for seconds. Who goes on and has
/// a group stands in its line: `begun_in_line` is for `stirred`.
pub(super) const FLOW: &str = "levels as (
    select array (
        select e.child from {edges} e
        where not e.on_ended
            and e.parent = any (array (select id from closed where state = 4 and flow & 2 > 0))
        {seed}) as ids
    union all
    select array (
        select distinct e.child from {edges} e where e.parent = any (l.ids) and not e.on_ended)
    from levels l where sign(cardinality(l.ids)) = 1),
fallen as materialized (select distinct unnest(l.ids) as id from levels l),
hearing as materialized (
    select c.id from {children} c
    where c.waits_for > 0 and c.id = any (array (
        select e.child from {edges} e
        where e.parent = any (array (
                select id from closed where flow & 2 > 0 union all select id from fallen))
            and (e.on_ended or e.parent <> all (array (select id from closed where state = 3)))
        union all
        select id from fallen))
    order by c.id for update),
lost as (
    update {children} set waits_for = 0
    where id = any (array (select id from fallen intersect select id from hearing)) {if_owned}
    returning id),
cut as (
    delete from {edges} e
    where e.parent = any (array (
            select id from closed where flow & 2 > 0 union all select id from lost))
        and (e.on_ended or e.parent <> all (array (select id from closed where state = 3)))
    returning e.parent, e.child),
loose as (delete from {edges} where child = any (array (select id from lost))),
heard as materialized (
    select c.child as id, count(*)::integer as ends,
        (count(*) filter (where closed.state = 5))::integer as done,
        (count(*) filter (where closed.state = 3))::integer as dead
    from cut c left join closed on closed.id = c.parent
    where not exists (select from lost where lost.id = c.child)
    group by c.child),
counted as (
    update {children} c set waits_for = c.waits_for - h.ends, done = c.done + h.done,
        dead = c.dead + h.dead, cancelled = c.cancelled + h.ends - h.done - h.dead
    from heard h where c.id = any (array (select id from heard)) and c.id = h.id
    returning c.id, c.waits_for, c.start_at, c.delay),
free as materialized (
    select j.id, j.queue, j.kind, j.priority, j.group_name,
        coalesce(c.start_at, {now} + c.delay) as start_at,
        (row_number() over (order by j.id) - 1) * interval '1 microsecond' as apart
    from counted c join {jobs} j on j.id = c.id
    where j.id = any (array (select id from counted where waits_for = 0))),
begun as (
    insert into {ready} (queue, rank, id, kind)
    select queue, {now} + apart + priority * {step}, id, kind
    from free where (start_at is null or start_at <= {now}) and group_name is null
    returning rank),
begun_in_line as (
    insert into {held} (group_name, rank, id)
    select group_name, {now} + apart + priority * {step}, id
    from free where (start_at is null or start_at <= {now}) and group_name is not null
    returning group_name),
begun_later as (
    insert into {scheduled} (id, run_at) select id, start_at from free where start_at > {now}),
lost_jobs as (
    delete from {jobs} where id = any (array (select id from lost)) returning {fixed}, {told}),
lost_ended as (
    insert into {finished} ({fixed}, {told}, state, ended_at)
    select {fixed}, {told}, 4, {now} from lost_jobs),
lost_keys as (
    delete from {unique}
    where key = any (array (select unique_key from lost_jobs where unique_span < 2))
        and job = any (array (select id from lost_jobs where unique_span < 2))),
uncounted as (
    delete from {children}
    where id = any (array (select id from closed where state = 5 and flow & 1 > 0)))";

/// The job `$2` itself, if it is one that waits for others.
pub(super) const SEED: &str = "union all
    select c.id from {children} c where c.id = $2 and c.waits_for > 0";

/// It may have been let go since the snapshot: then those that wait for it are not cancelled with it.
pub(super) const IF_OWNED: &str = "and (exists (select from closed)
        or exists (select from hearing where hearing.id = $2))";

/// The lowest rank of those that go on, for the mark of the queue.
pub(super) const LOWEST: &str = "(select min(rank) from begun) - timestamptz 'epoch' as lowest";
