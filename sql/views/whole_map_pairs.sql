-- Each successful adversarial example's map beside its original's: which maps are compared, and with which.
--
-- Grain: one row per method and pair, both maps ok: (original, label) with (adversarial example, target).
-- `series` is the number of the adversarial map's series. Name the columns that you need: vectors that nobody
-- asks for are not read. Where the most relevant components suffice, map_pairs is quicker.
select
    maps.series,
    maps.dataset,
    maps.model,
    maps.method,
    maps.attack,
    maps.target,
    maps.image_id,
    maps.label,
    originals.ties_at_31 as original_ties_at_31,
    originals.ties_at_307 as original_ties_at_307,
    maps.ties_at_31 as adversarial_ties_at_31,
    maps.ties_at_307 as adversarial_ties_at_307,
    originals.relevance as original_relevance,
    maps.relevance as adversarial_relevance,
    originals.rank as original_rank,
    maps.rank as adversarial_rank
from comparable_adversarials as maps
inner join comparable_originals as originals using (dataset, model, method, image_id)
