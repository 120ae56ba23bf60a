-- How large is the change that an attack needed: quantiles of its norms over the successes.
--
-- Inputs: adversarials
-- Grain: one row per dataset, model, attack, norm and level; none where nothing succeeded
-- Paper: none
-- Columns:
--   successes: pairs of status success
--   norm: of the change, components counted from 0 to 1: l1 (sum of |change|), l2 (Euclidean), linf (largest)
--   level: level of the quantile; 0 is the smallest, 1 the largest
--   value [1 = white]: the quantile, linear interpolation between order statistics
with

norms as (
    unpivot (
        select
            dataset,
            model,
            attack,
            l1::double as l1,
            l2::double as l2,
            linf::double as linf
        from attacked
        where status = 'success'
    )
    on l1, l2, linf
    into name norm value size
),

quantiles as (
    select
        dataset,
        model,
        attack,
        norm,
        count(*) as successes,
        quantile_cont(size, change_levels()) as found
    from norms
    group by all
)

select
    dataset,
    model,
    attack,
    successes,
    norm,
    unnest(change_levels()) as level,
    unnest(found) as value
from quantiles
order by dataset, model, attack, norm, level
