-- What do the maps look like in a few numbers: mean, spread, and the shares of zero and negative relevance?
--
-- Inputs: relevance (values of ok maps; zero and non-finite maps are counted only)
-- Grain: one row per dataset, model, method, subject and explains
-- Paper: section on the distribution of relevance (mean and standard deviation of LRP-alpha1-beta0, shares of
-- relevance exactly zero and below zero)
-- Columns:
--   maps: maps of status ok
--   zero_maps: maps that are zero everywhere
--   non_finite_maps: maps with an overflow or a division by zero
--   values: values in the ok maps
--   mean [scale]: mean of these values
--   std [scale]: their population standard deviation
--   share_zero [share]: share of values exactly zero
--   share_near_zero [share]: share of values from -0.001 to 0.001, zero included
--   share_negative [share]: share of values below zero
--   minimum [scale]: smallest value
--   maximum [scale]: largest value
with

counted as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        count(*) filter (where status = 'ok') as maps,
        count(*) filter (where status = 'zero') as zero_maps,
        count(*) filter (where status = 'non_finite') as non_finite_maps
    from relevance
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
    from relevance
    where status = 'ok'
),

moments as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        count(*) as pooled_values,
        avg(value) as mean,
        stddev_pop(value) as std,
        count(*) filter (where value = 0) as zeros,
        count(*) filter (where abs(value) <= 0.001::double) as near_zeros,
        count(*) filter (where value < 0) as negatives,
        min(value) as minimum,
        max(value) as maximum
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
    zero_maps,
    non_finite_maps,
    coalesce(pooled_values, 0) as values,
    mean,
    std,
    zeros / pooled_values as share_zero,
    near_zeros / pooled_values as share_near_zero,
    negatives / pooled_values as share_negative,
    minimum,
    maximum
from counted
left join moments using (dataset, model, method, subject, explains)
order by dataset, model, method, subject, explains
