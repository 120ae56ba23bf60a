-- How many components of the original's band are in the adversarial band too, class pair by class pair.
--
-- Grain: one row per method, attack, label, target and band pair. `shared` counts components over all
-- `pairs`, `same` the pairs whose most relevant component is the same, `tied_pairs` those with more ties at
-- the band's boundary, in either map, than 10 % of k.
with

counted as (
    select
        dataset,
        model,
        method,
        attack,
        label,
        target,
        n,
        count(*) as pairs,
        count(*) filter (where same_top) as same,
        sum(top_in_1)::bigint as top_in_1,
        sum(top_in_10)::bigint as top_in_10,
        sum(shared_1_1)::bigint as shared_1_1,
        sum(shared_1_10)::bigint as shared_1_10,
        sum(shared_10_10)::bigint as shared_10_10,
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
    from pair_ranks
    group by all
)

select
    counted.dataset,
    counted.model,
    counted.method,
    counted.attack,
    counted.label,
    counted.target,
    counted.n,
    bands.position,
    bands.original_band,
    bands.adversarial_band,
    band_size(bands.original_share, counted.n) as original_k,
    band_size(bands.adversarial_share, counted.n) as adversarial_k,
    counted.pairs,
    case bands.position
        when 1 then counted.top_in_1
        when 2 then counted.top_in_10
        when 3 then counted.shared_1_1
        when 4 then counted.shared_1_10
        when 5 then counted.shared_10_10
    end as shared,
    counted.same,
    case bands.position
        when 3 then counted.tied_1_1
        when 4 then counted.tied_1_10
        when 5 then counted.tied_10_10
    end as tied_pairs
from counted
cross join band_pairs as bands
