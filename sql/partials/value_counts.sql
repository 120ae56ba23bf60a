-- How many relevance values lie where, and what do they add up to?
--
-- Histogram, moments, shares of zero and near-zero values and the first pass of the exact quantiles are sums
-- over these rows.
--
-- Inputs: relevance (maps of status ok)
-- Grain: one row per dataset, model, method, subject, explains, target and cell that holds a value
-- Unit: shard
-- Columns:
--   cell: order-preserving cell of the value, see macro relevance_cell: narrow where values are many, within
--     one bin, and 0 for 0 alone
--   values: values in the cell
--   total [scale]: their sum
--   spread [scale^2]: sum of their squared distances to their own mean, total / values: sums of squares
--     about 0 would leave no digits to the spread of values that lie close together
--   cubes [scale^3]: sum of their cubes
--   minimum [scale]: the smallest
--   maximum [scale]: the largest
with

pooled as (
    select
        series_number(dataset, model, method, subject, explains, target) as series,
        unnest(relevance)::double as value
    from relevance
    where status = 'ok'
),

counted as (
    select
        series,
        relevance_cell(value) as cell,
        count(*) as values,
        sum(value) as total,
        var_pop(value) * count(*) as spread,
        sum(value * value * value) as cubes,
        min(value) as minimum,
        max(value) as maximum
    from pooled
    group by all
)

select
    series.dataset,
    series.model,
    series.method,
    series.subject,
    series.explains,
    series.target,
    counted.cell,
    counted.values,
    counted.total,
    counted.spread,
    counted.cubes,
    counted.minimum,
    counted.maximum
from counted
inner join series using (series)
