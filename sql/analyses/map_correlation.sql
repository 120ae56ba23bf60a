-- How alike are the whole maps of a pair: correlation of values and of ranks, and agreement in sign.
--
-- Inputs: relevance, adversarials (through pair_measures: successful pairs of which both maps are ok)
-- Grain: one row per dataset, model, method, attack, measure and level
-- Paper: none
-- Columns:
--   measure: pearson (of the values), spearman (of the ranks) or sign_agreement (share of components whose
--     relevance has the same sign: negative, zero, positive)
--   pairs: pairs of which the measure is defined (Pearson's is not where a map is constant)
--   mean: mean of the measure over these pairs (the same on every level)
--   std: its population standard deviation (the same on every level)
--   level: level of the quantile
--   value: the quantile, linear interpolation between order statistics
with

measured as (
    select
        dataset,
        model,
        method,
        attack,
        unnest(['pearson', 'spearman', 'sign_agreement']) as measure,
        unnest([pearson, spearman, sign_agreement]) as measured
    from pair_measures
),

summarised as (
    select
        dataset,
        model,
        method,
        attack,
        measure,
        count(*) as pairs,
        avg(measured) as mean,
        stddev_pop(measured) as std,
        quantile_cont(measured, correlation_levels()) as quantiles
    from measured
    where isfinite(measured)
    group by all
)

select
    dataset,
    model,
    method,
    attack,
    measure,
    pairs,
    mean,
    std,
    unnest(correlation_levels()) as level,
    unnest(quantiles) as value
from summarised
order by dataset, model, method, attack, measure, level
