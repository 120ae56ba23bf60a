-- Every id in the name of a folder has its row in datasets, models, attacks, randomisations or methods.
with

used as (
    select distinct
        'images' as in_table,
        unnest(['dataset']) as key,
        unnest([dataset]) as id
    from images
    union all
    select distinct
        'predictions' as in_table,
        unnest(['dataset', 'model']) as key,
        unnest([dataset, model]) as id
    from predictions
    union all
    select distinct
        'adversarials' as in_table,
        unnest(['dataset', 'model', 'attack']) as key,
        unnest([dataset, model, attack]) as id
    from adversarials
    union all
    select distinct
        'relevance' as in_table,
        unnest(['dataset', 'model', 'method', 'subject']) as key,
        unnest([dataset, model, method, nullif(subject, 'original')]) as id
    from relevance
),

known as (
    select
        'dataset' as key,
        dataset as id
    from datasets
    union all
    select
        'model' as key,
        model as id
    from models
    union all
    select
        'attack' as key,
        attack as id
    from attacks
    union all
    select
        'subject' as key,
        attack as id
    from attacks
    union all
    select
        'subject' as key,
        subject as id
    from randomisations
    union all
    select
        'method' as key,
        method as id
    from methods
)

select
    used.in_table,
    used.key,
    used.id
from used
anti join known using (key, id)
where used.id is not null
