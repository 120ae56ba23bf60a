-- How often each rank shift occurs within each band pair: over components of the original's band that are
-- also in the adversarial band.
--
-- Grain: one row per method, attack, band pair and shift.
select
    counts.dataset,
    counts.model,
    counts.method,
    counts.attack,
    counts.n,
    bands.position,
    bands.original_band,
    bands.adversarial_band,
    band_size(bands.original_share, counts.n) as original_k,
    band_size(bands.adversarial_share, counts.n) as adversarial_k,
    counts.shift,
    sum(counts.components)::bigint as components
from shift_counts as counts
inner join band_pairs as bands
    on
        counts.original_place <= bands.original_place
        and counts.adversarial_place <= bands.adversarial_place
group by all
