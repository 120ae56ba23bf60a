-- How alike are the two maps of each pair, in numbers: top components shared, correlations, signs.
--
-- Inputs: relevance, adversarials (through whole_map_pairs: successful pairs of which both maps are ok)
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

components as (
    select
        series,
        image_id,
        band_size(0.01, n) as k_1,
        band_size(0.1, n) as k_10,
        unnest(original_relevance)::double as x,
        unnest(adversarial_relevance)::double as y,
        unnest(original_rank)::integer as x_rank,
        unnest(adversarial_rank)::integer as y_rank
    from whole_map_pairs
),

measured as (
    select
        series,
        image_id,
        count(*) filter (where x_rank = 0 and y_rank = 0) = 1 as same_top,
        count(*) filter (where x_rank = 0 and y_rank < k_1) as top_in_1,
        count(*) filter (where x_rank = 0 and y_rank < k_10) as top_in_10,
        count(*) filter (where x_rank < k_1 and y_rank < k_1) as shared_1_1,
        count(*) filter (where x_rank < k_1 and y_rank < k_10) as shared_1_10,
        count(*) filter (where x_rank < k_10 and y_rank < k_10) as shared_10_10,
        corr(x, y) as pearson,
        sum((x_rank - y_rank) * (x_rank - y_rank)) as squared_shifts,
        count(*) filter (where sign(x) = sign(y)) as same_sign
    from components
    group by all
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
    measured.same_top,
    measured.top_in_1::integer as top_in_1,
    measured.top_in_10::integer as top_in_10,
    measured.shared_1_1::integer as shared_1_1,
    measured.shared_1_10::integer as shared_1_10,
    measured.shared_10_10::integer as shared_10_10,
    pairs.original_ties_at_31,
    pairs.original_ties_at_307,
    pairs.adversarial_ties_at_31,
    pairs.adversarial_ties_at_307,
    case when isfinite(measured.pearson) then measured.pearson end as pearson,
    1 - 6 * measured.squared_shifts / nullif(pairs.n * (pairs.n ** 2 - 1), 0) as spearman,
    measured.same_sign / pairs.n as sign_agreement
from measured
inner join whole_map_pairs as pairs using (series, image_id)
