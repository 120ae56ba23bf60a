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
        sum(values)::bigint as values
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
        unnest([true, cell < 0, cell > 0])::integer * values as values
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

-- unnested from one list, so that DuckDB expects a few cells and puts these into the hash table, not the
-- billions of values
in_wanted_cells as (
    select
        series,
        relevance_cell(value) as cell,
        value,
        count(*) as values
    from pooled
    where relevance_cell(value) in (select unnest(list(distinct cell)) from wanted)
    group by all
),

-- places within the cell
placed as (
    select
        *,
        sum(values) over (partition by series, cell order by value)::bigint as up_to_here
    from in_wanted_cells
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
        and wanted.cell = placed.cell
where
    wanted.position - wanted.before >= placed.up_to_here - placed.values
    and wanted.position - wanted.before < placed.up_to_here
group by all
