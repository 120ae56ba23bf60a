-- How far do the top `original_k` components of the original move in rank, as far as they stay in the top
-- `adversarial_k` of the adversarial map? As rank_shift_quantiles, for bands of any size: a share of n
-- components is band_size(share, n) of them; with adversarial_k = n none is left out.
--
-- Parameters: original_k, adversarial_k
-- Inputs: relevance, adversarials (through adversarial_places)
-- Grain: one row per dataset, model, method, attack and level; none where no component stays
-- Columns:
--   components: components of the original's band that are also in the adversarial band, over all pairs
--   level: level of the quantiles, linear interpolation between order statistics
--   shift [rank]: the quantile of the rank shift, positive = moved down
--   abs_shift [rank]: the quantile of |rank shift|
--   mean_shift [rank]: mean rank shift (the same on every level, as all that follow)
--   mean_abs_shift [rank]: mean |rank shift|
--   share_unmoved [share]: components of rank shift 0
with

placed as (
    select
        dataset,
        model,
        method,
        attack,
        n,
        unnest(places) as place,
        unnest(range(len(places)))::integer as original_place
    from adversarial_places(original_k)
),

-- materialized: it stands for hundreds of millions of rows, and is read more than once
shifts as materialized (
    select
        dataset,
        model,
        method,
        attack,
        n,
        place - original_place as shift,
        count(*) as components
    from placed
    where place < checked_band(adversarial_k)
    group by all
),

totals as (
    select
        dataset,
        model,
        method,
        attack,
        n,
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
        n,
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
        n,
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
            partition by dataset, model, method, attack, n, is_signed
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
        cumulated.is_signed,
        min(cumulated.moved) filter (where cumulated.up_to_here > floor(places.place)) as lower,
        min(cumulated.moved) filter (where cumulated.up_to_here > ceil(places.place)) as upper
    from places
    inner join cumulated using (dataset, model, method, attack, n)
    group by all
),

quantiles as (
    select
        *,
        lower + (upper - lower) * (place - floor(place)) as quantile
    from neighbours
)

select
    dataset,
    model,
    method,
    attack,
    original_k::integer as original_k,
    adversarial_k::integer as adversarial_k,
    total as components,
    level,
    max(quantile) filter (where is_signed) as shift,
    max(quantile) filter (where not is_signed) as abs_shift,
    mean_shift,
    mean_abs_shift,
    share_unmoved
from quantiles
group by dataset, model, method, attack, n, total, level, mean_shift, mean_abs_shift, share_unmoved
order by dataset, model, method, attack, level
