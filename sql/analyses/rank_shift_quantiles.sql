-- How far do the top components move in rank between the original and the adversarial map?
--
-- Inputs: relevance, adversarials (through shift_counts: successful pairs of which both maps are ok)
-- Grain: one row per dataset, model, method, attack, band pair and level; none where no component stays
-- Paper: text beside Figs. 7 to 9
-- Columns:
--   original_band: band of the original map: most relevant, 1 %, 10 %
--   adversarial_band: band of the adversarial map
--   components: components of the original's band that are also in the adversarial band, over all pairs
--   level: level of the quantile
--   abs_shift [rank]: the quantile of |rank shift|, linear interpolation between order statistics
--   mean_shift [rank]: mean rank shift, positive = moved down (the same on every level)
--   share_unmoved [share]: components of rank shift 0 (the same on every level)
--   shift [rank]: the quantile of the rank shift with its sign, positive = moved down
--   mean_abs_shift [rank]: mean |rank shift| (the same on every level)
--   abs_shift_share [share]: abs_shift as a share of the number of components, n
--   mean_abs_shift_share [share]: mean_abs_shift, likewise
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
        sum(components)::bigint as total,
        sum(shift * components) / total as mean_shift,
        sum(abs(shift) * components) / total as mean_abs_shift,
        coalesce(sum(components) filter (where shift = 0), 0) / total as share_unmoved
    from shifts
    group by all
),

-- the shift as it is, and its distance alone
measured as (
    select
        dataset,
        model,
        method,
        attack,
        position,
        original_band,
        adversarial_band,
        unnest([true, false]) as is_signed,
        unnest([shift, abs(shift)]) as moved,
        components
    from shifts
),

counted as (
    select
        dataset,
        model,
        method,
        attack,
        position,
        original_band,
        adversarial_band,
        is_signed,
        moved,
        sum(components) as components
    from measured
    group by all
),

cumulated as (
    select
        *,
        sum(components) over (
            partition by dataset, model, method, attack, position, is_signed
            order by moved
        ) as up_to_here
    from counted
),

levels as (
    select unnest(shift_levels()) as level
),

-- The order statistics on either side of the place level * (total - 1), both counted from 0.
places as (
    select
        *,
        level * (total - 1) as place
    from totals
    cross join levels
),

neighbours as (
    select
        places.*,
        cumulated.original_band,
        cumulated.adversarial_band,
        cumulated.is_signed,
        min(cumulated.moved) filter (where cumulated.up_to_here > floor(places.place)) as lower,
        min(cumulated.moved) filter (where cumulated.up_to_here > ceil(places.place)) as upper
    from places
    inner join cumulated using (dataset, model, method, attack, position)
    group by all
),

quantiles as (
    select
        *,
        lower + (upper - lower) * (place - floor(place)) as moved
    from neighbours
)

select
    dataset,
    model,
    method,
    attack,
    original_band,
    adversarial_band,
    total as components,
    level,
    max(moved) filter (where not is_signed) as abs_shift,
    mean_shift,
    share_unmoved,
    max(moved) filter (where is_signed) as shift,
    mean_abs_shift,
    abs_shift / n as abs_shift_share,
    mean_abs_shift / n as mean_abs_shift_share
from quantiles
group by
    dataset, model, method, attack, n, position, original_band, adversarial_band, total, level, mean_shift,
    mean_abs_shift, share_unmoved
order by dataset, model, method, attack, position, level
