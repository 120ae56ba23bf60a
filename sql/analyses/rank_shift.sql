-- How far and which way do the top components move in rank: a histogram of the rank shift.
--
-- Inputs: relevance, adversarials (through shift_counts: successful pairs of which both maps are ok)
-- Grain: one row per dataset, model, method, attack, band pair and bin, empty bins included; at most 61 bins
-- a band pair, of the same odd width and the middle one centred on 0
-- Paper: Figs. 7 to 9
-- Columns:
--   original_band: band of the original map: most relevant, 1 %, 10 %
--   adversarial_band: band of the adversarial map
--   bin_low [rank]: lower edge, half way between two whole shifts; positive = moved down
--   bin_high [rank]: upper edge
--   low_share [share]: lower edge as a share of the number of components, n
--   high_share [share]: upper edge, likewise
--   components: components of the original's band, in the adversarial band too, whose shift is in the bin
--   share [share]: of all such components of the band pair
with

-- materialized: it stands for hundreds of millions of rows, and is read more than once
shifts as materialized (
    select * from band_shift_counts
),

totals as (
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
        -- the smallest odd width of which 61 bins hold every possible shift
        2 * ceil(((2 * greatest(original_k, adversarial_k) - 1) / 61 - 1) / 2)::integer + 1 as width,
        sum(components) as total
    from shifts
    group by all
),

bins as (
    select
        *,
        unnest(
            range(
                -((original_k - 1 + width // 2) // width),
                (adversarial_k - 1 + width // 2) // width + 1
            )
        )::integer as bin
    from totals
),

binned as (
    select
        counts.dataset,
        counts.model,
        counts.method,
        counts.attack,
        counts.position,
        floor((counts.shift + totals.width // 2) / totals.width)::integer as bin,
        sum(counts.components)::bigint as counted
    from shifts as counts
    inner join totals using (dataset, model, method, attack, position)
    group by all
)

select
    dataset,
    model,
    method,
    attack,
    bins.original_band,
    bins.adversarial_band,
    (bin - 0.5::double) * bins.width as bin_low,
    (bin + 0.5::double) * bins.width as bin_high,
    bin_low / bins.n as low_share,
    bin_high / bins.n as high_share,
    coalesce(binned.counted, 0) as components,
    coalesce(binned.counted, 0) / bins.total as share
from bins
left join binned using (dataset, model, method, attack, position, bin)
order by dataset, model, method, attack, position, bin
