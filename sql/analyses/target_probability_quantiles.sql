-- How sure is the network of the target: quantiles of the target's probability over the successes.
--
-- Inputs: adversarials
-- Grain: one row per dataset, model, attack and level; none where nothing succeeded
-- Paper: section 4.1 (99 % above 0.9337; quantiles .005 = 0.5482 and .001 = 0.2662)
-- Columns:
--   successes: pairs of status success
--   level: level of the quantile
--   value: the quantile, linear interpolation between order statistics
with

quantiles as (
    select
        dataset,
        model,
        attack,
        count(*) as successes,
        quantile_cont(target_probability::double, probability_levels()) as found
    from attacked
    where status = 'success'
    group by all
)

select
    dataset,
    model,
    attack,
    successes,
    unnest(probability_levels()) as level,
    unnest(found) as value
from quantiles
order by dataset, model, attack, level
