-- How alike are the ranks of the two maps of each pair: top components shared, and Spearman's correlation?
--
-- Inputs: relevance, adversarials (through map_pairs: successful pairs of which both maps are ok)
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
--   spearman: Spearman's rho of the stored ranks, 1 - 6 sum(shift^2) / (n (n^2 - 1)); null where n = 1
with

pairs as (
    select
        *,
        band_size(0.01, n) as k_1,
        band_size(0.1, n) as k_10,
        -- both maps' ranks are 0 .. n-1, so that sum(shift^2) = 2 sum(place^2) - 2 sum(product)
        (n - 1) * n * (2 * n - 1)::double / 3 - 2 * rank_product as squared_shifts
    from map_pairs
)

select
    dataset,
    model,
    method,
    attack,
    target,
    image_id,
    label,
    n,
    adversarial_ranks[1] = 0 as same_top,
    (adversarial_ranks[1] < k_1)::integer as top_in_1,
    (adversarial_ranks[1] < k_10)::integer as top_in_10,
    len(list_filter(adversarial_ranks[:k_1], lambda place: place < k_1))::integer as shared_1_1,
    len(list_filter(adversarial_ranks[:k_1], lambda place: place < k_10))::integer as shared_1_10,
    len(list_filter(adversarial_ranks, lambda place: place < k_10))::integer as shared_10_10,
    original_ties_at_31,
    original_ties_at_307,
    adversarial_ties_at_31,
    adversarial_ties_at_307,
    1 - 6 * squared_shifts / nullif(n * (n ** 2 - 1), 0) as spearman
from pairs
