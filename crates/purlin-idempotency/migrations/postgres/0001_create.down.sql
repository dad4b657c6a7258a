drop function {schema}.purlin_idempotency_add (bigint, bytea, bytea, bytea, bytea, bigint, bigint);
drop function {schema}.purlin_idempotency_is_free (bytea, timestamptz);
drop table {schema}.purlin_idempotency_records;
