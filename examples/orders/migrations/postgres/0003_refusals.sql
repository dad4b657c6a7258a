-- What the provider refuses is declined, and has no name there.
alter table {schema}.payments
    drop constraint payments_check1,
    add constraint payments_provider_ref check (
        case status
            when 'started' then provider_ref is null
            when 'declined' then true
            else provider_ref is not null
        end
    );
