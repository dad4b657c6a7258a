drop table {schema}.webhook_deliveries;
drop table {schema}.webhook_endpoints;
