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

-- places within the cell
placed as (
    select
        *,
        sum(values) over (partition by series, cell order by value)::bigint as up_to_here
    from wanted_values
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
from wanted_places as wanted
inner join placed using (series, cell)
where
    wanted.position - wanted.before >= placed.up_to_here - placed.values
    and wanted.position - wanted.before < placed.up_to_here
group by all
