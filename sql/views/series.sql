-- A number for each series of maps, to group values by: names would be hashed for each of billions of values.
--
-- Grain: one row per dataset, model, method, subject, explains and target that has a map.
with

keys as (
    select distinct
        dataset,
        model,
        method,
        subject,
        explains,
        target
    from relevance
)

select
    *,
    row_number() over (order by dataset, model, method, subject, explains, target)::integer as series
from keys
