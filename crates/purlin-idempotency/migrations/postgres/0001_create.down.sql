drop table {schema}.purlin_idempotency_records;
