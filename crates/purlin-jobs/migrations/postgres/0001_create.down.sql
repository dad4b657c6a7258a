drop table {schema}.purlin_jobs_queues;
drop table {schema}.purlin_jobs_finished;
drop table {schema}.purlin_jobs_unique;
drop table {schema}.purlin_jobs_workers;
drop table {schema}.purlin_jobs_leases;
drop table {schema}.purlin_jobs_scheduled;
drop table {schema}.purlin_jobs_ready;
drop table {schema}.purlin_jobs_jobs;
