-- How do the quantiles of relevance change from the originals to the other maps of a method?
--
-- Inputs: relevance (maps of status ok; through relevance_quantiles)
-- Grain: one row per dataset, model, method, subject, explains and level, for every subject but the originals
-- explained for their label; none where a method has no such originals
-- Paper: Table 3 minus Table 4
-- Columns:
--   level: level of the quantile
--   value [scale]: the quantile
--   original_value [scale]: the same quantile of the originals explained for their label
--   change [scale]: value - original_value
with

-- materialized: it is read more than once
quantiles as materialized (
    select * from relevance_quantiles
)

select
    dataset,
    model,
    method,
    other.subject,
    other.explains,
    level,
    other.value,
    original.value as original_value,
    other.value - original.value as change
from quantiles as other
inner join quantiles as original using (dataset, model, method, level)
where
    original.subject = 'original'
    and original.explains = 'label'
    and not (other.subject = 'original' and other.explains = 'label')
order by dataset, model, method, other.subject, other.explains, level
