-- How often each rank shift occurs, from the original to the adversarial map: all that overlap and rank shift
-- need, in a few thousand rows.
--
-- Grain: one row per method, attack, narrowest band of the component in either map (`original_place`,
-- `adversarial_place`: 0 most relevant, 1 top 1 %, 2 top 10 %) and shift. Components that leave the top 10 %
-- are not counted.
with

ranked as (
    select
        dataset,
        model,
        method,
        attack,
        n,
        unnest(original_ranks) as original_rank,
        unnest(adversarial_ranks) as adversarial_rank
    from map_pairs
)

select
    dataset,
    model,
    method,
    attack,
    n,
    case
        when original_rank = 0 then 0
        when original_rank < band_size(0.01, n) then 1
        else 2
    end as original_place,
    case
        when adversarial_rank = 0 then 0
        when adversarial_rank < band_size(0.01, n) then 1
        else 2
    end as adversarial_place,
    adversarial_rank - original_rank as shift,
    count(*) as components
from ranked
where adversarial_rank < band_size(0.1, n)
group by all
