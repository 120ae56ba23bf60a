-- Means over pairs of the measures of measured_pairs, with 95 % intervals from the bootstrap over images.
--
-- Grain: one row per kind, method, attack, comparison and measure. `difference` is the mean over pairs that
-- have a noise control, too, of the control's measure less their own; `*_ends` are lower and upper end.
with

image_sums as materialized (
    select
        kind,
        dataset,
        model,
        method,
        attack,
        comparison,
        fraction,
        measure,
        place,
        hash(kind, dataset, model, method, attack, comparison, measure) as cell,
        image_id,
        count(value)::double as pairs,
        coalesce(sum(value), 0) as total,
        count(noise - value)::double as noise_pairs,
        coalesce(sum(noise - value), 0) as difference,
        sum(chance) as chance,
        count(*) filter (where is_tied) as tied_pairs
    from measured_pairs
    where value is not null
    group by all
),

cells as (
    select
        kind,
        dataset,
        model,
        method,
        attack,
        comparison,
        fraction,
        measure,
        place,
        cell,
        sum(pairs)::bigint as pairs,
        count(*) as images,
        sum(tied_pairs)::bigint as tied_pairs,
        sum(chance) / sum(pairs) as chance,
        sum(total) / sum(pairs) as mean,
        sum(noise_pairs)::bigint as noise_pairs,
        sum(difference) / nullif(sum(noise_pairs), 0) as difference
    from image_sums
    group by all
),

-- the images of all cells have a place in each list: 0 where a cell has none
lists as (
    select
        cells.cell,
        list(coalesce(sums.pairs, 0) order by images.place) as pairs,
        list(coalesce(sums.total, 0) order by images.place) as total,
        list(coalesce(sums.noise_pairs, 0) order by images.place) as noise_pairs,
        list(coalesce(sums.difference, 0) order by images.place) as difference
    from cells
    cross join bootstrap_images as images
    left join image_sums as sums
        on cells.cell = sums.cell and images.dataset = sums.dataset and images.image_id = sums.image_id
    group by cells.cell
),

drawn as (
    select
        lists.cell,
        list_inner_product(replicates.weights, lists.pairs) as pairs,
        list_inner_product(replicates.weights, lists.total) as total,
        list_inner_product(replicates.weights, lists.noise_pairs) as noise_pairs,
        list_inner_product(replicates.weights, lists.difference) as difference
    from lists
    cross join bootstrap_weights as replicates
),

ends as (
    select
        cell,
        quantile_cont(total / nullif(pairs, 0), [0.025, 0.975]) as mean_ends,
        quantile_cont(difference / nullif(noise_pairs, 0), [0.025, 0.975]) as difference_ends
    from drawn
    group by cell
)

select
    cells.* exclude (cell),
    ends.mean_ends,
    ends.difference_ends
from cells
inner join ends using (cell)
