-- Every map of an attack's image belongs to a successful adversarial example.
with

known_attacks as (
    select distinct attack from adversarials
)

select
    maps.dataset,
    maps.model,
    maps.method,
    maps.subject,
    maps.target,
    maps.image_id
from relevance as maps
inner join known_attacks on maps.subject = known_attacks.attack
left join adversarials as pairs
    on
        maps.dataset = pairs.dataset
        and maps.model = pairs.model
        and maps.subject = pairs.attack
        and maps.target = pairs.target
        and maps.image_id = pairs.image_id
        and pairs.status = 'success'
where pairs.image_id is null
