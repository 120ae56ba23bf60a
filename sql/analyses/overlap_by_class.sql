-- Between which classes do the most relevant components stay the same, and between which do they change?
--
-- Inputs: relevance, adversarials (through pair_ranks: successful pairs of which both maps are ok)
-- Grain: one row per dataset, model, method, attack, label, target (class pair) and band pair
-- Paper: Table 5, class by class
-- Columns:
--   original_band: band of the original map: most relevant, 1 %, 10 %
--   adversarial_band: band of the adversarial map
--   pairs: pairs compared
--   overlap [share]: mean over pairs of the share of the original's band that is in the adversarial band too
--   chance [share]: the overlap that two unrelated maps would have
--   identical [share]: pairs whose most relevant component is the same; null for the other bands
--   tied_pairs: as in topk_overlap
select
    dataset,
    model,
    method,
    attack,
    label,
    target,
    original_band,
    adversarial_band,
    pairs,
    shared / (pairs * original_k) as overlap,
    adversarial_k / n as chance,
    case when original_band = 'most relevant' then same / pairs end as identical,
    case when original_k > 1 then tied_pairs end as tied_pairs
from band_overlap_counts
order by dataset, model, method, attack, label, target, position
