-- How are relevance values distributed: nine quantiles of all values of all maps.
--
-- Inputs: relevance (maps of status ok)
-- Grain: one row per dataset, model, method, subject, explains and level
-- Paper: Table 3 (adversarial examples) and Table 4 (originals)
-- Columns:
--   maps: ok maps whose values were pooled
--   level: level of the quantile
--   value [scale]: the quantile, linear interpolation between order statistics
with

ok_maps as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        relevance
    from relevance
    where status = 'ok'
),

counted as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        count(*) as maps
    from ok_maps
    group by all
),

pooled as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        unnest(relevance)::double as value
    from ok_maps
),

quantiles as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        quantile_cont(value, relevance_levels()) as levels
    from pooled
    group by all
)

select
    dataset,
    model,
    method,
    subject,
    explains,
    maps,
    unnest(relevance_levels()) as level,
    unnest(levels) as value
from quantiles
inner join counted using (dataset, model, method, subject, explains)
order by dataset, model, method, subject, explains, level
