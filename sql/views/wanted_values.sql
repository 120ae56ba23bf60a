-- The values of the cells that wanted_places names, one by one.
--
-- Grain: one row per series (of all targets), cell and value; `values` says how many there are.
with

pooled as (
    select
        series_number(dataset, model, method, subject, explains, null) as series,
        unnest(relevance)::double as value
    from relevance
    where status = 'ok'
)

-- unnested from one list, so that DuckDB expects a few cells and puts these into the hash table, not the
-- billions of values
select
    series,
    relevance_cell(value) as cell,
    value,
    count(*) as values
from pooled
where relevance_cell(value) in (select unnest(list(distinct wanted_places.cell)) from wanted_places)
group by all
