-- How far out do the tails reach: quantiles of the positive and of the negative values apart.
--
-- Inputs: relevance (maps of status ok; through order_statistics)
-- Grain: one row per dataset, model, method, subject, explains, sign and level; none for a sign without
-- values
-- Paper: section on the distribution of relevance (largest 1 % of the positive, smallest 1 % of the negative
-- values)
-- Columns:
--   sign: negative or positive: which values
--   values: how many there are
--   level: level of the quantile among them; 0.99 of the positive is where their largest 1 % begin, 0.01 of
--     the
--     negative where their smallest 1 % end
--   value [scale]: the quantile, linear interpolation between order statistics
select
    dataset,
    model,
    method,
    subject,
    explains,
    sign,
    values,
    level,
    lower + (upper - lower) * (place - floor(place)) as value
from order_statistics
where sign in ('negative', 'positive')
order by dataset, model, method, subject, explains, sign, level
