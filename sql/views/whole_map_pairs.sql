-- Each successful adversarial example's map beside its original's: values and ranks of all components.
--
-- Grain: one row per method and pair, both maps ok: (original, label) with (adversarial example, target).
-- `series` is the number of the adversarial map's series. Where the most relevant components suffice,
-- map_pairs is quicker.
with

originals as (
    select
        dataset,
        model,
        method,
        image_id,
        relevance,
        rank
    from relevance
    where subject = 'original' and explains = 'label' and status = 'ok'
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
        relevance,
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
    maps.image_id,
    originals.relevance as original_relevance,
    maps.relevance as adversarial_relevance,
    originals.rank as original_rank,
    maps.rank as adversarial_rank
from adversarial_maps as maps
inner join originals using (dataset, model, method, image_id)
semi join successes using (dataset, model, attack, target, image_id)
