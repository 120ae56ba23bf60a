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
        series,
        label,
        n,
        band_size(0.01, n) as k_1,
        band_size(0.1, n) as k_10,
        unnest(original_ranks) as original_rank,
        unnest(adversarial_ranks) as adversarial_rank
    from map_pairs
),

counted as (
    select
        series,
        label,
        n,
        case
            when original_rank = 0 then 0
            when original_rank < k_1 then 1
            else 2
        end as original_place,
        case
            when adversarial_rank = 0 then 0
            when adversarial_rank < k_1 then 1
            else 2
        end as adversarial_place,
        adversarial_rank - original_rank as shift,
        count(*) as components
    from ranked
    where adversarial_rank < k_10
    group by all
)

select
    series.dataset,
    series.model,
    series.method,
    series.subject as attack,
    counted.label,
    series.target,
    counted.n,
    counted.original_place,
    counted.adversarial_place,
    counted.shift,
    counted.components
from counted
inner join series using (series)
