-- The maps that can be held against that of their original: of adversarial examples and of controls,
-- explained for label or target, and of originals explained for another class, or by a randomised network.
-- All are ok.
--
-- Grain: one row per such map. `series` is the number of its series.
with

maps as (
    select
        *,
        series_number(dataset, model, method, subject, explains, target) as series
    from relevance
    where (subject != 'original' or explains = 'target') and status = 'ok'
),

made as (
    select
        dataset,
        model,
        attack as subject,
        target,
        image_id
    from adversarials
    where status in ('success', 'kept')
)

select *
from maps
semi join made using (dataset, model, subject, target, image_id)
union all
select *
from maps
where subject = 'original'
union all
select *
from maps
semi join randomisations using (model, subject)
