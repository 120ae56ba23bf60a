-- Every map of an adversarial example has the map of its original beside it, by the same method.
select
    maps.dataset,
    maps.model,
    maps.method,
    maps.subject,
    maps.explains,
    maps.target,
    maps.image_id
from relevance as maps
left join relevance as originals
    on
        maps.dataset = originals.dataset
        and maps.model = originals.model
        and maps.method = originals.method
        and maps.image_id = originals.image_id
        and originals.subject = 'original'
        and originals.explains = 'label'
where maps.subject != 'original' and originals.image_id is null
