-- In which cells the order statistics lie that quantiles are made from, by the counts of value_counts.
--
-- Grain: one row per dataset, model, method, subject, explains, sign, level and side (lower, upper). `series`
-- is the number of the series of all targets. `place` is level * (total - 1); its side `lower` stands at
-- `position` floor(place), `upper` at ceil(place), counted from 0 in ascending order. `before` of the `total`
-- values lie below the `cell`.
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
)

select
    series_number(dataset, model, method, subject, explains, null) as series,
    sides.*,
    cells.cell,
    cells.before
from sides
inner join cells using (dataset, model, method, subject, explains, sign)
where cells.before <= sides.position and sides.position < cells.before + cells.values
