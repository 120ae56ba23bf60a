-- From which k on do components belong to the top k of both maps? The curve of the overlap over k, as counts.
--
-- Inputs: relevance, adversarials (through whole_map_pairs: successful pairs of which both maps are ok)
-- Grain: one row per dataset, model, method, attack, target and depth that occurs
-- Unit: shard
-- Columns:
--   n: components of a map
--   depth [rank]: the greater of a component's ranks in the original and in the adversarial map: it is in the
--     top k of both exactly where depth < k
--   components: how many components, over all pairs
with

ranked as (
    select
        series,
        len(original_rank) as n,
        unnest(original_rank) as original_rank,
        unnest(adversarial_rank) as adversarial_rank
    from whole_map_pairs
),

counted as (
    select
        series,
        n,
        -- `greatest` takes five times as long
        case when original_rank > adversarial_rank then original_rank else adversarial_rank end as depth,
        count(*) as components
    from ranked
    group by all
)

select
    series.dataset,
    series.model,
    series.method,
    series.subject as attack,
    series.target,
    counted.n,
    counted.depth::integer as depth,
    counted.components
from counted
inner join series using (series)
