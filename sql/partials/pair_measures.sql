-- How alike are the two maps of each pair, in numbers: top components shared, correlations, signs.
--
-- Inputs: relevance, adversarials (through map_pairs and whole_map_pairs: successful pairs of which both
--   maps are ok)
-- Grain: one row per dataset, model, method, attack, target and image_id
-- Unit: shard
-- Columns:
--   n: components of a map
--   same_top: whether the most relevant component is the same
--   top_in_1: 1 where the original's most relevant component is in the adversarial top 1 %, else 0
--   top_in_10: the same for the adversarial top 10 %
--   shared_1_1: components of the original's top 1 % that are in the adversarial top 1 %
--   shared_1_10: components of the original's top 1 % that are in the adversarial top 10 %
--   shared_10_10: components of the original's top 10 % that are in the adversarial top 10 %
--   original_ties_at_31: as in relevance, of the original map
--   original_ties_at_307: the same
--   adversarial_ties_at_31: as in relevance, of the adversarial map
--   adversarial_ties_at_307: the same
--   pearson: Pearson's correlation of the values; null where a map is constant
--   spearman: Spearman's rho of the stored ranks, 1 - 6 sum(shift^2) / (n (n^2 - 1)); null where n = 1
--   sign_agreement [share]: components whose relevance has the same sign (negative, zero, positive)
with

whole_maps as (
    select
        series,
        image_id,
        unnest(original_rank)::integer - unnest(adversarial_rank)::integer as shift,
        unnest(original_relevance)::double as x,
        unnest(adversarial_relevance)::double as y
    from whole_map_pairs
),

of_maps as (
    select
        series,
        image_id,
        sum(shift * shift)::double as squared_shifts,
        corr(x, y) as pearson,
        count(*) filter (where sign(x) = sign(y)) as same_sign
    from whole_maps
    group by series, image_id
),

top_components as (
    select
        series_number(dataset, model, method, attack, 'target', target) as series,
        image_id,
        band_size(0.01, n) as k_1,
        band_size(0.1, n) as k_10,
        unnest(original_ranks) as x_rank,
        unnest(adversarial_ranks) as y_rank
    from map_pairs
),

of_tops as (
    select
        series,
        image_id,
        count(*) filter (where x_rank = 0 and y_rank = 0) = 1 as same_top,
        count(*) filter (where x_rank = 0 and y_rank < k_1)::integer as top_in_1,
        count(*) filter (where x_rank = 0 and y_rank < k_10)::integer as top_in_10,
        count(*) filter (where x_rank < k_1 and y_rank < k_1)::integer as shared_1_1,
        count(*) filter (where x_rank < k_1 and y_rank < k_10)::integer as shared_1_10,
        count(*) filter (where y_rank < k_10)::integer as shared_10_10
    from top_components
    group by series, image_id
)

select
    pairs.dataset,
    pairs.model,
    pairs.method,
    pairs.attack,
    pairs.target,
    pairs.image_id,
    pairs.label,
    pairs.n,
    of_tops.same_top,
    of_tops.top_in_1,
    of_tops.top_in_10,
    of_tops.shared_1_1,
    of_tops.shared_1_10,
    of_tops.shared_10_10,
    pairs.original_ties_at_31,
    pairs.original_ties_at_307,
    pairs.adversarial_ties_at_31,
    pairs.adversarial_ties_at_307,
    case when isfinite(of_maps.pearson) then of_maps.pearson end as pearson,
    1 - 6 * of_maps.squared_shifts / nullif(pairs.n * (pairs.n ** 2 - 1), 0) as spearman,
    of_maps.same_sign / pairs.n as sign_agreement
from of_maps
inner join of_tops using (series, image_id)
inner join whole_map_pairs as pairs using (series, image_id)
