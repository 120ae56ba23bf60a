-- Which pairs are compared: successful adversarial examples of which both maps are ok, without the maps.
--
-- Grain: one row per method and pair: (original, label) with (adversarial example, target). `n` counts the
-- components of a map.
with

originals as (
    select
        dataset,
        model,
        method,
        image_id,
        ties_at_31,
        ties_at_307
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
        ties_at_31,
        ties_at_307
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
),

sizes as (
    select
        dataset,
        image_id,
        height * width * channels as n
    from images
)

select
    maps.dataset,
    maps.model,
    maps.method,
    maps.attack,
    maps.target,
    maps.image_id,
    maps.label,
    sizes.n,
    originals.ties_at_31 as original_ties_at_31,
    originals.ties_at_307 as original_ties_at_307,
    maps.ties_at_31 as adversarial_ties_at_31,
    maps.ties_at_307 as adversarial_ties_at_307
from adversarial_maps as maps
inner join originals using (dataset, model, method, image_id)
inner join sizes using (dataset, image_id)
semi join successes using (dataset, model, attack, target, image_id)
