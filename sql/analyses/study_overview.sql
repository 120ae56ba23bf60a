-- What is in scope: datasets, models, attacks, controls, methods and tables, in counts.
--
-- Inputs: every table
-- Grain: one row per thing
-- Paper: none
-- Columns:
--   kind: dataset, model, attack, control, method or table
--   id: its name
--   detail: what it is, in words
--   rows: images of the dataset, predictions of the model, pairs of the attack or control, maps of the
--     method, rows of the table
with

things as (
    select
        1 as place,
        'dataset' as kind,
        dataset as id,
        count(*) || ' images of ' || count(distinct label) || ' classes' as detail,
        count(*) as rows
    from images
    group by dataset
    union all
    select
        2 as place,
        'model' as kind,
        model as id,
        format(
            '{} of {} images classified correctly ({:.2f} %)',
            count(*) filter (where correct),
            count(*),
            100 * avg(correct::int)
        ) as detail,
        count(*) as rows
    from predictions
    group by model
    union all
    select
        3 as place,
        'attack' as kind,
        attack as id,
        count(*) filter (where status = 'success') || ' of ' || count(*) || ' pairs succeeded' as detail,
        count(*) as rows
    from attacked
    group by attack
    union all
    select
        4 as place,
        'control' as kind,
        attack as id,
        format(
            '{} pairs: {} kept the class, {} came to the target, {} did neither',
            count(*),
            count(*) filter (where status = 'kept'),
            count(*) filter (where status = 'success'),
            count(*) filter (where status = 'failed')
        ) as detail,
        count(*) as rows
    from adversarials
    anti join attacked using (attack)
    group by attack
    union all
    select
        5 as place,
        'method' as kind,
        method as id,
        format(
            '{} maps: {} ok, {} zero, {} not finite',
            count(*),
            count(*) filter (where status = 'ok'),
            count(*) filter (where status = 'zero'),
            count(*) filter (where status = 'non_finite')
        ) as detail,
        count(*) as rows
    from relevance
    group by method
),

tables as (
    select
        'images' as id,
        'one row per image' as detail,
        (select count(*) from images) as rows
    union all
    select
        'predictions' as id,
        'one row per image and model' as detail,
        (select count(*) from predictions) as rows
    union all
    select
        'adversarials' as id,
        'one row per attacked pair, failures included' as detail,
        (select count(*) from adversarials) as rows
    union all
    select
        'relevance' as id,
        'one row per relevance map' as detail,
        (select count(*) from relevance) as rows
),

overview as (
    select
        place,
        kind,
        id,
        detail,
        rows
    from things
    union all
    select
        6 as place,
        'table' as kind,
        id,
        detail,
        rows
    from tables
)

select
    kind,
    id,
    detail,
    rows
from overview
order by place, id
