-- The ranks of the original's most relevant components in both maps of each pair. The pairs are those of
-- whole_map_pairs; over its rows a join would carry whole maps along.
--
-- Grain: one row per method and pair, both maps ok: (original, label) with (adversarial example, target).
-- `original_ranks` are the ranks of the original's 10 % most relevant components, most relevant first,
-- `adversarial_ranks` the ranks of the same components in the adversarial map. `rank_product` is the sum over
-- all components of the product of both ranks.
select
    maps.series,
    maps.dataset,
    maps.model,
    maps.method,
    maps.attack,
    maps.target,
    maps.image_id,
    maps.label,
    originals.n,
    originals.ties_at_31 as original_ties_at_31,
    originals.ties_at_307 as original_ties_at_307,
    maps.ties_at_31 as adversarial_ties_at_31,
    maps.ties_at_307 as adversarial_ties_at_307,
    originals.ranks as original_ranks,
    list_select(maps.rank, originals.components)::integer[] as adversarial_ranks,
    list_inner_product(originals.rank::double[], maps.rank::double[]) as rank_product
from comparable_adversarials as maps
inner join original_top as originals using (dataset, model, method, image_id)
