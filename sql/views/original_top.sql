-- The 10 % most relevant components of each original map.
--
-- Grain: one row per ok map of an original, explained for its label. `components` are their numbers counted
-- from 1, ready for list_select; `ranks` their ranks (0 = most relevant) in the same order; `n` the number of
-- all components.
select
    dataset,
    model,
    method,
    image_id,
    len(rank) as n,
    ties_at_31,
    ties_at_307,
    list_where(
        range(1, len(rank) + 1), list_transform(rank, lambda r: r < band_size(0.1, len(rank)))
    ) as components,
    list_filter(rank, lambda r: r < band_size(0.1, len(rank)))::integer[] as ranks
from relevance
where subject = 'original' and explains = 'label' and status = 'ok'
