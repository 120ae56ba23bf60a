-- How alike the original's map is to each map of the attack's pairs, by every measure.
--
-- Grain: one row per method, attack, comparison, pair (target, image_id) and measure; columns as in
-- measured_pairs.
with

compared as (
    select
        whose.attack,
        whose.fraction,
        coalesce(whose.kind, if(ranks.explains = 'target', 'adversarial', 'image')) as comparison,
        band_size(0.01, ranks.n) as k_1,
        band_size(0.1, ranks.n) as k_10,
        ranks.*,
        of_values.* exclude (dataset, model, method, subject, explains, target, image_id, label)
    from compared_ranks as ranks
    inner join compared_values as of_values
        using (dataset, model, method, subject, explains, target, image_id)
    inner join attack_subjects as whose using (subject)
    where ranks.reference = 'original'
),

valued as (
    select
        *,
        [
            shared_1 / k_1::double,
            shared_10 / k_10::double,
            shift_10,
            rbo_1,
            rbo_10,
            spearman,
            spearman_of_magnitudes,
            sign_agreement,
            ssim,
            wasserstein
        ] as measured
    from compared
),

noises as (
    select * from valued
    where comparison = 'noise'
)

select
    'similarity' as kind,
    maps.dataset,
    maps.model,
    maps.method,
    maps.attack,
    maps.target,
    maps.image_id,
    maps.comparison,
    maps.fraction,
    unnest(
        [
            'overlap at 1 %',
            'overlap at 10 %',
            'rank shift',
            'rank-biased overlap at 1 %',
            'rank-biased overlap at 10 %',
            'spearman',
            'spearman of magnitudes',
            'sign agreement',
            'ssim',
            'wasserstein'
        ]
    ) as measure,
    unnest(range(10)) as place,
    unnest(maps.measured) as value,
    unnest(
        if(noise.measured is null, list_resize([null::double], 10), noise.measured)
    ) as noise,
    unnest(
        [
            overlap_chance(maps.k_1, maps.n),
            overlap_chance(maps.k_10, maps.n),
            shift_chance(maps.k_10, maps.n),
            rank_biased_chance(persistence(maps.k_1), maps.n),
            rank_biased_chance(persistence(maps.k_10), maps.n),
            0,
            0,
            maps.sign_chance,
            null,
            null
        ]::double[]
    ) as chance,
    unnest(
        list_transform(
            [1, 10, 10, 1, 10, 0, 0, 0, 0, 0],
            lambda band: case
                when band = 1 then maps.tied_1 > 0.1 * maps.k_1
                when band = 10 then maps.tied_10 > 0.1 * maps.k_10
                else false
            end
        )
    ) as is_tied
from valued as maps
left join noises as noise using (dataset, model, method, attack, target, image_id)
