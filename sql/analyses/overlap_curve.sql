-- How many of the k most relevant components do the two maps of a pair share, for every k?
--
-- Inputs: relevance, adversarials (through overlap_counts: successful pairs of which both maps are ok)
-- Grain: one row per dataset, model, method, attack and k from 1 to the number of components
-- Paper: between the bands of Table 5
-- Columns:
--   pairs: pairs compared
--   k: components in the band, of both maps
--   overlap [share]: mean over pairs of the share of the original's top k that is in the adversarial one too
--   chance [share]: the overlap that two unrelated maps would have, k / n
with

counted as (
    select
        dataset,
        model,
        method,
        attack,
        n,
        depth + 1 as k,
        sum(components)::bigint as components
    from overlap_counts
    group by all
),

series as (
    select
        dataset,
        model,
        method,
        attack,
        n,
        -- every component of a pair has one depth
        (sum(components) / n)::bigint as pairs
    from counted
    group by dataset, model, method, attack, n
),

curve as (
    select
        *,
        unnest(range(1, n + 1))::integer as k
    from series
),

cumulated as (
    select
        curve.*,
        -- in the top k of both maps are the components of depth < k
        sum(counted.components) over (
            partition by dataset, model, method, attack, n
            order by k
        ) as shared
    from curve
    left join counted using (dataset, model, method, attack, n, k)
)

select
    dataset,
    model,
    method,
    attack,
    pairs,
    k,
    coalesce(shared, 0) / (pairs * k) as overlap,
    k / n as chance
from cumulated
order by dataset, model, method, attack, k
