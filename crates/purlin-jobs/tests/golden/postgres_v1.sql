-- Jobs as version 1 of the tables has them: fixed text, which is never changed, since a later release must
-- read them. They were enqueued at 2027-01-15 08:00:00 UTC.

insert into purlin_jobs_jobs (
    id, enqueued_at, run_at, failed_at, timeout, version, priority, max_attempts, failures,
    crashes, unique_span, queue, kind, payload, traceparent, unique_key, error, is_cancelled)
values (
    '00000000-0000-0000-0000-000000000001', '2027-01-15 08:00:00.000001+00', null, null, null,
    1, 4, 20, 0, 0, null, 'default', 'send_receipt', '\x7b226f72646572223a317d', null, null,
    null, false);
insert into purlin_jobs_jobs (
    id, enqueued_at, run_at, failed_at, timeout, version, priority, max_attempts, failures,
    crashes, unique_span, queue, kind, payload, traceparent, unique_key, error, is_cancelled)
values (
    '00000000-0000-0000-0000-000000000002', '2027-01-15 08:00:00.000002+00', null,
    '2027-01-15 08:00:01.000000+00', 90000000, -25536, 0, 3, 2, 1, 1, 'mail', 'send_receipt',
    '\x7b226f6c645f6f72646572223a327d',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    '\xdd56de4137951d9c92681b03416ec15f886b4482a27e3a517d32f085244cbe5d', 'no answer', false);
insert into purlin_jobs_jobs (
    id, enqueued_at, run_at, failed_at, timeout, version, priority, max_attempts, failures,
    crashes, unique_span, queue, kind, payload, traceparent, unique_key, error, is_cancelled)
values (
    '00000000-0000-0000-0000-000000000003', '2027-01-15 08:00:00.000003+00',
    '2027-01-16 08:00:00.000000+00', null, null, 1, 4, 20, 0, 0, 2, 'default', 'send_receipt',
    '\x7b226f72646572223a337d', null,
    '\xdf93883967247530ccfe4b8331751ed1c24485bbeccb37fd041746808c5ed4e3', null, false);
insert into purlin_jobs_jobs (
    id, enqueued_at, run_at, failed_at, timeout, version, priority, max_attempts, failures,
    crashes, unique_span, queue, kind, payload, traceparent, unique_key, error, is_cancelled)
values (
    '00000000-0000-0000-0000-000000000004', '2027-01-15 08:00:00.000004+00', null, null, null,
    1, 9, 20, 0, 0, null, 'default', 'send_receipt', '\x7b226f72646572223a347d', null, null,
    null, false);
insert into purlin_jobs_finished (
    id, enqueued_at, run_at, failed_at, timeout, version, priority, max_attempts, failures,
    crashes, unique_span, queue, kind, payload, traceparent, unique_key, error, state, ended_at)
values (
    '00000000-0000-0000-0000-000000000005', '2027-01-15 08:00:00.000005+00', null,
    '2027-01-15 08:00:02.000000+00', null, 1, 4, 20, 20, 0, 1, 'default', 'send_receipt',
    '\x7b226f72646572223a357d', null,
    '\xc22fd5287e526a8e1c38ee772ae04a1ae7fae1b3ba2a9ffb5a3d3c131aa38622', 'no such order', 3,
    '2027-01-15 08:00:02.000000+00');
insert into purlin_jobs_finished (
    id, enqueued_at, run_at, failed_at, timeout, version, priority, max_attempts, failures,
    crashes, unique_span, queue, kind, payload, traceparent, unique_key, error, state, ended_at)
values (
    '00000000-0000-0000-0000-000000000006', '2027-01-15 08:00:00.000006+00', null, null, null,
    1, 4, 20, 0, 0, null, 'default', 'send_receipt', '\x7b226f72646572223a367d', null, null,
    null, 4, '2027-01-15 08:00:03.000000+00');
insert into purlin_jobs_jobs (
    id, enqueued_at, run_at, failed_at, timeout, version, priority, max_attempts, failures,
    crashes, unique_span, queue, kind, payload, traceparent, unique_key, error, is_cancelled)
values (
    '00000000-0000-0000-0000-000000000007', '2027-01-15 08:00:00.000007+00', null, null, null,
    1, 4, 20, 0, 0, null, 'default', 'send_receipt', '\x7b226f72646572223a377d', null, null,
    null, true);
insert into purlin_jobs_jobs (
    id, enqueued_at, run_at, failed_at, timeout, version, priority, max_attempts, failures,
    crashes, unique_span, queue, kind, payload, traceparent, unique_key, error, is_cancelled)
values (
    '00000000-0000-0000-0000-000000000008', '2027-01-15 08:00:00.000008+00', null, null, null,
    1, 9, 20, 0, 0, null, 'paused', 'send_receipt', '\x7b226f72646572223a387d', null, null,
    null, false);
insert into purlin_jobs_jobs (
    id, enqueued_at, run_at, failed_at, timeout, version, priority, max_attempts, failures,
    crashes, unique_span, queue, kind, payload, traceparent, unique_key, error, is_cancelled)
values (
    '00000000-0000-0000-0000-00000000000a', '2027-01-15 08:00:00.000010+00', null, null, null,
    1, 4, 20, 0, 0, 0, 'default', 'send_receipt', '\x7b226f72646572223a31307d', null,
    '\x11ed5174f33acbeaa404860ca1492fdb8aa64e391e9e671db6146128e94a1f9a', null, false);

insert into purlin_jobs_ready (rank, id, queue, kind)
values ('2027-01-15 08:40:00.000001+00', '00000000-0000-0000-0000-000000000001', 'default', 'send_receipt');
insert into purlin_jobs_ready (rank, id, queue, kind)
values ('2027-01-15 08:00:00.000002+00', '00000000-0000-0000-0000-000000000002', 'mail', 'send_receipt');
insert into purlin_jobs_unique (key, job, until)
values ('\xdd56de4137951d9c92681b03416ec15f886b4482a27e3a517d32f085244cbe5d', '00000000-0000-0000-0000-000000000002', null);
insert into purlin_jobs_scheduled (id, run_at)
values ('00000000-0000-0000-0000-000000000003', '2027-01-16 08:00:00.000000+00');
insert into purlin_jobs_unique (key, job, until)
values ('\xdf93883967247530ccfe4b8331751ed1c24485bbeccb37fd041746808c5ed4e3', '00000000-0000-0000-0000-000000000003', '2027-01-16 08:00:00.000000+00');
insert into purlin_jobs_ready (rank, id, queue, kind)
values ('2027-01-15 09:30:00.000008+00', '00000000-0000-0000-0000-000000000008', 'paused', 'send_receipt');
insert into purlin_jobs_ready (rank, id, queue, kind)
values ('2027-01-15 08:40:00.000010+00', '00000000-0000-0000-0000-00000000000a', 'default', 'send_receipt');
insert into purlin_jobs_unique (key, job, until)
values ('\x11ed5174f33acbeaa404860ca1492fdb8aa64e391e9e671db6146128e94a1f9a', '00000000-0000-0000-0000-00000000000a', null);
-- The job c of this lease is done.
insert into purlin_jobs_leases (id, worker, ids)
values ('00000000-0000-0000-0000-000000000091', '00000000-0000-0000-0000-000000000081',
    array['00000000-0000-0000-0000-000000000004', '00000000-0000-0000-0000-00000000000c', '00000000-0000-0000-0000-000000000007']::uuid[]);
insert into purlin_jobs_workers (id, expires_at) values ('00000000-0000-0000-0000-000000000081', '2027-01-15 08:00:15.000000+00');
insert into purlin_jobs_queues (name, is_paused) values ('paused', true);
