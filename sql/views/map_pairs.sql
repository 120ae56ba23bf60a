-- The ranks of the original's most relevant components in both maps of each pair. The pairs are those of
-- whole_map_pairs, joined here anew: a join with its rows would carry whole maps along.
--
-- Grain: one row per method and pair, both maps ok: (original, label) with (adversarial example, target).
-- `original_ranks` are the ranks of the original's 10 % most relevant components, most relevant first,
-- `adversarial_ranks` the ranks of the same components in the adversarial map. `rank_product` is the sum over
-- all components of the product of both ranks.
with

originals as (
    select * from original_top
),

adversarial_maps as (
    select
        series_number(dataset, model, method, subject, explains, target) as series,
        dataset,
        model,
        method,
        subject as attack,
        target,
        image_id,
        label,
        ties_at_31,
        ties_at_307,
        rank
    from relevance
    where subject != 'original' and explains = 'target' and status = 'ok'
),

successes as (
    select
        dataset,
        model,
        attack,
        target,
        image_id
    from adversarials
    where status = 'success'
)

select
    maps.series,
    maps.dataset,
    maps.model,
    maps.method,
    maps.attack,
    maps.target,
    maps.image_id,
    maps.label,
    originals.n,
    originals.ties_at_31 as original_ties_at_31,
    originals.ties_at_307 as original_ties_at_307,
    maps.ties_at_31 as adversarial_ties_at_31,
    maps.ties_at_307 as adversarial_ties_at_307,
    originals.ranks as original_ranks,
    list_select(maps.rank, originals.components)::integer[] as adversarial_ranks,
    list_inner_product(originals.rank::double[], maps.rank::double[]) as rank_product
from adversarial_maps as maps
inner join originals using (dataset, model, method, image_id)
semi join successes using (dataset, model, attack, target, image_id)
