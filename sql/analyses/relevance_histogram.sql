-- How are relevance values distributed: a histogram of 80 bins over [-1, 1].
--
-- Inputs: relevance (maps of status ok)
-- Grain: one row per dataset, model, method, subject, explains and bin, empty bins included
-- Paper: beside Tables 3 and 4
-- Columns:
--   bin_low [scale]: lower edge, included
--   bin_high [scale]: upper edge, excluded but for the last bin
--   values: values in the bin
--   share [share]: of all values of these maps
with

pooled as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        unnest(relevance)::double as value
    from relevance
    where status = 'ok'
),

binned as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        least(floor((value + 1) * 40), 79)::integer as bin,
        count(*) as counted
    from pooled
    group by all
),

totals as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        sum(counted) as total
    from binned
    group by all
),

bins as (
    select unnest(range(80))::integer as bin
)

select
    dataset,
    model,
    method,
    subject,
    explains,
    bin / 40 - 1 as bin_low,
    (bin + 1) / 40 - 1 as bin_high,
    coalesce(counted, 0) as values,
    coalesce(counted, 0) / total as share
from totals
cross join bins
left join binned using (dataset, model, method, subject, explains, bin)
order by dataset, model, method, subject, explains, bin
