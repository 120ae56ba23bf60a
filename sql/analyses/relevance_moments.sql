-- What do the maps look like in a few numbers: mean, spread, skewness, and the shares of zero, near-zero and
-- negative relevance, of all values and of either sign?
--
-- Inputs: relevance (values of ok maps, through value_counts; zero and non-finite maps are counted only)
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
--   skewness: their third central moment / std^3; null where they are all the same
--   share_zero [share]: share of values exactly zero
--   share_near_zero [share]: share of values from -0.001 to 0.001, zero included
--   share_negative [share]: share of values below zero
--   share_positive [share]: share of values above zero
--   minimum [scale]: smallest value
--   maximum [scale]: largest value
--   positive_mean [scale]: mean of the values above zero; null where there are none, as the next two
--   positive_std [scale]: their population standard deviation
--   positive_near_zero [share]: share of them up to 0.001
--   negative_mean [scale]: mean of the values below zero; null where there are none, as the next two
--   negative_std [scale]: their population standard deviation
--   negative_near_zero [share]: share of them from -0.001
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

binned as (
    select
        *,
        relevance_bin(minimum) as bin
    from value_counts
),

-- materialized: it stands for billions of values, and is read more than once
merged as materialized (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        cell,
        bin,
        sum(values)::bigint as values,
        fsum(total) as total,
        -- The spread of a union is what its parts have about their own means, and what these have about the
        -- common one; counted from the bin's edge, so that the difference keeps its digits.
        fsum(spread + values * (total / values - bin_edge(bin)) ** 2) as about_edge,
        fsum(cubes) as cubes,
        min(minimum) as minimum,
        max(maximum) as maximum
    from binned
    group by all
),

cells as (
    select
        *,
        is_near_zero_cell(cell) as is_near_zero,
        total / values as own_mean,
        case
            when minimum < maximum then greatest(about_edge - values * (own_mean - bin_edge(bin)) ** 2, 0)
            else 0
        end as spread,
        case when minimum < maximum then cubes - 3 * own_mean * spread - values * own_mean ** 3 else 0 end
            as third
    from merged
),

sums as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        sum(values)::bigint as pooled_values,
        coalesce(sum(values) filter (where cell = 0), 0)::bigint as zero_values,
        coalesce(sum(values) filter (where cell < 0), 0)::bigint as negatives,
        coalesce(sum(values) filter (where cell > 0), 0)::bigint as positives,
        sum(values) filter (where is_near_zero) as near_zeros,
        sum(values) filter (where is_near_zero and cell < 0) as near_negatives,
        sum(values) filter (where is_near_zero and cell > 0) as near_positives,
        fsum(total) / pooled_values as mean,
        fsum(total) filter (where cell < 0) / nullif(negatives, 0) as negative_mean,
        fsum(total) filter (where cell > 0) / nullif(positives, 0) as positive_mean,
        min(minimum) as minimum,
        max(maximum) as maximum
    from cells
    group by all
),

spreads as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        fsum(cells.spread + cells.values * (own_mean - sums.mean) ** 2) as spread,
        fsum(
            cells.third + 3 * (own_mean - sums.mean) * cells.spread
            + cells.values * (own_mean - sums.mean) ** 3
        ) as third,
        fsum(cells.spread + cells.values * (own_mean - sums.positive_mean) ** 2) filter (
            where cell > 0
        ) as positive_spread,
        fsum(cells.spread + cells.values * (own_mean - sums.negative_mean) ** 2) filter (
            where cell < 0
        ) as negative_spread
    from cells
    inner join sums using (dataset, model, method, subject, explains)
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
    coalesce(sums.pooled_values, 0) as values,
    sums.mean,
    sqrt(spreads.spread / pooled_values) as std,
    case when sums.minimum < sums.maximum then spreads.third / pooled_values / std ** 3 end as skewness,
    sums.zero_values / pooled_values as share_zero,
    coalesce(sums.near_zeros, 0) / pooled_values as share_near_zero,
    sums.negatives / pooled_values as share_negative,
    sums.positives / pooled_values as share_positive,
    sums.minimum,
    sums.maximum,
    sums.positive_mean,
    sqrt(spreads.positive_spread / positives) as positive_std,
    coalesce(sums.near_positives, 0) / nullif(positives, 0) as positive_near_zero,
    sums.negative_mean,
    sqrt(spreads.negative_spread / negatives) as negative_std,
    coalesce(sums.near_negatives, 0) / nullif(negatives, 0) as negative_near_zero
from counted
left join sums using (dataset, model, method, subject, explains)
left join spreads using (dataset, model, method, subject, explains)
order by dataset, model, method, subject, explains
