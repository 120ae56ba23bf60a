-- How far apart are the distributions of relevance, of originals and of what is compared with them?
--
-- The Kolmogorov-Smirnov distance of all values of two series pooled, from counts by cell: exact at the edges
-- of cells (of which there are thousands, see macro relevance_cell); within a cell the distance may be
-- greater, but is no greater than `ks_at_most`.
--
-- Inputs: relevance (maps of status ok; through value_counts)
-- Grain: one row per dataset, model, method, subject and explains beside the originals' own maps
-- Paper: none; Tables 3 and 4 compare quantiles
-- Columns:
--   values: values of the series
--   original_values: values of the originals, explained for their label
--   ks: greatest distance of the two distribution functions, at edges of cells (Kolmogorov-Smirnov; Massey
--     1951, Journal of the American Statistical Association 46(253))
--   ks_at_most: greatest distance that there may be anywhere
with

counts as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        cell,
        sum(values)::double as values
    from value_counts
    group by all
),

originals as (
    select * from counts
    where subject = 'original' and explains = 'label'
),

series as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        sum(values) as total
    from counts
    where subject != 'original' or explains != 'label'
    group by all
),

totals as (
    select
        dataset,
        model,
        method,
        sum(values) as original_total
    from originals
    group by all
),

counted as (
    select
        series.*,
        totals.original_total,
        counts.cell,
        counts.values,
        0 as original_values
    from series
    inner join totals using (dataset, model, method)
    inner join counts using (dataset, model, method, subject, explains)
    union all
    select
        series.*,
        totals.original_total,
        originals.cell,
        0 as values,
        originals.values as original_values
    from series
    inner join totals using (dataset, model, method)
    inner join originals using (dataset, model, method)
),

shares as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        total,
        original_total,
        cell,
        sum(values) / any_value(total) as share,
        sum(original_values) / any_value(original_total) as original_share
    from counted
    group by all
),

summed as (
    select
        *,
        sum(share) over upwards as below,
        sum(original_share) over upwards as original_below
    from shares
    window upwards as (partition by dataset, model, method, subject, explains order by cell)
)

select
    dataset,
    model,
    method,
    subject,
    explains,
    total::bigint as values,
    original_total::bigint as original_values,
    max(abs(below - original_below)) as ks,
    max(
        greatest(below - (original_below - original_share), original_below - (below - share))
    ) as ks_at_most
from summed
group by all
order by dataset, model, method, subject, explains
