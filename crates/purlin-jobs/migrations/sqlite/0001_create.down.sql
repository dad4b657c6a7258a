drop table purlin_jobs_queues;
drop table purlin_jobs_unique;
drop table purlin_jobs_leased;
drop table purlin_jobs_leases;
drop table purlin_jobs_workers;
drop table purlin_jobs_scheduled;
drop table purlin_jobs_ready;
drop table purlin_jobs;
