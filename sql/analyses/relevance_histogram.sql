-- How are relevance values distributed: a histogram of 80 bins over [-1, 1].
--
-- Inputs: relevance (maps of status ok; through value_counts)
-- Grain: one row per dataset, model, method, subject, explains and bin, empty bins included
-- Paper: beside Tables 3 and 4
-- Columns:
--   bin_low [scale]: lower edge, included
--   bin_high [scale]: upper edge, excluded but for the last bin
--   values: values in the bin
--   share [share]: of all values of these maps
with

binned as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        -- a cell lies within one bin
        least(relevance_bin(minimum), 39)::integer as bin,
        sum(values)::bigint as counted
    from value_counts
    group by all
),

totals as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        sum(counted)::bigint as total
    from binned
    group by all
),

bins as (
    select unnest(range(-40, 40))::integer as bin
)

select
    dataset,
    model,
    method,
    subject,
    explains,
    bin / 40 as bin_low,
    (bin + 1) / 40 as bin_high,
    coalesce(counted, 0) as values,
    coalesce(counted, 0) / total as share
from totals
cross join bins
left join binned using (dataset, model, method, subject, explains, bin)
order by dataset, model, method, subject, explains, bin
