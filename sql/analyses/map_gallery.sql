-- What do the relevance maps of originals and their adversarial examples look like, method by method?
--
-- Inputs: relevance, images, adversarials (through sampled_pairs)
-- Grain: one row per sampled pair (the first 5 of pair_gallery for each attack), method and subject: the
-- original explained for its label, the adversarial example for its target
-- Paper: Figs. 5 and 6
with

sampled as (
    select * from sampled_pairs
    where place <= 5
),

original_maps as (
    select
        sampled.place,
        sampled.attack,
        sampled.target as pair_target,
        maps.*
    from relevance as maps
    inner join sampled using (dataset, model, image_id)
    where maps.subject = 'original' and maps.explains = 'label'
),

adversarial_maps as (
    select
        sampled.place,
        sampled.attack,
        sampled.target as pair_target,
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
    maps.image_id,
    maps.label,
    maps.pair_target as target,
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
