drop table {schema}.receipts;
