-- No image, prediction, adversarial example or map stands in the lake twice.
select
    'images' as in_table,
    dataset,
    null as model,
    null as attack_or_method,
    null as subject,
    null as explains,
    null as target,
    image_id,
    count(*) as times
from images
group by all
having times > 1
union all
select
    'predictions' as in_table,
    dataset,
    model,
    null as attack_or_method,
    null as subject,
    null as explains,
    null as target,
    image_id,
    count(*) as times
from predictions
group by all
having times > 1
union all
select
    'adversarials' as in_table,
    dataset,
    model,
    attack as attack_or_method,
    null as subject,
    null as explains,
    target,
    image_id,
    count(*) as times
from adversarials
group by all
having times > 1
union all
select
    'relevance' as in_table,
    dataset,
    model,
    method as attack_or_method,
    subject,
    explains,
    target,
    image_id,
    count(*) as times
from relevance
group by all
having times > 1
