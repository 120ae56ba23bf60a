-- How often does each rank shift occur, from the original to the adversarial map? All that the comparison of
-- bands needs, in a few thousand rows.
--
-- Inputs: relevance, adversarials (through map_pairs: successful pairs of which both maps are ok)
-- Grain: one row per dataset, model, method, attack, label, target, place in either map and shift
-- Unit: shard
-- Columns:
--   n: components of a map
--   original_place: narrowest band of the component in the original map: 0 most relevant, 1 top 1 %, 2 top
--     10 %
--   adversarial_place: the same in the adversarial map; components that leave its top 10 % are not counted
--   shift [rank]: rank in the adversarial map minus rank in the original map, positive = moved down
--   components: how many components, over all pairs
with

ranked as (
    select
        dataset,
        model,
        method,
        attack,
        label,
        target,
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
    label,
    target,
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
