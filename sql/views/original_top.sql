-- The 10 % most relevant components of each original map.
--
-- Grain: one row per ok map of an original, explained for its label. `components` are their numbers counted
-- from 1, ready for list_select, most relevant first; `ranks` their ranks in the same order (0, 1, ...); `n`
-- the number of all components.
with

tops as (
    select
        dataset,
        model,
        method,
        image_id,
        len(rank) as n,
        ties_at_31,
        ties_at_307,
        rank,
        list_sort(
            list_zip(
                list_filter(rank, lambda place: place < band_size(0.1, len(rank))),
                list_where(
                    range(1, len(rank) + 1),
                    list_transform(rank, lambda place: place < band_size(0.1, len(rank)))
                )
            )
        ) as placed
    from relevance
    where subject = 'original' and explains = 'label' and status = 'ok'
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
    list_transform(placed, lambda pair: pair[2]) as components,
    list_transform(placed, lambda pair: pair[1])::integer[] as ranks
from tops
