-- Each successful adversarial example's map beside its original's: which maps are compared, and with which.
--
-- Grain: one row per method and pair, both maps ok: (original, label) with (adversarial example, target).
-- `series` is the number of the adversarial map's series. Name the columns that you need: vectors that nobody
-- asks for are not read. Where the most relevant components suffice, map_pairs is quicker.
with

originals as (
    select
        dataset,
        model,
        method,
        image_id,
        ties_at_31,
        ties_at_307,
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
        label,
        ties_at_31,
        ties_at_307,
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
    maps.dataset,
    maps.model,
    maps.method,
    maps.attack,
    maps.target,
    maps.image_id,
    maps.label,
    originals.ties_at_31 as original_ties_at_31,
    originals.ties_at_307 as original_ties_at_307,
    maps.ties_at_31 as adversarial_ties_at_31,
    maps.ties_at_307 as adversarial_ties_at_307,
    originals.relevance as original_relevance,
    maps.relevance as adversarial_relevance,
    originals.rank as original_rank,
    maps.rank as adversarial_rank
from adversarial_maps as maps
inner join originals using (dataset, model, method, image_id)
semi join successes using (dataset, model, attack, target, image_id)
