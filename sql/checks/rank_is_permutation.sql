-- Every rank of an ok map holds each place 0 .. n-1 once; other maps have none.
select
    dataset,
    model,
    method,
    subject,
    target,
    image_id,
    status
from relevance
where
    case
        when status = 'ok'
            then rank is null or list_sort(rank)::bigint[] != range(len(relevance))
        else rank is not null
    end
