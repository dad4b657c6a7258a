drop function {schema}.purlin_idempotency_add (bytea, bytea, bytea, bytea, timestamptz, timestamptz);
drop function {schema}.purlin_idempotency_is_free (bytea, timestamptz);
drop table {schema}.purlin_idempotency_records;
