drop table {schema}.payments;
