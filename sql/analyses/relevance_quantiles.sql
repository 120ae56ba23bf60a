-- How are relevance values distributed: nine quantiles of all values of all maps.
--
-- Inputs: relevance (maps of status ok; through order_statistics)
-- Grain: one row per dataset, model, method, subject, explains and level
-- Paper: Table 3 (adversarial examples) and Table 4 (originals)
-- Columns:
--   maps: ok maps whose values were pooled
--   level: level of the quantile
--   value [scale]: the quantile, linear interpolation between order statistics
with

counted as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        count(*) as maps
    from relevance
    where status = 'ok'
    group by all
)

select
    dataset,
    model,
    method,
    subject,
    explains,
    counted.maps,
    found.level,
    found.lower + (found.upper - found.lower) * (found.place - floor(found.place)) as value
from order_statistics as found
inner join counted using (dataset, model, method, subject, explains)
where found.sign = 'all'
order by dataset, model, method, subject, explains, found.level
