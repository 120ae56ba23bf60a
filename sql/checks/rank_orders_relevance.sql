-- The component of rank r holds the r-th largest value of its map, counted from 0.
select
    dataset,
    model,
    method,
    subject,
    target,
    image_id
from relevance
where
    status = 'ok'
    and list_select(
        list_reverse_sort(relevance), list_transform(rank, lambda place: place::integer + 1)
    ) is distinct from relevance
