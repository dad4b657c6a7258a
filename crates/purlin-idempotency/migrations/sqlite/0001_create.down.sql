drop table purlin_idempotency;
