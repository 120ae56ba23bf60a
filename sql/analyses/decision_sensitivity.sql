-- Does a map change more when the decision is overturned than when the image moves as far and keeps its
-- class? Every comparison of the 2 x 2 design and of the controls, with intervals, and each method's score.
--
-- Inputs: relevance, adversarials, attacks (through comparisons)
-- Grain: one row per dataset, model, method, attack, band and comparison (see the view comparisons)
-- Paper: none; the yardstick that its Table 5 lacks
-- Columns:
--   band: 1 % or 10 %, of both maps
--   comparison: what the original's map, explained for its label, is compared with
--   fraction [share]: of path and reverse: part of the attack's change
--   pairs: pairs that both maps are ok of
--   images: their images, the unit of all intervals
--   tied_pairs: pairs in which more than a tenth of the band ties at its edge
--   target_share [share]: pairs whose other map explains the target
--   chance [share]: overlap of two maps that have nothing to do with each other, k / n
--   overlap [share]: mean over pairs of the share of the original's top components among the other map's
--   overlap_low [share]: lower end of its 95 % interval, percentiles of a bootstrap over images
--   overlap_high [share]: upper end
--   noise_pairs: pairs that have a noise control, too; all that follows is of them
--   stability [share]: mean overlap of the original with its noise control
--   stability_low [share]: lower end of its 95 % interval
--   stability_high [share]: upper end
--   difference [share]: stability less the mean overlap of this comparison
--   difference_low [share]: lower end of its 95 % interval
--   difference_high [share]: upper end
--   standard_error [share]: of the difference, robust to the dependence of an image's pairs
--   effect_size: mean over their standard deviation of the images' mean differences (Cohen's d of paired
--     values)
--   p_value: of no difference, two-sided, bootstrap-t (Efron and Tibshirani 1993, section 16.4)
--   p_holm: the same, adjusted for the number of methods (Holm 1979); p is at least 1 / 1,001, so that among
--     more than 50 methods none comes below 0.05
--   images_for_a_point: images that a difference of 1 percentage point needs, alpha 0.05, power 0.8, if
--     images vary as those that have a noise control
--   score: decision sensitivity, difference / (stability - chance): 0 where the comparison changes the map
--     no more than noise, 1 where no more is shared than by chance; null where stability is not above chance
--   score_low: lower end of its 95 % interval
--   score_high: upper end
--   verdict: ties (no verdict at this k), unstable (stability not above chance), no test (the difference does
--     not vary: there is one image), changes more, changes less or no difference (than under noise; of p_holm
--     at 0.05), or null without a noise control
with

shares as materialized (
    select
        dataset,
        model,
        method,
        attack,
        target,
        image_id,
        comparison,
        fraction,
        band,
        place,
        chance,
        is_target,
        overlap,
        is_tied
    from comparisons
),

keys as (
    select distinct
        dataset,
        model,
        method,
        attack,
        place,
        band,
        comparison,
        fraction
    from shares
),

cells as (
    select
        row_number() over (order by dataset, model, method, attack, place, fraction, comparison) as cell,
        *
    from keys
),

noises as (
    select * from shares
    where comparison = 'noise'
),

pairs as (
    select
        cells.cell,
        shares.dataset,
        shares.image_id,
        shares.chance,
        shares.is_tied,
        shares.is_target,
        shares.overlap,
        noise.overlap as noise
    from shares
    inner join cells
        on
            shares.dataset = cells.dataset
            and shares.model = cells.model
            and shares.method = cells.method
            and shares.attack = cells.attack
            and shares.place = cells.place
            and shares.comparison = cells.comparison
    left join noises as noise
        on
            shares.dataset = noise.dataset
            and shares.model = noise.model
            and shares.method = noise.method
            and shares.attack = noise.attack
            and shares.place = noise.place
            and shares.target = noise.target
            and shares.image_id = noise.image_id
),

image_sums as materialized (
    select
        cell,
        dataset,
        image_id,
        max(chance) as chance,
        count(*)::double as pairs,
        count(*) filter (where is_tied) as tied_pairs,
        count(*) filter (where is_target) as target_pairs,
        sum(overlap) as overlap,
        count(noise)::double as noise_pairs,
        coalesce(sum(noise), 0) as noise,
        coalesce(sum(noise - overlap), 0) as difference
    from pairs
    group by cell, dataset, image_id
),

-- the images of all cells have a place in each list: 0 where a cell has none
lists as (
    select
        cells.cell,
        max(sums.chance) as chance,
        list(coalesce(sums.pairs, 0) order by images.place) as pairs,
        list(coalesce(sums.overlap, 0) order by images.place) as overlap,
        list(coalesce(sums.noise_pairs, 0) order by images.place) as noise_pairs,
        list(coalesce(sums.noise, 0) order by images.place) as noise,
        list(coalesce(sums.difference, 0) order by images.place) as difference,
        list(coalesce(sums.difference ** 2, 0) order by images.place) as squares,
        list(coalesce(sums.difference * sums.noise_pairs, 0) order by images.place) as products,
        list(coalesce(sums.noise_pairs ** 2, 0) order by images.place) as noise_squares
    from cells
    cross join bootstrap_images as images
    left join image_sums as sums
        on cells.cell = sums.cell and images.dataset = sums.dataset and images.image_id = sums.image_id
    group by cells.cell
),

summed as (
    select
        cell,
        -1 as replicate,
        max(chance) as chance,
        count(*) as images,
        count(*) filter (where noise_pairs > 0) as noise_images,
        sum(tied_pairs)::bigint as tied_pairs,
        sum(target_pairs)::bigint as target_pairs,
        avg(difference / nullif(noise_pairs, 0)) as mean_of_images,
        stddev_samp(difference / nullif(noise_pairs, 0)) as deviation_of_images,
        sum(pairs) as pairs,
        sum(overlap) as overlap,
        sum(noise_pairs) as noise_pairs,
        sum(noise) as noise,
        sum(difference) as difference,
        sum(difference * difference) as squares,
        sum(difference * noise_pairs) as products,
        sum(noise_pairs * noise_pairs) as noise_squares
    from image_sums
    group by cell
    union all by name
    select
        lists.cell,
        drawn.replicate,
        lists.chance,
        list_inner_product(drawn.weights, lists.pairs) as pairs,
        list_inner_product(drawn.weights, lists.overlap) as overlap,
        list_inner_product(drawn.weights, lists.noise_pairs) as noise_pairs,
        list_inner_product(drawn.weights, lists.noise) as noise,
        list_inner_product(drawn.weights, lists.difference) as difference,
        list_inner_product(drawn.weights, lists.squares) as squares,
        list_inner_product(drawn.weights, lists.products) as products,
        list_inner_product(drawn.weights, lists.noise_squares) as noise_squares
    from lists
    cross join bootstrap_weights as drawn
),

estimated as (
    select
        * exclude (overlap, difference),
        overlap / nullif(pairs, 0) as overlap,
        noise / nullif(noise_pairs, 0) as stability,
        difference / nullif(noise_pairs, 0) as difference,
        difference / nullif(noise - chance * noise_pairs, 0) as score,
        squares - 2 * difference / nullif(noise_pairs, 0) * products
        + (difference / nullif(noise_pairs, 0)) ** 2 * noise_squares as residual_squares
    from summed
),

-- below 1e-7 there is but rounding: the images do not vary
measured as (
    select
        *,
        if(
            residual_squares > (1e-7 * noise_pairs) ** 2,
            sqrt(residual_squares) / noise_pairs,
            if(noise_pairs > 0, 0, null)
        ) as standard_error
    from estimated
),

replicates as (
    select
        drawn.cell,
        quantile_cont(drawn.overlap, [0.025, 0.975]) as overlap,
        quantile_cont(drawn.stability, [0.025, 0.975]) as stability,
        quantile_cont(drawn.difference, [0.025, 0.975]) as difference,
        quantile_cont(drawn.score, [0.025, 0.975]) as score,
        -- how many lie as far from the estimate as the estimate from 0; those that do not vary do
        (
            1 + count(*) filter (
                where drawn.standard_error = 0
                or abs(drawn.difference - whole.difference) / nullif(drawn.standard_error, 0)
                >= abs(whole.difference) / whole.standard_error * (1 - 1e-9)
            )
        ) / (1 + count(drawn.standard_error))::double as p_value
    from measured as drawn
    inner join measured as whole using (cell)
    where drawn.replicate >= 0 and whole.replicate = -1
    group by drawn.cell
),

tested as (
    select
        cells.*,
        whole.pairs::bigint as pairs,
        whole.images,
        whole.noise_images,
        whole.tied_pairs,
        whole.target_pairs / whole.pairs as target_share,
        whole.chance,
        whole.overlap,
        replicates.overlap as overlap_ends,
        whole.noise_pairs::bigint as noise_pairs,
        whole.stability,
        replicates.stability as stability_ends,
        whole.difference,
        replicates.difference as difference_ends,
        whole.standard_error,
        -- below 1e-9 there is but rounding
        if(whole.deviation_of_images > 1e-9, whole.mean_of_images / whole.deviation_of_images, null)
            as effect_size,
        whole.score,
        replicates.score as score_ends,
        case
            when whole.difference is null or cells.comparison = 'noise' then null
            when whole.standard_error > 0 then replicates.p_value
            when abs(whole.difference) <= 1e-12 then 1
        end as p_value,
        coalesce(replicates.stability[1] > whole.chance, false) as is_stable
    from cells
    inner join measured as whole using (cell)
    inner join replicates using (cell)
    where whole.replicate = -1
),

ranked as (
    select
        *,
        row_number() over (
            partition by dataset, model, attack, place, comparison, p_value is null
            order by p_value, method
        ) as place_of_p,
        count(p_value) over (partition by dataset, model, attack, place, comparison) as family
    from tested
),

adjusted as (
    select
        *,
        if(
            p_value is null,
            null,
            least(
                1,
                max((family - place_of_p + 1) * p_value) over (
                    partition by dataset, model, attack, place, comparison, p_value is null
                    order by place_of_p
                )
            )
        ) as p_holm
    from ranked
)

select
    dataset,
    model,
    method,
    attack,
    band,
    comparison,
    fraction,
    pairs,
    images,
    tied_pairs,
    target_share,
    chance,
    overlap,
    overlap_ends[1] as overlap_low,
    overlap_ends[2] as overlap_high,
    noise_pairs,
    stability,
    stability_ends[1] as stability_low,
    stability_ends[2] as stability_high,
    difference,
    difference_ends[1] as difference_low,
    difference_ends[2] as difference_high,
    standard_error,
    effect_size,
    p_value,
    p_holm,
    -- (z(0.975) + z(0.8)) standard deviations of an image's mean
    if(
        standard_error > 0, ceil((2.8015852 * standard_error * sqrt(noise_images) / 0.01) ** 2), null
    )::bigint as images_for_a_point,
    if(is_stable, score, null) as score,
    if(is_stable, score_ends[1], null) as score_low,
    if(is_stable, score_ends[2], null) as score_high,
    case
        when noise_pairs = 0 or comparison = 'noise' then null
        when tied_pairs > 0.1 * pairs then 'ties'
        when not is_stable then 'unstable'
        when p_value is null then 'no test'
        when p_holm <= 0.05 and difference > 0 then 'changes more'
        when p_holm <= 0.05 then 'changes less'
        else 'no difference'
    end as verdict
from adjusted
order by dataset, model, method, attack, place, fraction nulls first, comparison
