-- How far apart are the quantiles of relevance, and are they further apart than those of the originals?
--
-- Inputs: relevance (maps of status ok; through relevance_quantiles)
-- Grain: one row per dataset, model, method, subject, explains, kind and pair of levels
-- Paper: text beside Tables 3 and 4
-- Columns:
--   kind: adjacent (from one level of Tables 3 and 4 to the next) or symmetric (from a level q to 1 - q)
--   lower_level: the lower level
--   upper_level: the upper level
--   gap [scale]: quantile at the upper level minus quantile at the lower
--   original_gap [scale]: the same gap of the originals explained for their label; null where there are none
--   change [scale]: gap - original_gap
with

-- materialized: it is read more than once
quantiles as materialized (
    select * from relevance_quantiles
),

adjacent as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        'adjacent' as kind,
        lag(level) over of_series as lower_level,
        level as upper_level,
        value - lag(value) over of_series as gap
    from quantiles
    window of_series as (partition by dataset, model, method, subject, explains order by level)
),

mirrored as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        'symmetric' as kind,
        lower.level as lower_level,
        upper.level as upper_level,
        upper.value - lower.value as gap
    from quantiles as lower
    inner join quantiles as upper using (dataset, model, method, subject, explains)
    where lower.level < 0.5 and abs(lower.level + upper.level - 1) < 1e-9
),

gaps as (
    select * from adjacent
    where lower_level is not null
    union all
    select * from mirrored
),

original_gaps as (
    select * from gaps
    where subject = 'original' and explains = 'label'
)

select
    dataset,
    model,
    method,
    gaps.subject,
    gaps.explains,
    kind,
    lower_level,
    upper_level,
    gaps.gap,
    original_gaps.gap as original_gap,
    gaps.gap - original_gaps.gap as change
from gaps
left join original_gaps using (dataset, model, method, kind, lower_level, upper_level)
order by dataset, model, method, gaps.subject, gaps.explains, kind, lower_level, upper_level
