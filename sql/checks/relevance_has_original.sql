-- Every map of an adversarial example, a control or another question has its original's beside it, by the
-- same method.
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
where (maps.subject != 'original' or maps.explains = 'target') and originals.image_id is null
