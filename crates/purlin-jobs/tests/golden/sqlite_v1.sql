-- Jobs as version 1 of the tables has them: fixed text, which is never changed, since a later release must
-- read them. They were enqueued at 2027-01-15 08:00:00 UTC.

insert into purlin_jobs (
    id, kind, version, queue, priority_offset, max_attempts, timeout, traceparent, unique_key,
    unique_span, failures, crashes, error, failed_at, cancel_requested, enqueued_at, run_at,
    finished_as, finished_at, payload)
values (
    x'00000000000000000000000000000001', 'send_receipt', 1, 'default', 2400000000, 20, null,
    null, null, null, 0, 0, null, null, 0, 1800000000000001, 1800000000000001, null, null,
    x'7b226f72646572223a317d');
insert into purlin_jobs (
    id, kind, version, queue, priority_offset, max_attempts, timeout, traceparent, unique_key,
    unique_span, failures, crashes, error, failed_at, cancel_requested, enqueued_at, run_at,
    finished_as, finished_at, payload)
values (
    x'00000000000000000000000000000002', 'send_receipt', 40000, 'mail', 0, 3, 90000000,
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    x'dd56de4137951d9c92681b03416ec15f886b4482a27e3a517d32f085244cbe5d', 1, 2, 1, 'no answer',
    1800000001000000, 0, 1800000000000002, 1800000000000002, null, null,
    x'7b226f6c645f6f72646572223a327d');
insert into purlin_jobs (
    id, kind, version, queue, priority_offset, max_attempts, timeout, traceparent, unique_key,
    unique_span, failures, crashes, error, failed_at, cancel_requested, enqueued_at, run_at,
    finished_as, finished_at, payload)
values (
    x'00000000000000000000000000000003', 'send_receipt', 1, 'default', 2400000000, 20, null,
    null, x'df93883967247530ccfe4b8331751ed1c24485bbeccb37fd041746808c5ed4e3', 2, 0, 0, null,
    null, 0, 1800000000000003, 1800086400000000, null, null, x'7b226f72646572223a337d');
insert into purlin_jobs (
    id, kind, version, queue, priority_offset, max_attempts, timeout, traceparent, unique_key,
    unique_span, failures, crashes, error, failed_at, cancel_requested, enqueued_at, run_at,
    finished_as, finished_at, payload)
values (
    x'00000000000000000000000000000004', 'send_receipt', 1, 'default', 5400000000, 20, null,
    null, null, null, 0, 0, null, null, 0, 1800000000000004, 1800000000000004, null, null,
    x'7b226f72646572223a347d');
insert into purlin_jobs (
    id, kind, version, queue, priority_offset, max_attempts, timeout, traceparent, unique_key,
    unique_span, failures, crashes, error, failed_at, cancel_requested, enqueued_at, run_at,
    finished_as, finished_at, payload)
values (
    x'00000000000000000000000000000005', 'send_receipt', 1, 'default', 2400000000, 20, null,
    null, x'c22fd5287e526a8e1c38ee772ae04a1ae7fae1b3ba2a9ffb5a3d3c131aa38622', 1, 20, 0,
    'no such order', 1800000002000000, 0, 1800000000000005, 1800000000000005, 'dead',
    1800000002000000, x'7b226f72646572223a357d');
insert into purlin_jobs (
    id, kind, version, queue, priority_offset, max_attempts, timeout, traceparent, unique_key,
    unique_span, failures, crashes, error, failed_at, cancel_requested, enqueued_at, run_at,
    finished_as, finished_at, payload)
values (
    x'00000000000000000000000000000006', 'send_receipt', 1, 'default', 2400000000, 20, null,
    null, null, null, 0, 0, null, null, 0, 1800000000000006, 1800000000000006, 'cancelled',
    1800000003000000, x'7b226f72646572223a367d');
insert into purlin_jobs (
    id, kind, version, queue, priority_offset, max_attempts, timeout, traceparent, unique_key,
    unique_span, failures, crashes, error, failed_at, cancel_requested, enqueued_at, run_at,
    finished_as, finished_at, payload)
values (
    x'00000000000000000000000000000007', 'send_receipt', 1, 'default', 2400000000, 20, null,
    null, null, null, 0, 0, null, null, 1, 1800000000000007, 1800000000000007, null, null,
    x'7b226f72646572223a377d');
insert into purlin_jobs (
    id, kind, version, queue, priority_offset, max_attempts, timeout, traceparent, unique_key,
    unique_span, failures, crashes, error, failed_at, cancel_requested, enqueued_at, run_at,
    finished_as, finished_at, payload)
values (
    x'00000000000000000000000000000008', 'send_receipt', 1, 'paused', 5400000000, 20, null,
    null, null, null, 0, 0, null, null, 0, 1800000000000008, 1800000000000008, null, null,
    x'7b226f72646572223a387d');
insert into purlin_jobs (
    id, kind, version, queue, priority_offset, max_attempts, timeout, traceparent, unique_key,
    unique_span, failures, crashes, error, failed_at, cancel_requested, enqueued_at, run_at,
    finished_as, finished_at, payload)
values (
    x'0000000000000000000000000000000a', 'send_receipt', 1, 'default', 2400000000, 20, null,
    null, x'11ed5174f33acbeaa404860ca1492fdb8aa64e391e9e671db6146128e94a1f9a', 0, 0, 0, null,
    null, 0, 1800000000000010, 1800000000000010, null, null, x'7b226f72646572223a31307d');

insert into purlin_jobs_ready (queue, rank, id, kind)
values ('default', 1800002400000001, x'00000000000000000000000000000001', 'send_receipt');
insert into purlin_jobs_ready (queue, rank, id, kind)
values ('mail', 1800000000000002, x'00000000000000000000000000000002', 'send_receipt');
insert into purlin_jobs_unique (key, job, span, until)
values (x'dd56de4137951d9c92681b03416ec15f886b4482a27e3a517d32f085244cbe5d',
    x'00000000000000000000000000000002', 1, null);
insert into purlin_jobs_scheduled (run_at, id)
values (1800086400000000, x'00000000000000000000000000000003');
insert into purlin_jobs_unique (key, job, span, until)
values (x'df93883967247530ccfe4b8331751ed1c24485bbeccb37fd041746808c5ed4e3',
    x'00000000000000000000000000000003', 2, 1800086400000000);
insert into purlin_jobs_leased (lease, job)
values (x'00000000000000000000000000000091', x'00000000000000000000000000000004');
insert into purlin_jobs_leased (lease, job)
values (x'00000000000000000000000000000091', x'00000000000000000000000000000007');
insert into purlin_jobs_ready (queue, rank, id, kind)
values ('paused', 1800005400000008, x'00000000000000000000000000000008', 'send_receipt');
insert into purlin_jobs_ready (queue, rank, id, kind)
values ('default', 1800002400000010, x'0000000000000000000000000000000a', 'send_receipt');
insert into purlin_jobs_unique (key, job, span, until)
values (x'11ed5174f33acbeaa404860ca1492fdb8aa64e391e9e671db6146128e94a1f9a',
    x'0000000000000000000000000000000a', 0, null);
insert into purlin_jobs_leases (id, worker)
values (x'00000000000000000000000000000091', x'00000000000000000000000000000081');
insert into purlin_jobs_workers (id, expires_at)
values (x'00000000000000000000000000000081', 1800000015000000);
insert into purlin_jobs_queues (name, paused) values ('paused', 1);
