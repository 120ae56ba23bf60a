-- How alike are the ranks of two maps: of each map of an adversarial example or a control, or of an original
-- for another class, and of each map that it is held against?
--
-- Inputs: relevance, adversarials (through compared_maps)
-- Grain: one row per dataset, model, method, subject, explains, target, image_id and reference
-- Unit: shard
-- Maps: all
-- References: all
-- Columns:
--   reference: what the map is held against, see the view map_references
--   n: components of a map
--   shared_1: components that are in the top 1 % of both maps
--   shared_10: the same for the top 10 %
--   signed_1: the same of the top 1 % once each map is multiplied by the sign of its start logit: the last
--     1 % of a map that starts from a negative one
--   signed_10: the same for 10 %
--   tied_1: other components, of the two maps the more, that share the value at the edge of 1 % of 3072
--   tied_10: the same for 10 %
--   shift_10 [rank]: mean over the reference's top 10 % of the rank in the map less that in the reference
--   spearman: Spearman's rho of the stored ranks, see the macro spearman
--   rbo_1: rank-biased overlap, of whose weight the top 1 % carry 86 %, see macro rank_biased_overlap
--   rbo_10: the same, of whose weight the top 10 % carry 86 %
with

pairs as (
    select
        *,
        len(rank) as n,
        band_size(0.01, len(rank)) as k_1,
        band_size(0.1, len(rank)) as k_10,
        signed_rank(rank, start) as signed,
        signed_rank(other_rank, other_start) as other_signed
    from compared_maps
    semi join held_series using (dataset, model, method, subject)
),

weights as (
    select
        n,
        rank_biased_weights(persistence(band_size(0.01, n)), n) as of_1,
        rank_biased_weights(persistence(band_size(0.1, n)), n) as of_10
    from (select distinct n from pairs) as sizes
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
    pairs.reference,
    pairs.n,
    shared_top(pairs.rank, pairs.other_rank, pairs.k_1) as shared_1,
    shared_top(pairs.rank, pairs.other_rank, pairs.k_10) as shared_10,
    shared_top(pairs.signed, pairs.other_signed, pairs.k_1) as signed_1,
    shared_top(pairs.signed, pairs.other_signed, pairs.k_10) as signed_10,
    greatest(pairs.ties_at_31, pairs.other_ties_at_31) as tied_1,
    greatest(pairs.ties_at_307, pairs.other_ties_at_307) as tied_10,
    list_avg(rank_shift(pairs.other_rank, pairs.rank, pairs.k_10)) as shift_10,
    spearman(pairs.other_rank, pairs.rank) as spearman,
    rank_biased_overlap(pairs.rank, pairs.other_rank, weights.of_1) as rbo_1,
    rank_biased_overlap(pairs.rank, pairs.other_rank, weights.of_10) as rbo_10
from pairs
inner join weights using (n)
