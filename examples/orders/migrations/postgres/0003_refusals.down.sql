update {schema}.payments set provider_ref = '' where status = 'declined' and provider_ref is null;

alter table {schema}.payments
    drop constraint payments_provider_ref,
    add constraint payments_check1 check ((status = 'started') = (provider_ref is null));
