-- How many relevance values lie where, and what do they add up to?
--
-- Histogram, moments, shares of zero and near-zero values and the first pass of the exact quantiles are sums
-- over these rows.
--
-- Inputs: relevance (maps of status ok)
-- Grain: one row per dataset, model, method, subject, explains, target, bin and cell that hold a value
-- Unit: shard
-- Columns:
--   bin: floor(40 * value), -40 to 40 (a value of 1 alone): below 0 exactly where the value is
--   cell: order-preserving cell of the value, see macro relevance_cell; narrow where values are many
--   values: values in bin and cell
--   zeros: those that are exactly 0
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

binned as (
    select
        series,
        floor(value * 40)::tinyint as bin,
        relevance_cell(value) as cell,
        count(*) as values,
        count(*) filter (where value = 0) as zeros,
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
    binned.bin,
    binned.cell,
    binned.values,
    binned.zeros,
    binned.total,
    binned.spread,
    binned.cubes,
    binned.minimum,
    binned.maximum
from binned
inner join series using (series)
