-- How alike are the values of the two maps of each pair: Pearson's correlation and signs?
--
-- Inputs: relevance, adversarials (through whole_map_pairs: successful pairs of which both maps are ok)
-- Grain: one row per dataset, model, method, attack, target and image_id
-- Unit: shard
-- Columns:
--   pearson: Pearson's correlation of the values; null where a map is constant
--   sign_agreement [share]: components whose relevance has the same sign (negative, zero, positive)
with

components as (
    select
        series,
        image_id,
        unnest(original_relevance)::double as x,
        unnest(adversarial_relevance)::double as y
    from whole_map_pairs
),

measured as (
    select
        series,
        image_id,
        corr(x, y) as pearson,
        count(*) filter (where sign(x) = sign(y)) as same_sign,
        count(*) as n
    from components
    group by series, image_id
)

select
    series.dataset,
    series.model,
    series.method,
    series.subject as attack,
    series.target,
    measured.image_id,
    case when isfinite(measured.pearson) then measured.pearson end as pearson,
    measured.same_sign / measured.n as sign_agreement
from measured
inner join series using (series)
