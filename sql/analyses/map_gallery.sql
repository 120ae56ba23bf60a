-- What do the relevance maps of originals and their adversarial examples look like, method by method?
--
-- Inputs: relevance, images, adversarials (through sampled_pairs)
-- Grain: one row per map of a sampled pair: for each attack and method the maps of its adversarial examples,
-- explained for their target, and those of their originals, explained for their label, once an image
-- Paper: Figs. 5 and 6
-- Columns:
--   target: class that the attack aimed at or reached; null: the map of an original
--   place: place of the pair in the sample, from 1; of an original: the first of its pairs
with

sampled as materialized (
    select * from sampled_pairs
),

sampled_originals as (
    select
        dataset,
        model,
        attack,
        image_id,
        min(place) as place
    from sampled
    group by dataset, model, attack, image_id
),

original_maps as (
    select
        sampled_originals.place,
        sampled_originals.attack,
        maps.*
    from relevance as maps
    inner join sampled_originals using (dataset, model, image_id)
    where maps.subject = 'original' and maps.explains = 'label'
),

adversarial_maps as (
    select
        sampled.place,
        sampled.attack,
        maps.*
    from relevance as maps
    inner join sampled
        on
            maps.dataset = sampled.dataset
            and maps.model = sampled.model
            and maps.image_id = sampled.image_id
            and maps.target = sampled.target
            and maps.subject = sampled.attack
    where maps.explains = 'target'
),

maps as (
    select * from original_maps
    union all
    select * from adversarial_maps
)

select
    maps.dataset,
    maps.model,
    maps.attack,
    maps.place,
    maps.image_id,
    maps.label,
    maps.target,
    maps.method,
    maps.subject,
    maps.explained_class,
    maps.start,
    maps.status,
    images.height,
    images.width,
    images.channels,
    maps.relevance
from images
inner join maps using (dataset, image_id)
order by
    maps.dataset, maps.model, maps.attack, maps.place, maps.method, maps.subject != 'original', maps.subject
