-- How alike is the original's map to that of its adversarial example, and to those of its controls, by every
-- measure there is?
--
-- Inputs: relevance, adversarials, attacks, images (through measured_means)
-- Grain: one row per dataset, model, method, attack, comparison and measure
-- Paper: none; its Table 5 has overlap and shift
-- Columns:
--   comparison: adversarial (explained for its target), image (the adversarial example, explained for the
--     label), noise, reverse, darkened or path F: whose map the original's is compared with
--   fraction [share]: of path and reverse: part of the attack's change
--   measure: overlap at 1 % or 10 % (share of the top components), rank shift (mean of the original's top
--     10 %, ranks), rank-biased overlap at 1 % or 10 % (86 % of its weight within the band; Webber, Moffat
--     and Zobel 2010), spearman (of stored ranks), spearman of magnitudes (of the sizes of the values), sign
--     agreement (share of components), ssim (structural similarity; Wang et al. 2004) or wasserstein
--     (distance of the values, whatever their order)
--   pairs: pairs that both maps are ok of, and the measure is defined
--   images: their images, the unit of all intervals
--   tied_pairs: pairs in which more than a tenth of the band ties at its edge
--   chance: what the measure is of maps whose components stand in another order; null where that is unknown
--   mean: mean over pairs
--   mean_low: lower end of its 95 % interval, percentiles of a bootstrap over images
--   mean_high: upper end
--   noise_pairs: pairs that have a noise control, too
--   difference: mean of the noise control's measure less this one, over these pairs
--   difference_low: lower end of its 95 % interval
--   difference_high: upper end
select
    dataset,
    model,
    method,
    attack,
    comparison,
    fraction,
    measure,
    pairs,
    images,
    tied_pairs,
    chance,
    mean,
    mean_ends[1] as mean_low,
    mean_ends[2] as mean_high,
    noise_pairs,
    difference,
    difference_ends[1] as difference_low,
    difference_ends[2] as difference_high
from measured_means
where kind = 'similarity'
order by dataset, model, method, attack, fraction nulls first, comparison, place
