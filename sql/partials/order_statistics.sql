-- Which values stand at the wanted levels: the order statistics of all values, and of those of either sign.
--
-- Exact in bounded memory: the counts of value_counts tell in which cells the wanted places lie; only the
-- values of these cells are then counted one by one.
--
-- Inputs: value_counts, relevance (maps of status ok)
-- Grain: one row per dataset, model, method, subject, explains, sign and level
-- Unit: series
-- Columns:
--   sign: all, negative or positive: which values
--   level: level of the quantile
--   values: how many values there are of this sign
--   place: level * (values - 1), counted from 0 in ascending order
--   lower [scale]: value at floor(place)
--   upper [scale]: value at ceil(place)
with

counted as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        cell,
        sum(values)::bigint as all_values,
        coalesce(sum(values) filter (where bin < 0), 0)::bigint as negative_values,
        coalesce(sum(values - zeros) filter (where bin >= 0), 0)::bigint as positive_values
    from value_counts
    group by all
),

of_sign as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        cell,
        unnest(['all', 'negative', 'positive']) as sign,
        unnest([all_values, negative_values, positive_values]) as values
    from counted
),

cells as materialized (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        sign,
        cell,
        values,
        sum(values) over (
            partition by dataset, model, method, subject, explains, sign
            order by cell
        )::bigint - values as before,
        sum(values) over (partition by dataset, model, method, subject, explains, sign)::bigint as total
    from of_sign
    where values > 0
),

levels as (
    select * from quantile_levels
),

places as (
    select distinct
        cells.dataset,
        cells.model,
        cells.method,
        cells.subject,
        cells.explains,
        sign,
        levels.level,
        cells.total,
        levels.level * (cells.total - 1) as place
    from cells
    inner join levels using (sign)
),

-- the places on either side, and the cells that they lie in
sides as (
    select
        *,
        unnest(['lower', 'upper']) as side,
        unnest([floor(place), ceil(place)])::bigint as position
    from places
),

wanted as materialized (
    select
        sides.*,
        cells.cell,
        cells.before
    from sides
    inner join cells using (dataset, model, method, subject, explains, sign)
    where cells.before <= sides.position and sides.position < cells.before + cells.values
),

pooled as (
    select
        series_number(dataset, model, method, subject, explains, null) as series,
        unnest(relevance)::double as value
    from relevance
    where status = 'ok'
),

-- coalesce keeps this a look-up: as a semi join DuckDB would put the billions of values into the hash table
in_wanted_cells as (
    select
        series,
        value,
        count(*) as values
    from pooled
    where coalesce(relevance_cell(value) in (select cell from wanted), false)
    group by all
),

-- places within the cell, counted apart for each sign
placed as (
    select
        exact.series,
        relevance_cell(exact.value) as cell,
        signs.sign,
        exact.value,
        exact.values,
        sum(exact.values) over (
            partition by exact.series, signs.sign, relevance_cell(exact.value)
            order by exact.value
        )::bigint as up_to_here
    from in_wanted_cells as exact
    inner join (values ('all'), ('negative'), ('positive')) as signs (sign)
        on
            signs.sign = 'all'
            or (signs.sign = 'negative' and exact.value < 0)
            or (signs.sign = 'positive' and exact.value > 0)
)

select
    wanted.dataset,
    wanted.model,
    wanted.method,
    wanted.subject,
    wanted.explains,
    wanted.sign,
    wanted.level,
    wanted.total as values,
    wanted.place,
    min(placed.value) filter (where wanted.side = 'lower') as lower,
    min(placed.value) filter (where wanted.side = 'upper') as upper
from wanted
inner join placed
    on
        series_number(wanted.dataset, wanted.model, wanted.method, wanted.subject, wanted.explains, null)
        = placed.series
        and wanted.sign = placed.sign
        and wanted.cell = placed.cell
where
    wanted.position - wanted.before >= placed.up_to_here - placed.values
    and wanted.position - wanted.before < placed.up_to_here
group by all
