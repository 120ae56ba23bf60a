-- Every map but an original's, by any network, belongs to a successful adversarial example or to a control.
select
    maps.dataset,
    maps.model,
    maps.method,
    maps.subject,
    maps.explains,
    maps.target,
    maps.image_id
from relevance as maps
anti join randomisations using (model, subject)
left join adversarials as pairs
    on
        maps.dataset = pairs.dataset
        and maps.model = pairs.model
        and maps.subject = pairs.attack
        and maps.target = pairs.target
        and maps.image_id = pairs.image_id
        and pairs.status in ('success', 'kept')
where maps.subject != 'original' and pairs.image_id is null
