-- A map explains the class that it says: the label, or the target of its partition.
select
    dataset,
    model,
    method,
    subject,
    explains,
    target,
    image_id,
    explained_class
from relevance
where explained_class is distinct from case explains when 'label' then label else target end
