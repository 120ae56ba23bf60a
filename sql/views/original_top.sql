-- The 10 % most relevant components of each original map.
--
-- Grain: one row per ok map of an original, explained for its label. `components` are their numbers counted
-- from 1, ready for list_select, most relevant first; `ranks` their ranks in the same order (0, 1, ...); `n`
-- the number of all components.
with

maps as (
    select
        *,
        len(rank) as n,
        band_size(0.1, len(rank)) as k
    from comparable_originals
)

select
    dataset,
    model,
    method,
    image_id,
    n,
    ties_at_31,
    ties_at_307,
    rank,
    -- top_components, without what it does for nulls
    list_select(
        list_where(range(1, n + 1)::integer[], list_transform(rank, lambda place: place < k)),
        list_grade_up(list_filter(rank, lambda place: place < k))
    ) as components,
    range(k)::integer[] as ranks
from maps
