-- How much of an original's most relevant components does each other map of it share: the map of an
-- adversarial example or a control, explained for label or target, or of the original for another class?
--
-- Inputs: relevance, adversarials (through comparable_maps)
-- Grain: one row per dataset, model, method, subject, explains, target and image_id
-- Unit: shard
-- Maps: all
-- Columns:
--   n: components of a map
--   is_flipped: whether just one of the two start logits is negative
--   shared_1: components of the original's top 1 % that are in the other map's top 1 %
--   shared_10: the same for the top 10 %
--   opposed_1: components of the original's top 1 % that are in the other map's last 1 %: shared, were its
--     sign turned
--   opposed_10: the same for the last 10 %
--   tied_1: other components, of the two maps the more, that share the value at the edge of 1 % of 3072
--   tied_10: the same for 10 %
with

pairs as (
    select
        maps.* exclude (rank),
        originals.n,
        originals.start as original_start,
        list_select(maps.rank, originals.components)::integer[] as places,
        band_size(0.01, originals.n) as k_1,
        band_size(0.1, originals.n) as k_10,
        originals.ties_at_31 as original_ties_at_31,
        originals.ties_at_307 as original_ties_at_307
    from comparable_maps as maps
    inner join original_top as originals using (dataset, model, method, image_id)
)

select
    dataset,
    model,
    method,
    subject,
    explains,
    target,
    image_id,
    label,
    n,
    (start < 0) != (original_start < 0) as is_flipped,
    len(list_filter(places[:k_1], lambda place: place < k_1))::integer as shared_1,
    len(list_filter(places, lambda place: place < k_10))::integer as shared_10,
    len(list_filter(places[:k_1], lambda place: place >= n - k_1))::integer as opposed_1,
    len(list_filter(places, lambda place: place >= n - k_10))::integer as opposed_10,
    greatest(ties_at_31, original_ties_at_31) as tied_1,
    greatest(ties_at_307, original_ties_at_307) as tied_10
from pairs
