-- Where do the `original_k` most relevant components of the original stand in the adversarial map?
--
-- Parameters: original_k
-- Inputs: relevance, adversarials
-- Grain: one row per method and successful pair, both maps ok: (original, label) with (adversarial example,
--   target)
-- Columns:
--   n: components of a map
--   places [rank]: ranks in the adversarial map of the original's top components, its most relevant one first
with

originals as (
    select
        dataset,
        model,
        method,
        image_id,
        list_transform(
            top_components(rank, checked_band(original_k)), lambda component: component + 1
        ) as components
    from relevance
    where subject = 'original' and explains = 'label' and status = 'ok'
),

adversarial_maps as (
    select
        dataset,
        model,
        method,
        subject as attack,
        target,
        image_id,
        label,
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
    maps.dataset,
    maps.model,
    maps.method,
    maps.attack,
    maps.target,
    maps.image_id,
    maps.label,
    len(maps.rank) as n,
    list_select(maps.rank, originals.components)::integer[] as places
from adversarial_maps as maps
inner join originals using (dataset, model, method, image_id)
semi join successes using (dataset, model, attack, target, image_id)
