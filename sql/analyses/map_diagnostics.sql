-- Can the maps be trusted: which failed, how often is the start negative, and where did the relevance go that
-- did not reach the image?
--
-- Inputs: relevance
-- Grain: one row per dataset, model, method, subject and explains
-- Paper: none
-- Columns:
--   maps: all maps
--   non_finite_maps: maps with an overflow or a division by zero, left out of everything below
--   zero_maps: maps that are zero everywhere
--   negative_starts [share]: maps whose start logit is below zero, which turns the map's sign
--   sum_share [share]: median over maps of the sum of the relevance / start
--   accounted_maps: maps of which it is known what was absorbed; the following columns are of these
--   bias_share [share]: median of the relevance that biases took / start (integrated gradients: the logit of
--     the baseline)
--   stabiliser_share [share]: the same for stabilisers
--   empty_share [share]: the same for relevance that found no contribution to go to
--   largest_gap [share]: largest |start - sum - absorbed| of a map over the largest of these: rounding
--     (LRP), the error of the integral (integrated gradients)
with

finite as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        status,
        start::double as start,
        relevance_sum,
        absorbed_bias,
        absorbed_stabiliser,
        absorbed_empty,
        relevance_sum + absorbed_bias + absorbed_stabiliser + absorbed_empty as accounted_for,
        greatest(
            abs(start), abs(relevance_sum), abs(absorbed_bias), abs(absorbed_stabiliser), abs(absorbed_empty)
        ) as largest
    from relevance
    where status != 'non_finite'
),

shares as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        status = 'zero' as is_zero,
        start < 0 as is_negative,
        relevance_sum / nullif(start, 0) as sum_share,
        isfinite(accounted_for) as is_accounted,
        case when is_accounted then absorbed_bias / nullif(start, 0) end as bias_share,
        case when is_accounted then absorbed_stabiliser / nullif(start, 0) end as stabiliser_share,
        case when is_accounted then absorbed_empty / nullif(start, 0) end as empty_share,
        case when is_accounted then coalesce(abs(accounted_for - start) / nullif(largest, 0), 0) end as gap
    from finite
),

summarised as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        count(*) filter (where is_zero) as zero_maps,
        count(*) filter (where is_negative) / count(*) as negative_starts,
        quantile_cont(sum_share, 0.5) as sum_share,
        count(*) filter (where is_accounted) as accounted_maps,
        quantile_cont(bias_share, 0.5) as bias_share,
        quantile_cont(stabiliser_share, 0.5) as stabiliser_share,
        quantile_cont(empty_share, 0.5) as empty_share,
        max(gap) as largest_gap
    from shares
    group by all
),

counted as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        count(*) as maps,
        count(*) filter (where status = 'non_finite') as non_finite_maps
    from relevance
    group by all
)

select
    dataset,
    model,
    method,
    subject,
    explains,
    maps,
    non_finite_maps,
    coalesce(zero_maps, 0) as zero_maps,
    negative_starts,
    sum_share,
    coalesce(accounted_maps, 0) as accounted_maps,
    bias_share,
    stabiliser_share,
    empty_share,
    largest_gap
from counted
left join summarised using (dataset, model, method, subject, explains)
order by dataset, model, method, subject, explains
