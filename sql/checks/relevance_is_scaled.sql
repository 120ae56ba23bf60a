-- The largest |relevance| is 1 in an ok map, whose scale is above 0, and everything is 0 in a zero map.
--
-- Unit: map
select
    dataset,
    model,
    method,
    subject,
    explains,
    target,
    image_id,
    status
from relevance
where
    case status
        when 'ok'
            then
                coalesce(greatest(list_max(relevance), -list_min(relevance)) != 1, true)
                or coalesce(not isfinite(scale) or scale <= 0, true)
        when 'zero'
            then scale != 0 or list_max(relevance) != 0 or list_min(relevance) != 0
        else status is distinct from 'non_finite'
    end
