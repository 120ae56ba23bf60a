-- Do the most relevant components of the original stay among the most relevant of its adversarial example?
--
-- Inputs: relevance, adversarials (through pair_ranks: successful pairs of which both maps are ok)
-- Grain: one row per dataset, model, method, attack and band pair
-- Paper: Table 5
-- Columns:
--   original_band: band of the original map: most relevant, 1 %, 10 %
--   adversarial_band: band of the adversarial map
--   original_k: components in the original's band
--   adversarial_k: components in the adversarial band
--   pairs: pairs compared
--   overlap [share]: mean over pairs of the share of the original's band that is in the adversarial band too
--   chance [share]: the overlap that two unrelated maps would have, adversarial_k / n
--   identical [share]: pairs whose most relevant component is the same; null for the other bands
--   tied_pairs: pairs with more ties at the band's boundary, in either map, than 10 % of k; where these are
--     many the overlap means little. Null where k = 1
with

counted as (
    select
        dataset,
        model,
        method,
        attack,
        n,
        position,
        original_band,
        adversarial_band,
        original_k,
        adversarial_k,
        sum(pairs)::bigint as pairs,
        sum(shared) as shared,
        sum(same) as same,
        sum(tied_pairs)::bigint as tied_pairs
    from band_overlap_counts
    group by all
)

select
    dataset,
    model,
    method,
    attack,
    original_band,
    adversarial_band,
    original_k,
    adversarial_k,
    pairs,
    shared / (pairs * original_k) as overlap,
    adversarial_k / n as chance,
    case when original_band = 'most relevant' then same / pairs end as identical,
    case when original_k > 1 then tied_pairs end as tied_pairs
from counted
order by dataset, model, method, attack, position
