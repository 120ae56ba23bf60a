-- The 10 % most relevant components of each original map.
--
-- Grain: one row per ok map of an original, explained for its label. `components` are their numbers counted
-- from 1, ready for list_select, most relevant first; `ranks` their ranks in the same order (0, 1, ...); `n`
-- the number of all components.
with

maps as (
    select
        series_number(dataset, model, method, subject, explains, target) as series,
        dataset,
        model,
        method,
        image_id,
        len(rank) as n,
        ties_at_31,
        ties_at_307,
        rank
    from relevance
    where subject = 'original' and explains = 'label' and status = 'ok'
),

placed as (
    select
        series,
        image_id,
        band_size(0.1, n) as k,
        unnest(rank) as place,
        unnest(range(1, n + 1))::integer as component
    from maps
),

-- filtered and sorted as rows: lists of all components would be copied several times
tops as (
    select
        series,
        image_id,
        list(component order by place) as components
    from placed
    where place < k
    group by all
)

select
    maps.dataset,
    maps.model,
    maps.method,
    maps.image_id,
    maps.n,
    maps.ties_at_31,
    maps.ties_at_307,
    maps.rank,
    tops.components,
    range(len(tops.components))::integer[] as ranks
from tops
inner join maps using (series, image_id)
