-- The maps of successful adversarial examples, explained for their target, and ok.
--
-- Grain: one row per method and adversarial example. `series` is the number of the map's series.
with

maps as (
    select
        *,
        subject as attack,
        series_number(dataset, model, method, subject, explains, target) as series
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
    from attacked
    where status = 'success'
)

select *
from maps
semi join successes using (dataset, model, attack, target, image_id)
