-- Between which classes do the top components move far in rank?
--
-- Inputs: relevance, adversarials (through shift_counts: successful pairs of which both maps are ok)
-- Grain: one row per dataset, model, method, attack, label, target (class pair) and band pair; none where no
-- component stays
-- Paper: Figs. 7 to 9, class by class
-- Columns:
--   original_band: band of the original map: most relevant, 1 %, 10 %
--   adversarial_band: band of the adversarial map
--   components: components of the original's band that are also in the adversarial band, over all pairs
--   median_abs_shift [rank]: median of |rank shift|
--   mean_abs_shift [rank]: mean |rank shift|
--   mean_shift [rank]: mean rank shift, positive = moved down
--   share_unmoved [share]: components of rank shift 0
with

-- numbers for names: of 8 million rows a class pair each
keyed as (
    select
        series_number(dataset, model, method, attack, 'target', target) as series,
        label,
        original_place,
        adversarial_place,
        abs(shift)::uinteger as distance,
        shift,
        components
    from shift_counts
),

distances as (
    select
        series,
        label,
        original_place,
        adversarial_place,
        distance,
        sum(components)::bigint as components,
        sum(shift * components)::bigint as moved
    from keyed
    group by all
),

of_bands as (
    select
        distances.series,
        distances.label,
        bands.position,
        distances.distance,
        sum(distances.components)::bigint as components,
        sum(distances.moved)::bigint as moved
    from distances
    inner join band_places as bands using (original_place, adversarial_place)
    group by all
),

cumulated as (
    select
        *,
        sum(components) over (of_pair order by distance)::bigint as up_to_here,
        sum(components) over of_pair::bigint as total
    from of_bands
    window of_pair as (partition by series, label, position)
),

-- The median lies between the order statistics on either side of the place (total - 1) / 2, counted from 0.
of_pairs as (
    select
        series,
        label,
        position,
        total,
        (
            min(distance) filter (where up_to_here > (total - 1) // 2)
            + min(distance) filter (where up_to_here > total // 2)
        ) / 2 as median_abs_shift,
        sum(distance * components) / total as mean_abs_shift,
        sum(moved) / total as mean_shift,
        coalesce(sum(components) filter (where distance = 0), 0) / total as share_unmoved
    from cumulated
    group by series, label, position, total
)

select
    series.dataset,
    series.model,
    series.method,
    series.subject as attack,
    of_pairs.label,
    series.target,
    bands.original_band,
    bands.adversarial_band,
    of_pairs.total as components,
    of_pairs.median_abs_shift,
    of_pairs.mean_abs_shift,
    of_pairs.mean_shift,
    of_pairs.share_unmoved
from of_pairs
inner join series using (series)
inner join band_pairs as bands using (position)
order by
    series.dataset, series.model, series.method, series.subject, of_pairs.label, series.target, bands.position
