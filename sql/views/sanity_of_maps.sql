-- How alike each original's map is to that by the same network with weights drawn anew, by every measure.
--
-- Grain: one row per method, randomised network (as comparison; its depth as fraction), image and measure;
-- columns as in measured_pairs. There is no attack: it is an empty text.
select
    'sanity' as kind,
    ranks.dataset,
    ranks.model,
    ranks.method,
    '' as attack,
    ranks.target,
    ranks.image_id,
    ranks.subject as comparison,
    networks.depth::double as fraction,
    unnest(['overlap at 1 %', 'overlap at 10 %', 'spearman', 'spearman of magnitudes', 'ssim']) as measure,
    unnest(range(5)) as place,
    unnest(
        [
            ranks.shared_1 / band_size(0.01, ranks.n)::double,
            ranks.shared_10 / band_size(0.1, ranks.n)::double,
            ranks.spearman,
            of_values.spearman_of_magnitudes,
            of_values.ssim
        ]
    ) as value,
    null::double as noise,
    unnest(
        [
            overlap_chance(band_size(0.01, ranks.n), ranks.n),
            overlap_chance(band_size(0.1, ranks.n), ranks.n),
            0,
            0,
            null
        ]::double[]
    ) as chance,
    unnest(
        [
            ranks.tied_1 > 0.1 * band_size(0.01, ranks.n),
            ranks.tied_10 > 0.1 * band_size(0.1, ranks.n),
            false,
            false,
            false
        ]
    ) as is_tied
from compared_ranks as ranks
inner join randomisations as networks using (model, subject)
inner join compared_values as of_values using (dataset, model, method, subject, image_id)
where ranks.reference = 'original'
