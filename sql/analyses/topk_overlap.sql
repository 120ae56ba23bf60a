-- Do the most relevant components of the original stay among the most relevant of its adversarial example?
--
-- Inputs: relevance, adversarials (through map_pairs: successful pairs of which both maps are ok)
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

series as (
    select
        dataset,
        model,
        method,
        attack,
        n,
        band_size(0.01, n) as k_1,
        band_size(0.1, n) as k_10,
        count(*) as pairs,
        count(*) filter (
            where greatest(original_ties_at_31, adversarial_ties_at_31) > 0.1 * band_size(0.01, n)
        ) as tied_1_1,
        count(*) filter (
            where original_ties_at_31 > 0.1 * band_size(0.01, n)
            or adversarial_ties_at_307 > 0.1 * band_size(0.1, n)
        ) as tied_1_10,
        count(*) filter (
            where greatest(original_ties_at_307, adversarial_ties_at_307) > 0.1 * band_size(0.1, n)
        ) as tied_10_10
    from map_pairs
    group by all
),

shared as (
    select
        counts.dataset,
        counts.model,
        counts.method,
        counts.attack,
        counts.n,
        bands.position,
        sum(counts.components) as components,
        sum(counts.components) filter (
            where counts.original_place = 0 and counts.adversarial_place = 0
        ) as same
    from shift_counts as counts
    inner join band_pairs as bands
        on
            counts.original_place <= bands.original_place
            and counts.adversarial_place <= bands.adversarial_place
    group by all
)

select
    dataset,
    model,
    method,
    attack,
    bands.original_band,
    bands.adversarial_band,
    band_size(bands.original_share, n) as original_k,
    band_size(bands.adversarial_share, n) as adversarial_k,
    series.pairs,
    coalesce(shared.components, 0) / (series.pairs * original_k) as overlap,
    adversarial_k / n as chance,
    case when bands.original_place = 0 then coalesce(shared.same, 0) / series.pairs end as identical,
    case
        when original_k = 1 then null
        when bands.original_place = 2 then series.tied_10_10
        when bands.adversarial_place = 2 then series.tied_1_10
        else series.tied_1_1
    end as tied_pairs
from series
cross join band_pairs as bands
left join shared using (dataset, model, method, attack, n, position)
order by dataset, model, method, attack, bands.position
