-- How alike are the values of any map and of its original: in sign, in size, in structure, in distribution?
--
-- Inputs: relevance, adversarials, images (through compared_maps)
-- Grain: one row per dataset, model, method, subject, explains, target and image_id
-- Unit: shard
-- Maps: all
-- Columns:
--   sign_agreement [share]: components whose relevance has the same sign (negative, zero, positive)
--   sign_chance [share]: the same, were the components of one map in another order
--   wasserstein [scale]: Wasserstein-1 distance of the two maps' values
--   spearman_of_magnitudes: Spearman's rho of the sizes of the values, ties at their mean rank; null where a
--     map's values are all of one size
--   ssim: structural similarity, see macro ssim; null where the images' shape is unknown
with

pairs as (
    select
        row_number() over () as pair,
        *
    from compared_maps
    semi join held_series using (dataset, model, method, subject)
    where reference = 'original'
),

components as (
    select
        pair,
        abs(unnest(relevance)) as size,
        abs(unnest(other_relevance)) as other_size
    from pairs
),

ranked as (
    select
        pair,
        rank() over (partition by pair order by size)
        + (count(*) over (partition by pair, size) - 1) / 2 as place,
        rank() over (partition by pair order by other_size)
        + (count(*) over (partition by pair, other_size) - 1) / 2 as other_place
    from components
),

correlated as (
    select
        pair,
        corr(place, other_place) as spearman_of_magnitudes
    from ranked
    group by pair
),

windows as (
    select
        *,
        ssim_window(least(height, width)) as weights,
        ssim_places(height, width, channels, len(ssim_window(least(height, width)))) as places
    from map_shapes
)

select
    pairs.dataset,
    pairs.model,
    pairs.method,
    pairs.subject,
    pairs.explains,
    pairs.target,
    pairs.image_id,
    pairs.label,
    list_avg(
        list_transform(
            list_zip(pairs.relevance, pairs.other_relevance),
            lambda values: (sign(values[1]) = sign(values[2]))::integer
        )
    ) as sign_agreement,
    list_inner_product(sign_shares(pairs.relevance), sign_shares(pairs.other_relevance)) as sign_chance,
    wasserstein(pairs.relevance, pairs.other_relevance) as wasserstein,
    case
        when isfinite(correlated.spearman_of_magnitudes) then correlated.spearman_of_magnitudes
    end as spearman_of_magnitudes,
    case
        when len(pairs.relevance) = windows.height * windows.width * windows.channels
            then ssim(pairs.relevance, pairs.other_relevance, windows.places, windows.weights)
    end as ssim
from pairs
inner join correlated using (pair)
left join windows using (dataset)
