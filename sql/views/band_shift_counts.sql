-- How often each rank shift occurs within each band pair: over components of the original's band that are
-- also in the adversarial band.
--
-- Grain: one row per method, attack, band pair and shift.
with

-- all class pairs together before they meet the bands
counted as (
    select
        dataset,
        model,
        method,
        attack,
        n,
        original_place,
        adversarial_place,
        shift,
        sum(components)::bigint as components
    from shift_counts
    group by all
)

select
    counted.dataset,
    counted.model,
    counted.method,
    counted.attack,
    counted.n,
    bands.position,
    bands.original_band,
    bands.adversarial_band,
    band_size(bands.original_share, counted.n) as original_k,
    band_size(bands.adversarial_share, counted.n) as adversarial_k,
    counted.shift,
    sum(counted.components)::bigint as components
from counted
inner join band_places as bands using (original_place, adversarial_place)
group by all
